//! Key pairs that a worker remembers, so that a signed request costs PostgreSQL nothing.
//!
//! A change of a key, whoever made it, is told by PostgreSQL (a trigger of our migrations notifies; the worker's
//! connection listens), and whenever the connection is new, all is forgotten. While PostgreSQL is away, what is
//! remembered goes on for a bounded time. Keys that do not exist are remembered too, or strangers' guesses would
//! each cost a query.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use tokio::sync::{Notify, futures::Notified};

use super::postgres::{
    PgError, Postgres,
    keypairs::{self, Keypair},
};
use crate::telemetry::{self, Counter};

/// Keys that are remembered at most, known and unknown; beyond it starts afresh.
const CAPACITY: usize = 50_000;

/// A worker's memory of key pairs; clones are the same one.
#[derive(Clone)]
pub struct Keyring {
    postgres: Postgres,
    max_stale: Duration,
    known: Memory,
}

/// What is remembered, for whoever hears of changes.
#[derive(Clone, Default)]
pub struct Memory(Rc<RefCell<Remembered>>);

/// Tells of changes of one key, for as long as somebody has it.
pub struct Watch {
    known: Memory,
    access_key: Rc<str>,
    changed: Rc<Notify>,
}

#[derive(Default)]
struct Remembered {
    keys: HashMap<String, Option<Rc<Keypair>>>,
    /// Keys whose changes somebody waits for.
    watched: HashMap<Rc<str>, Rc<Notify>>,
    /// Grows with each change heard, so that an answer that was under way meanwhile is not remembered.
    changes: u64,
}

impl Memory {
    /// A key has changed.
    pub fn forget(&self, access_key: &str) {
        let mut remembered = self.0.borrow_mut();
        remembered.changes += 1;
        remembered.keys.remove(access_key);
        if let Some(changed) = remembered.watched.get(access_key) {
            changed.notify_waiters();
        }
    }

    /// Any key may have changed.
    pub fn forget_all(&self) {
        let mut remembered = self.0.borrow_mut();
        remembered.changes += 1;
        remembered.keys.clear();
        remembered.watched.values().for_each(|changed| changed.notify_waiters());
    }
}

// === impl Watch ===

impl Watch {
    /// Waits for a change that is heard of after this was called, whether or not it is waited for by then.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // This one's, and the map's.
        if Rc::strong_count(&self.changed) <= 2 {
            self.known.0.borrow_mut().watched.remove(&self.access_key);
        }
    }
}

// === impl Keyring ===

impl Keyring {
    /// Over a connection whose changes of keys are told to `known`.
    pub fn new(postgres: Postgres, known: Memory, max_stale: Duration) -> Self {
        Keyring { postgres, max_stale, known }
    }

    /// The key pair of that access key.
    ///
    /// # Errors
    /// PostgreSQL is away, and what was remembered is too old, or nothing was.
    pub async fn find(&self, access_key: &str) -> Result<Option<Rc<Keypair>>, PgError> {
        let fresh = self.postgres.down_for().is_none_or(|down| down <= self.max_stale);
        let (remembered, changes) = {
            let known = self.known.0.borrow();
            (known.keys.get(access_key).cloned(), known.changes)
        };
        match remembered {
            Some(key) if fresh => {
                telemetry::count(Counter::KeyCacheHits);
                Ok(key)
            }
            // Seldom, and too large to be a part of every request's future.
            _ => Box::pin(self.look_up(access_key, changes)).await,
        }
    }

    /// Tells of changes of a key, whoever makes them.
    pub fn watch(&self, access_key: &Rc<str>) -> Watch {
        let changed = self.known.0.borrow_mut().watched.entry(access_key.clone()).or_default().clone();
        Watch { known: self.known.clone(), access_key: access_key.clone(), changed }
    }

    async fn look_up(&self, access_key: &str, changes: u64) -> Result<Option<Rc<Keypair>>, PgError> {
        telemetry::count(Counter::KeyCacheMisses);
        let found = keypairs::find(&self.postgres, access_key).await?.map(Rc::new);
        let mut known = self.known.0.borrow_mut();
        if known.changes == changes {
            if known.keys.len() >= CAPACITY {
                known.keys.clear();
            }
            known.keys.insert(access_key.to_owned(), found.clone());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::poll_once;

    use super::*;
    use crate::{config::Gateway, engine};

    #[test]
    fn who_watches_a_key_hears_of_its_changes_and_of_no_others() {
        let told = engine::block_on(engine::Engine::Epoll, || async {
            let known = Memory::default();
            let nowhere = Gateway::from_args::<&str>([]).unwrap().connections;
            let postgres = Postgres::start(nowhere, |_| ());
            let keyring = Keyring::new(postgres, known.clone(), Duration::ZERO);
            let [one, again, other] = ["one", "one", "other"].map(|name| keyring.watch(&name.into()));
            let mut told = Vec::new();
            for change in [|known: &Memory| known.forget("one"), |known: &Memory| known.forget_all()] {
                let waiting = [&one, &again, &other].map(Watch::changed);
                change(&known);
                for it in waiting {
                    told.push(poll_once(it).await.is_some());
                }
            }
            drop((one, other));
            assert_eq!(known.0.borrow().watched.len(), 1);
            drop(again);
            assert!(known.0.borrow().watched.is_empty());
            told
        });
        assert_eq!(told.unwrap(), [true, true, false, true, true, true]);
    }
}
