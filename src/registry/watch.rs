//! What befalls sessions, told to those who watch; and where a session's terminal is.

use std::time::Duration;

use uuid::Uuid;

use super::{Error, Registry, Session, SessionName};
use crate::{
    engine,
    store::{
        postgres::{
            PgError,
            kernels::{self, End, Stats},
            terminals::{self, TerminalRow},
        },
        redis::{
            Bell, RedisError,
            session_events::{Change, EventId, KEPT, SessionEvent},
        },
    },
};

/// How a session stands, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs, and this is where its terminal is.
    Runs(TerminalRow),
    /// It is being restarted.
    Restarts,
    /// It has ended, or is about to; why, in a word.
    Ended(String),
}

/// How often, and how many times, it is tried to tell what befell a session while Redis is away: for a minute.
const TELL_AGAIN: Duration = Duration::from_millis(250);
const TELL_TRIES: u32 = 240;

impl Registry {
    /// Ends a session's row, and tells whoever watches; false if it had ended before.
    pub(super) async fn finish(&self, id: Uuid, end: End, info: &str, stats: &Stats) -> Result<bool, PgError> {
        let ended = kernels::finish(&self.stores.postgres, id, end, info, stats).await?;
        if ended {
            self.announce(id, Change::Terminated, info).await;
        }
        Ok(ended)
    }

    /// Tells whoever watches a session what befell it; later, where Redis is away for a moment.
    pub(super) async fn announce(&self, id: Uuid, change: Change, reason: &str) {
        let Err(error) = self.stores.events.publish(id, change, reason).await else { return };
        tracing::warn!(%error, session = %id, "what befell a session is told later");
        let (events, reason) = (self.stores.events.clone(), reason.to_owned());
        engine::spawn(async move {
            for _ in 0..TELL_TRIES {
                engine::sleep(TELL_AGAIN).await;
                if events.publish(id, change, &reason).await.is_ok() {
                    return;
                }
            }
            // Streams look at the row from time to time, and notice a kernel that is gone.
            tracing::warn!(session = %id, "what befell a session could not be told");
        });
    }

    /// A bell that rings when something befalls a session.
    pub fn bell(&self, session: Uuid) -> Bell {
        self.stores.bells.of(session)
    }

    /// What befell a session after a place, of the last minute at least.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn events_since(&self, session: Uuid, after: EventId) -> Result<Vec<SessionEvent>, RedisError> {
        self.stores.events.since(session, after).await
    }

    /// The last place in a session's events.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn last_event(&self, session: Uuid) -> Result<EventId, RedisError> {
        self.stores.events.last(session).await
    }

    /// A key's sessions of that name that have ended so lately that their events are kept.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn ended_lately(&self, access_key: &str, name: &SessionName) -> Result<Vec<Uuid>, Error> {
        let kept = KEPT.as_secs_f64();
        Ok(terminals::ended_lately(&self.stores.postgres, access_key, name.as_str(), kept).await?)
    }

    /// How a session stands.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn standing(&self, session: &Session) -> Result<Standing, Error> {
        let row = terminals::find(&self.stores.postgres, session.id).await?;
        let Some(row) = row else { return Ok(Standing::Ended("unknown".into())) };
        Ok(match row.status.as_str() {
            "RESTARTING" => Standing::Restarts,
            "TERMINATING" => Standing::Ended("user-requested".into()),
            "TERMINATED" | "ERROR" => Standing::Ended(row.status_info.unwrap_or_else(|| "unknown".into())),
            _ => Standing::Runs(row),
        })
    }
}
