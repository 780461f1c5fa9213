//! Looking sessions up.
//!
//! What is remembered of a session never changes while it lives (its id, agent, image, size), so that a worker may
//! serve from memory whatever Redis still counts for: the counter of a session is removed when it ends, and then
//! the gate answers "unknown" and PostgreSQL is asked. So a session that another worker ended is gone at once.

use std::{collections::HashMap, rc::Rc, time::Duration, time::Instant};

use uuid::Uuid;

use super::{Error, Registry, SessionName, recount};
use crate::store::{
    postgres::{
        PgError,
        kernels::{self, SessionRow},
    },
    redis::stats::{self, KernelStats},
};

/// Sessions that a worker remembers at most; beyond it starts afresh.
const CAPACITY: usize = 10_000;

/// A live session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The kernel's id.
    pub id: Uuid,
    /// The client's name for it.
    pub name: SessionName,
    /// Whose it is.
    pub access_key: Rc<str>,
    /// Its image, `name:tag`.
    pub lang: Rc<str>,
    /// The agent it is on.
    pub agent: Rc<str>,
    /// Where that agent takes calls.
    pub agent_addr: Rc<str>,
    /// Memory in MiB.
    pub mem_slot: i64,
    /// When it was created, by this machine's clock.
    pub created: Instant,
}

/// The sessions of a worker's memory.
#[derive(Default)]
pub struct Cache {
    by_name: HashMap<(Rc<str>, SessionName), Rc<Session>>,
}

impl Registry {
    /// A key's session of that name, from memory if it is there: it may have ended meanwhile, which only counting
    /// a query for it tells.
    ///
    /// # Errors
    /// There is none that runs, or PostgreSQL is away.
    pub async fn session(&self, access_key: &Rc<str>, name: &SessionName) -> Result<Rc<Session>, Error> {
        let remembered = self.cache.borrow().by_name.get(&(access_key.clone(), name.clone())).cloned();
        match remembered {
            Some(session) => Ok(session),
            // Seldom, and too large to be a part of every request's future.
            None => Box::pin(self.look_up(access_key, name)).await,
        }
    }

    /// A key's session of that name from PostgreSQL.
    ///
    /// # Errors
    /// There is none that runs, or PostgreSQL is away.
    pub async fn look_up(&self, access_key: &Rc<str>, name: &SessionName) -> Result<Rc<Session>, Error> {
        let row = kernels::find_live(&self.stores.postgres, access_key, name.as_str()).await?;
        let Some(row) = row.filter(|row| is_usable(&row.status)) else {
            self.cache.borrow_mut().by_name.remove(&(access_key.clone(), name.clone()));
            return Err(Error::SessionNotFound);
        };
        let session = Rc::new(Session {
            id: row.id,
            name: name.clone(),
            access_key: access_key.clone(),
            lang: row.lang.into(),
            agent: row.agent.into(),
            agent_addr: row.agent_addr.into(),
            mem_slot: row.mem_slot,
            created: Instant::now().checked_sub(millis(row.age_ms)).unwrap_or_else(Instant::now),
        });
        self.remember(session.clone());
        Ok(session)
    }

    /// Counts a query for a session that Redis does not know of: sessions of before Redis was emptied, or made by
    /// an older gateway. Gives the count with this query.
    ///
    /// # Errors
    /// The session has ended, or PostgreSQL is away.
    pub async fn count_anew(&self, session: &Session) -> Result<(Rc<Session>, u64), Error> {
        let found = self.look_up(&session.access_key, &session.name).await?;
        let total = recount::count_query(&self.stores.postgres, &self.stores.ledger, found.id).await?;
        Ok((found, total))
    }

    /// The last statistics of a kernel that its agent wrote; none where it has not, or Redis is away.
    pub async fn statistics(&self, session: &Session) -> KernelStats {
        stats::read(&self.stores.stats, session.id).await.unwrap_or_default()
    }

    pub(super) fn remember(&self, session: Rc<Session>) {
        let mut cache = self.cache.borrow_mut();
        if cache.by_name.len() >= CAPACITY {
            cache.by_name.clear();
        }
        cache.by_name.insert((session.access_key.clone(), session.name.clone()), session);
    }

    pub(super) fn forget(&self, id: Uuid) {
        self.cache.borrow_mut().by_name.retain(|_, session| session.id != id);
    }

    pub(super) async fn row(&self, access_key: &str, name: &SessionName) -> Result<Option<SessionRow>, PgError> {
        kernels::find_live(&self.stores.postgres, access_key, name.as_str()).await
    }
}

/// Whether a session of that status takes calls.
fn is_usable(status: &str) -> bool {
    !matches!(status, "PREPARING" | "BUILDING" | "TERMINATING")
}

fn millis(count: i64) -> Duration {
    Duration::from_millis(count.max(0).unsigned_abs())
}
