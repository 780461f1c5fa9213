//! Turns at kernels of old agents, which break on a second `execute`: a lease per kernel, in database 1.
//!
//! `turn:<kernel>` holds the token of whoever executes. It lives for some seconds and is renewed meanwhile, so that a
//! worker that dies keeps nobody waiting for long; it is given back only by whoever holds it. `old-agents` is the set
//! of agents of release 1.0, so that every worker knows them, whichever hears their heartbeats.

use std::time::Duration;

use redis::cmd;
use uuid::Uuid;

use super::{Ledger, RedisError, run_script};

/// Deletes a key that has this value.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// Prolongs the life of a key that has this value, or takes it where there is none.
const RENEW: &str = "local holder = redis.call('GET', KEYS[1]) \
     if holder and holder ~= ARGV[1] then return 0 end \
     redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";

/// The scripts, with their digests.
pub(super) struct Scripts {
    release: redis::Script,
    renew: redis::Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Scripts { release: redis::Script::new(RELEASE), renew: redis::Script::new(RENEW) }
    }
}

impl Ledger {
    /// Takes the turn at a kernel for as long as `life`; false where somebody else has it.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn take_turn(&self, kernel: Uuid, token: &str, life: Duration) -> Result<bool, RedisError> {
        let mut command = cmd("SET");
        command.arg(self.turn_key(kernel)).arg(token).arg("NX").arg("PX").arg(millis(life));
        let set: Option<String> = self.redis.query(&command).await?;
        Ok(set.is_some())
    }

    /// Keeps the turn for as long as `life` from now; false where somebody else has it by now.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn renew_turn(&self, kernel: Uuid, token: &str, life: Duration) -> Result<bool, RedisError> {
        let arguments = ["1".to_owned(), self.turn_key(kernel), token.to_owned(), millis(life).to_string()];
        run_script(&self.redis, &self.scripts.turns.renew, RENEW, &arguments).await
    }

    /// Gives the turn back, if it is still that of this token.
    ///
    /// # Errors
    /// Redis is away or refuses; the turn ends with its life.
    pub async fn end_turn(&self, kernel: Uuid, token: &str) -> Result<(), RedisError> {
        let arguments = ["1".to_owned(), self.turn_key(kernel), token.to_owned()];
        run_script(&self.redis, &self.scripts.turns.release, RELEASE, &arguments).await
    }

    /// Notes whether an agent is of release 1.0.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn note_old_agent(&self, agent: &str, is_old: bool) -> Result<(), RedisError> {
        let name = if is_old { "SADD" } else { "SREM" };
        self.redis.query(cmd(name).arg(self.key("old-agents")).arg(agent)).await
    }

    /// Whether an agent is of release 1.0, as far as its heartbeats were heard.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn is_old_agent(&self, agent: &str) -> Result<bool, RedisError> {
        self.redis.query(cmd("SISMEMBER").arg(self.key("old-agents")).arg(agent)).await
    }

    fn turn_key(&self, kernel: Uuid) -> String {
        self.key(&format!("turn:{kernel}"))
    }
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{self, Engine},
        store::redis::{LEDGER_DB, Redis},
        testing,
    };

    fn with_ledger<F: Future<Output = ()> + 'static>(test: impl FnOnce(Ledger, Redis) -> F + 'static) {
        let server = testing::Redis::start();
        let addr = server.addr();
        engine::block_on(Engine::Epoll, || async move {
            let redis = Redis::connect(addr, LEDGER_DB);
            while !redis.is_up() {
                engine::sleep(Duration::from_millis(5)).await;
            }
            test(Ledger::new(redis.clone(), "test"), redis).await;
        })
        .unwrap();
    }

    #[test]
    fn a_turn_is_one_tokens_until_it_gives_it_back_or_its_life_is_over() {
        with_ledger(|ledger, _| async move {
            let (kernel, long) = (Uuid::new_v4(), Duration::from_secs(60));
            assert!(ledger.take_turn(kernel, "a", long).await.unwrap());
            assert!(!ledger.take_turn(kernel, "b", long).await.unwrap());
            assert!(ledger.take_turn(Uuid::new_v4(), "b", long).await.unwrap());
            ledger.end_turn(kernel, "b").await.unwrap();
            assert!(!ledger.take_turn(kernel, "b", long).await.unwrap());
            ledger.end_turn(kernel, "a").await.unwrap();
            assert!(ledger.take_turn(kernel, "b", Duration::from_millis(1)).await.unwrap());
            while !ledger.take_turn(kernel, "c", long).await.unwrap() {
                engine::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    #[test]
    fn renewing_prolongs_ones_own_turn_or_takes_a_free_one() {
        with_ledger(|ledger, redis| async move {
            let kernel = Uuid::new_v4();
            let short = Duration::from_secs(5);
            assert!(ledger.renew_turn(kernel, "a", short).await.unwrap());
            assert!(!ledger.renew_turn(kernel, "b", short).await.unwrap());
            assert!(ledger.renew_turn(kernel, "a", Duration::from_secs(500)).await.unwrap());
            let life: i64 = redis.query(cmd("PTTL").arg(format!("backendai:test:turn:{kernel}"))).await.unwrap();
            assert!(life > 5_000, "{life}");
        });
    }

    #[test]
    fn old_agents_are_known_until_they_are_upgraded() {
        with_ledger(|ledger, _| async move {
            assert!(!ledger.is_old_agent("i-1").await.unwrap());
            ledger.note_old_agent("i-1", true).await.unwrap();
            ledger.note_old_agent("i-1", true).await.unwrap();
            assert!(ledger.is_old_agent("i-1").await.unwrap() && !ledger.is_old_agent("i-2").await.unwrap());
            ledger.note_old_agent("i-1", false).await.unwrap();
            assert!(!ledger.is_old_agent("i-1").await.unwrap());
        });
    }
}
