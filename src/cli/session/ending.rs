//! Waits until sessions that are to be ended have ended, by looking at their rows.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use uuid::Uuid;

use super::destroy::Session;
use crate::cli::{CliError, progress::Progress};

/// How long to wait: the leader looks every second, and an agent's answer and what follows a failure have their own
/// limits below that.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often to look.
const EVERY: Duration = Duration::from_millis(200);

/// What became of a session.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It has ended.
    Ended,
    /// Its agent could not end it, and the leader has given up.
    RunsOn,
    /// Nothing yet: it is in this state.
    NotYet(String),
}

const LOOK: &str = "SELECT id, coalesce(status::text, '') FROM kernels WHERE id = ANY($1) \
                    AND status NOT IN ('TERMINATED', 'ERROR')";

/// Waits for all of them, at most [`LIMIT`].
pub async fn wait(client: &Client, sessions: Vec<Session>) -> Result<Vec<(Session, End)>, CliError> {
    let ids: Vec<Uuid> = sessions.iter().map(|it| it.id).collect();
    let bar = Progress::new("ending sessions", ids.len());
    let began = Instant::now();
    loop {
        let rows = client.query(LOOK, &[&ids]).await?;
        let live: BTreeMap<Uuid, String> = rows.iter().map(|it| (it.get(0), it.get(1))).collect();
        bar.at(ids.len() - live.len());
        if began.elapsed() > LIMIT || live.values().all(|status| status == "RUNNING") {
            let end = |it: &Session| live.get(&it.id).map_or(End::Ended, |status| End::of_live(status));
            let ends: Vec<End> = sessions.iter().map(end).collect();
            return Ok(sessions.into_iter().zip(ends).collect());
        }
        sleep(EVERY).await;
    }
}

// === impl End ===

impl End {
    /// One that was marked and is RUNNING again: the leader put it back.
    fn of_live(status: &str) -> End {
        if status == "RUNNING" { End::RunsOn } else { End::NotYet(status.to_owned()) }
    }
}
