//! Key pairs that a worker remembers, so that a signed request costs PostgreSQL nothing.
//!
//! A change of a key, whoever made it, is told by PostgreSQL (a trigger of our migrations notifies; the worker's
//! connection listens), and whenever the connection is new, all is forgotten. While PostgreSQL is away, what is
//! remembered goes on for a bounded time. Keys that do not exist are remembered too, or strangers' guesses would
//! each cost a query.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

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

#[derive(Default)]
struct Remembered {
    keys: HashMap<String, Option<Rc<Keypair>>>,
    /// Grows with each change heard, so that an answer that was under way meanwhile is not remembered.
    changes: u64,
}

impl Memory {
    /// A key has changed.
    pub fn forget(&self, access_key: &str) {
        let mut remembered = self.0.borrow_mut();
        remembered.changes += 1;
        remembered.keys.remove(access_key);
    }

    /// Any key may have changed.
    pub fn forget_all(&self) {
        let mut remembered = self.0.borrow_mut();
        remembered.changes += 1;
        remembered.keys.clear();
    }
}

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
            _ => self.look_up(access_key, changes).await,
        }
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
