//! PostgreSQL: whether it lets us in, is new enough, and has our schema.

use tokio_postgres::Client;

use super::{
    check::{Needed, Outcome, bounded},
    finding::Finding,
};
use crate::{
    cli::{CliError, PROGRAM},
    config::Connections,
    store::postgres::{
        connect::connect,
        migrate::{self, SchemaError},
    },
};

/// The oldest that our migrations run on (`EXECUTE FUNCTION` of triggers), as `server_version_num` has it.
const OLDEST: i32 = 110_000;

/// What there is of it.
pub struct Database {
    client: Option<Client>,
    schema: Schema,
}

/// Whether our tables can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schema {
    /// They are this release's.
    Current,
    /// There are some, and we may not even ask which.
    Unreadable,
    /// They are not there, or another release's.
    Other,
}

/// Connects, and looks at what everything else needs.
pub async fn reach(to: &Connections) -> (Vec<Finding>, Database) {
    let mut client = None;
    let mut found = bounded("postgresql", async {
        let connected = match connect(to, PROGRAM).await {
            Ok(it) => it,
            Err(error) => {
                return Ok(vec![Finding::failed(
                    error.to_string(),
                    "start it, or look at --db-addr, --db-name, --db-user and --db-password",
                )]);
            }
        };
        // What hangs on a lock or on a full disk is given up by the server too.
        connected.batch_execute("SET statement_timeout = '5s'").await?;
        let version: String = connected.query_one("SHOW server_version", &[]).await?.get(0);
        client = Some(connected);
        // A distribution's own name of it follows.
        let version = version.split(' ').next().unwrap_or_default();
        Ok(vec![Finding::ok(format!("PostgreSQL {version} at {}, database \"{}\"", to.db_addr, to.db_name))])
    })
    .await;
    let Some(client) = client else {
        let skipped = ["postgresql-version", "uuid-ossp", "schema"];
        found.extend(skipped.map(|name| Finding::skipped("postgresql").of(name)));
        return (found, Database { client: None, schema: Schema::Other });
    };
    found.extend(bounded("postgresql-version", version(&client)).await);
    let mut schema = Schema::Other;
    let at = bounded("schema", async {
        let (finding, is) = look_at_schema(&client).await;
        schema = is;
        Ok(vec![finding])
    })
    .await;
    found.extend(bounded("uuid-ossp", extension(&client)).await);
    found.extend(at);
    (found, Database { client: Some(client), schema })
}

async fn version(client: &Client) -> Outcome {
    let number: String = client.query_one("SHOW server_version_num", &[]).await?.get(0);
    Ok(vec![judge_version(number.parse().unwrap_or_default())])
}

fn judge_version(number: i32) -> Finding {
    let (major, oldest) = (number / 10_000, OLDEST / 10_000);
    match number >= OLDEST {
        true => Finding::ok(format!("{major} is {oldest} or newer")),
        false => Finding::failed(
            format!("PostgreSQL {major} is too old: {oldest} or newer is needed"),
            "upgrade the server (pg_upgrade)",
        ),
    }
}

async fn extension(client: &Client) -> Outcome {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'uuid-ossp'), \
             EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp'), to_regclass('kernels') IS NULL",
            &[],
        )
        .await?;
    let (installed, available, empty): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    Ok(vec![match (installed, available) {
        (true, _) => Finding::ok("installed"),
        (_, true) if empty => Finding::ok("available; the first migration installs it"),
        (_, true) => Finding::failed(
            "the extension uuid-ossp is not installed in this database",
            "as a superuser: CREATE EXTENSION \"uuid-ossp\"",
        ),
        _ => Finding::failed(
            "the server does not have the extension uuid-ossp",
            "install PostgreSQL's contrib modules (Debian: part of postgresql-NN; elsewhere postgresql-contrib)",
        ),
    }])
}

async fn look_at_schema(client: &Client) -> (Finding, Schema) {
    match migrate::check(client).await {
        Ok(()) => (Finding::ok(format!("{}, this release's", migrate::newest())), Schema::Current),
        Err(error) => {
            let is = if matches!(error, SchemaError::Database(_)) { Schema::Unreadable } else { Schema::Other };
            let message = error.to_string();
            // What is wrong and what mends it are one sentence, apart by a colon.
            let (what, mend) = match is {
                Schema::Unreadable => (message.as_str(), "see table-rights"),
                _ => message.split_once(": ").unwrap_or((message.as_str(), "")),
            };
            (Finding::failed(what, mend), is)
        }
    }
}

// === impl Database ===

impl Database {
    /// For what needs the server alone.
    pub fn server(&self) -> Needed<'_, Client> {
        self.client.as_ref().ok_or("postgresql")
    }

    /// For what needs this release's tables.
    pub fn tables(&self) -> Needed<'_, Client> {
        let client = self.server()?;
        if self.schema == Schema::Current { Ok(client) } else { Err("schema") }
    }

    /// For what looks at our rights on them.
    pub fn rights(&self) -> Needed<'_, Client> {
        let client = self.server()?;
        if self.schema == Schema::Other { Err("schema") } else { Ok(client) }
    }

    /// The connection, if the tables are there.
    ///
    /// # Errors
    /// Which check failed, in words.
    pub fn for_mending(&self) -> Result<&Client, CliError> {
        self.tables().map_err(|check| CliError::Refused(format!("nothing is mended, as {check} failed: see above")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::State;

    #[test]
    fn what_is_too_old_is_told() {
        assert_eq!(judge_version(150_004).state, State::Ok);
        assert_eq!(judge_version(110_000).state, State::Ok);
        let old = judge_version(100_023);
        assert_eq!(old.state, State::Failed);
        assert!(old.what.contains("PostgreSQL 10 is too old: 11"), "{}", old.what);
    }
}
