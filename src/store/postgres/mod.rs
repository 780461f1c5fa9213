//! PostgreSQL: connection, migrations, one module per table.

pub mod admin;
pub mod agents;
pub mod audit;
pub mod connect;
pub mod kernels;
pub mod keypairs;
pub mod ledger;
pub mod migrate;
mod pool;
pub mod reconcile;
pub mod restarts;
pub mod terminals;
pub mod vfolder_sharing;
pub mod vfolders;

pub use pool::{AGENTS_CHANNEL, Change, KEYPAIRS_CHANNEL, PgError, Postgres};

#[cfg(test)]
mod tests;

/// What PostgreSQL or the connection to it complains of, in one line: the server's message, detail and hint, or
/// the error with its causes.
#[must_use]
pub fn explain(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else { return with_causes(error) };
    let more = [db.detail(), db.hint()].into_iter().flatten();
    let text = more.fold(db.message().to_owned(), |text, it| format!("{text} ({it})"));
    text.replace('\n', " ")
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |it| it.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
