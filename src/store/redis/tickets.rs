//! Tickets, by which a browser opens a stream without headers: each good once, for half a minute (database 1).
//!
//! Redis keeps a ticket's digest and not the ticket, so that whoever reads Redis can use none.

use std::{rc::Rc, time::Duration};

use redis::{Script, cmd};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Redis, RedisError, run_script};

/// How long a ticket is good.
pub const LIFE: Duration = Duration::from_secs(30);

/// Reads and deletes in one; GETDEL exists from Redis 6.2 on only.
const REDEEM: &str = include_str!("redeem.lua");

/// What a ticket stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Whose it is.
    pub access_key: String,
    /// The only path that it opens, if it is bound to one.
    pub path: Option<String>,
}

/// The tickets of a namespace, in database 1; clones are the same ones.
#[derive(Clone)]
pub struct Tickets {
    redis: Redis,
    /// `backendai:<namespace>:ticket:`.
    prefix: Rc<str>,
    redeem: Rc<Script>,
}

impl Tickets {
    /// The tickets of a namespace; `redis` is database 1.
    pub fn new(redis: Redis, namespace: &str) -> Self {
        let prefix = format!("backendai:{namespace}:ticket:").into();
        Tickets { redis, prefix, redeem: Script::new(REDEEM).into() }
    }

    /// Issues a ticket; `random` is 128 random bits.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn issue(&self, ticket: &Ticket, random: u128) -> Result<String, RedisError> {
        let name = format!("{random:032x}");
        // A struct of texts always has a JSON form.
        let text = serde_json::to_string(ticket).unwrap_or_default();
        let life = LIFE.as_secs();
        self.redis.query::<()>(cmd("SET").arg(self.key(&name)).arg(text).arg("EX").arg(life)).await?;
        Ok(name)
    }

    /// Takes a ticket: what it stood for, if it was good. It is not any more.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn redeem(&self, name: &str) -> Result<Option<Ticket>, RedisError> {
        let key = self.key(name);
        let text: Option<String> = run_script(&self.redis, &self.redeem, REDEEM, &["1", &key]).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    fn key(&self, name: &str) -> String {
        use std::fmt::Write as _;
        let mut key = self.prefix.to_string();
        for byte in Sha256::digest(name.as_bytes()) {
            // Writing to a text cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine, store::redis::LEDGER_DB, testing};

    #[test]
    fn a_ticket_is_good_once() {
        let server = testing::Redis::start();
        engine::block_on(engine::Engine::Epoll, || async move {
            let redis = Redis::connect(server.addr(), LEDGER_DB);
            while !redis.is_up() {
                engine::sleep(Duration::from_millis(5)).await;
            }
            let tickets = Tickets::new(redis.clone(), "test");
            let ticket = Ticket { access_key: "AKIA".into(), path: Some("/stream/kernel/x/pty".into()) };
            let name = tickets.issue(&ticket, 7).await.unwrap();
            assert_eq!(name.len(), 32);
            let keys: Vec<String> = redis.query(cmd("KEYS").arg("*")).await.unwrap();
            assert!(keys.len() == 1 && !keys[0].contains(&name), "{keys:?}");
            let life: u64 = redis.query(cmd("TTL").arg(&keys[0])).await.unwrap();
            assert!((1..=30).contains(&life), "{life}");
            assert_eq!(tickets.redeem(&name).await.unwrap(), Some(ticket));
            assert_eq!(tickets.redeem(&name).await.unwrap(), None);
            assert_eq!(tickets.redeem("").await.unwrap(), None);
        })
        .unwrap();
    }
}
