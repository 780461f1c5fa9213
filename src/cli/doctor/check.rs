//! How a check runs: by name, within a time, and only where what it needs was reached.

use std::time::Duration;

use futures_util::{FutureExt, future::LocalBoxFuture};

use super::finding::Finding;
use crate::cli::CliError;

/// Longest time of a check; each call in it has a shorter limit of its own where it can hang.
pub const LIMIT: Duration = Duration::from_secs(6);

/// What a check needs, or the name of the check that failed to reach it.
pub type Needed<'a, T> = Result<&'a T, &'static str>;

/// Checks that can run at once, in the order in which they are told.
pub type Checks<'a> = Vec<LocalBoxFuture<'a, Vec<Finding>>>;

/// What a check found, or why it could not look.
pub type Outcome = Result<Vec<Finding>, CliError>;

/// A check that needs something.
pub fn check<'a, T>(
    name: &'static str,
    needed: Needed<'a, T>,
    work: impl AsyncFnOnce(&'a T) -> Outcome + 'a,
) -> LocalBoxFuture<'a, Vec<Finding>> {
    async move {
        match needed {
            Ok(it) => bounded(name, work(it)).await,
            Err(because) => vec![Finding::skipped(because).of(name)],
        }
    }
    .boxed_local()
}

/// Runs a check's work within [`LIMIT`].
pub async fn bounded(name: &'static str, work: impl Future<Output = Outcome>) -> Vec<Finding> {
    within(LIMIT, name, work).await
}

async fn within(limit: Duration, name: &'static str, work: impl Future<Output = Outcome>) -> Vec<Finding> {
    let found = match tokio::time::timeout(limit, work).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => vec![Finding::failed(error.to_string(), mend_of(&error))],
        Err(_) => {
            let what = format!("there was no answer within {} s", limit.as_secs_f32());
            vec![Finding::failed(what, "see whether the server is overloaded, or stopped")]
        }
    };
    found.into_iter().map(|it| it.of(name)).collect()
}

fn mend_of(error: &CliError) -> &'static str {
    match error {
        CliError::Database(error) if error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) => {
            "grant the right: see table-rights"
        }
        CliError::Database(_) => "look at PostgreSQL's log",
        _ => "look at the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::State;

    #[tokio::test]
    async fn a_check_that_hangs_ends_and_says_so() {
        let found = within(Duration::from_millis(20), "stuck", std::future::pending()).await;
        let [it] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((it.check, it.state), ("stuck", State::Failed));
        assert!(it.what.contains("no answer within 0.02 s"), "{}", it.what);
    }

    #[tokio::test]
    async fn what_needs_something_that_failed_is_skipped_by_name() {
        let found = check("later", Err::<&(), _>("first"), async |_| panic!("it was not reached")).await;
        let [it] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((it.check, it.state), ("later", State::Skipped));
        assert!(it.what.contains("first failed"), "{}", it.what);
    }
}
