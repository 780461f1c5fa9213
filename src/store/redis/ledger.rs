//! The ledger: counters that are exact at once in Redis and reach PostgreSQL in batches.
//!
//! Three kinds of keys below `backendai:<namespace>:`. `queries` is a hash of each live session's total,
//! which every worker counts up and reads in one call. `pending` is a hash of what PostgreSQL does not
//! know yet: `s:<session>` and `k:<access key>` queries, `l:<access key>` the time of the last one in
//! UNIX ms. `run:<session>:<run>` is how a run stands. The rate limit's script writes the first two along
//! with its own (see [`crate::ratelimit`]).
//!
//! A batch on its way is a hash `flush:<id>`, renamed from `pending`, with its id in the set `flushes`.
//! PostgreSQL records the id together with the sums, so that a batch which is met again, because its
//! leader died before deleting it, adds nothing.

use std::{collections::HashMap, time::Duration};

use redis::{Script, cmd};
use uuid::Uuid;

use super::{Redis, RedisError, run_script};

/// Starts the total of a session, and counts queries.
const SEED: &str = include_str!("seed.lua");
/// Reads what of a session is neither pending nor, for certain, in PostgreSQL.
const ON_THEIR_WAY: &str = include_str!("on_their_way.lua");
/// Makes what is pending a batch.
const TAKE: &str = include_str!("take.lua");
/// Reads what PostgreSQL may not know yet.
const UNFLUSHED: &str = include_str!("unflushed.lua");

/// The ledger of a namespace, in database 1; clones are the same one.
#[derive(Clone)]
pub struct Ledger {
    pub(super) redis: Redis,
    /// `backendai:<namespace>:`.
    prefix: std::rc::Rc<str>,
    pub(super) scripts: std::rc::Rc<Scripts>,
}

pub(super) struct Scripts {
    seed: Script,
    on_their_way: Script,
    take: Script,
    unflushed: Script,
    pub(super) turns: super::turns::Scripts,
}

/// What access keys used that PostgreSQL may not know yet, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unflushed {
    /// How many batches were ever made; another number later says that what was pending became a batch meanwhile.
    pub takes: u64,
    /// What no batch has yet, in the order of the keys: queries, and the time of the last one (UNIX ms; 0: unknown).
    pub pending: Vec<(u64, u64)>,
    /// Batches on their way, whether PostgreSQL has them or not: likewise.
    pub batches: Vec<(Uuid, Vec<(u64, u64)>)>,
}

/// What batches on their way hold of a session, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnTheirWay {
    /// How many batches were ever made.
    pub takes: u64,
    /// Batches, whether PostgreSQL has them or not, and the session's queries in them.
    pub batches: Vec<(Uuid, u64)>,
}

/// A batch's id, and for each key its queries and the time of the last one, flat.
type UsedInBatch = (String, Vec<u64>);

/// A batch that PostgreSQL has not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its id: PostgreSQL adds a batch of an id once.
    pub id: Uuid,
    /// Access key, queries, time of the last one (UNIX ms; 0: unknown).
    pub keys: Vec<(String, i64, i64)>,
    /// Session, queries.
    pub sessions: Vec<(Uuid, i64)>,
}

impl Ledger {
    /// The ledger of a namespace; `redis` is database 1.
    pub fn new(redis: Redis, namespace: &str) -> Self {
        let scripts = Scripts {
            seed: Script::new(SEED),
            on_their_way: Script::new(ON_THEIR_WAY),
            take: Script::new(TAKE),
            unflushed: Script::new(UNFLUSHED),
            turns: Default::default(),
        };
        Ledger { redis, prefix: format!("backendai:{namespace}:").into(), scripts: scripts.into() }
    }

    /// Starts counting for a session of which there are no batches, with the total that PostgreSQL has, unless it is
    /// counted already.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn seed(&self, session: Uuid, total: u64) -> Result<(), RedisError> {
        self.seed_and_add(session, total, 0, "").await.map(drop)
    }

    /// Starts counting for a session, unless it is counted already, and counts one query. Gives the total with it;
    /// `None`, and nothing is done, if another batch was made since `takes` was read.
    ///
    /// `total` is what PostgreSQL has, with those of the batches that were on their way before and are not in it.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn seed_and_count(&self, session: Uuid, total: u64, takes: u64) -> Result<Option<u64>, RedisError> {
        let total = self.seed_and_add(session, total, 1, &takes.to_string()).await?;
        Ok(u64::try_from(total).ok())
    }

    /// What batches on their way hold of a session.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn on_their_way(&self, session: Uuid) -> Result<OnTheirWay, RedisError> {
        let (session, script) = (session.to_string(), &self.scripts.on_their_way);
        let (takes, batches): (u64, Vec<(String, u64)>) =
            run_script(&self.redis, script, ON_THEIR_WAY, &["1", &self.prefix, &session]).await?;
        let batches = batches.iter().filter_map(|(id, queries)| Some((id.parse().ok()?, *queries))).collect();
        Ok(OnTheirWay { takes, batches })
    }

    /// The totals of sessions, in their order; `None` for one that is not counted.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn totals(&self, sessions: &[Uuid]) -> Result<Vec<Option<u64>>, RedisError> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let fields: Vec<String> = sessions.iter().map(ToString::to_string).collect();
        self.redis.query(cmd("HMGET").arg(self.key("queries")).arg(fields)).await
    }

    /// What access keys used since PostgreSQL was last written, in their order: queries, and the time of
    /// the last one (UNIX ms). Batches on their way are not among them.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn pending_of_keys(&self, keys: &[&str]) -> Result<Vec<(u64, Option<u64>)>, RedisError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let fields: Vec<String> = keys.iter().flat_map(|key| [format!("k:{key}"), format!("l:{key}")]).collect();
        let values: Vec<Option<u64>> = self.redis.query(cmd("HMGET").arg(self.key("pending")).arg(fields)).await?;
        Ok(values.as_chunks().0.iter().map(|[queries, last]| (queries.unwrap_or(0), *last)).collect())
    }

    /// What access keys used that PostgreSQL may not know yet, batches on their way included.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn unflushed(&self, keys: &[String]) -> Result<Unflushed, RedisError> {
        let arguments: Vec<&str> = ["1", &self.prefix].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let (takes, pending, batches): (u64, Vec<u64>, Vec<UsedInBatch>) =
            run_script(&self.redis, &self.scripts.unflushed, UNFLUSHED, &arguments).await?;
        let pairs = |flat: &[u64]| flat.as_chunks().0.iter().map(|[queries, last]| (*queries, *last)).collect();
        let batches = batches.iter().filter_map(|(id, used)| Some((id.parse().ok()?, pairs(used)))).collect();
        Ok(Unflushed { takes, pending: pairs(&pending), batches })
    }

    /// How many batches were ever made.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn takes(&self) -> Result<u64, RedisError> {
        let takes: Option<u64> = self.redis.query(cmd("GET").arg(self.key("takes"))).await?;
        Ok(takes.unwrap_or(0))
    }

    /// Stops counting for a session that has ended. What is pending for it still reaches PostgreSQL.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn forget(&self, session: Uuid) -> Result<(), RedisError> {
        self.redis.query(cmd("HDEL").arg(self.key("queries")).arg(session.to_string())).await
    }

    /// Some of the sessions that are counted, and where to go on; 0 begins, and is the end.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn counted(&self, cursor: u64) -> Result<(u64, Vec<Uuid>), RedisError> {
        let mut command = cmd("HSCAN");
        command.arg(self.key("queries")).arg(cursor).arg("COUNT").arg(500);
        let (next, fields): (u64, HashMap<String, String>) = self.redis.query(&command).await?;
        Ok((next, fields.keys().filter_map(|id| id.parse().ok()).collect()))
    }

    /// Notes how a run stands, for as long as `life`.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn set_run(&self, session: Uuid, run: &str, status: &str, life: Duration) -> Result<(), RedisError> {
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
        self.redis.query(cmd("SET").arg(self.run_key(session, run)).arg(status).arg("PX").arg(life)).await
    }

    /// Forgets a run that has ended.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn clear_run(&self, session: Uuid, run: &str) -> Result<(), RedisError> {
        self.redis.query(cmd("DEL").arg(self.run_key(session, run))).await
    }

    /// Makes a batch of what is pending, and gives it after all earlier ones that nobody finished.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn take_batches(&self) -> Result<Vec<Taken>, RedisError> {
        let new = Uuid::new_v4();
        let arguments = ["1".to_owned(), self.prefix.to_string(), new.to_string()];
        let ids: Vec<String> = run_script(&self.redis, &self.scripts.take, TAKE, &arguments).await?;
        let mut batches = Vec::with_capacity(ids.len());
        for id in ids.iter().filter_map(|id| id.parse().ok()) {
            let fields = self.redis.query(cmd("HGETALL").arg(self.key(&format!("flush:{id}")))).await?;
            batches.push(Taken::from_fields(id, &fields));
        }
        Ok(batches)
    }

    /// Deletes a batch that PostgreSQL has recorded.
    ///
    /// # Errors
    /// Redis is away or refuses; the batch is met again, and PostgreSQL knows its id.
    pub async fn finish_batch(&self, id: Uuid) -> Result<(), RedisError> {
        // First the hash: an id without one is an empty batch, a hash without an id would never be found.
        self.redis.query::<()>(cmd("DEL").arg(self.key(&format!("flush:{id}")))).await?;
        self.redis.query(cmd("SREM").arg(self.key("flushes")).arg(id.to_string())).await
    }

    async fn seed_and_add(&self, session: Uuid, total: u64, add: u64, takes: &str) -> Result<i64, RedisError> {
        let (session, total, add) = (session.to_string(), total.to_string(), add.to_string());
        let arguments = ["1", &self.prefix, &session, &total, &add, takes];
        run_script(&self.redis, &self.scripts.seed, SEED, &arguments).await
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn run_key(&self, session: Uuid, run: &str) -> String {
        format!("{}run:{session}:{run}", self.prefix)
    }
}

impl Taken {
    /// Sorts the fields of a batch; one of no known form is left out.
    fn from_fields(id: Uuid, fields: &HashMap<String, i64>) -> Self {
        let mut taken = Taken { id, keys: Vec::new(), sessions: Vec::new() };
        for (field, count) in fields {
            match field.split_once(':') {
                Some(("k", key)) => {
                    let last = fields.get(&format!("l:{key}")).copied().unwrap_or(0);
                    taken.keys.push((key.to_owned(), *count, last));
                }
                Some(("s", session)) => taken.sessions.extend(session.parse().ok().map(|id| (id, *count))),
                _ => {}
            }
        }
        // Everybody takes rows in one order, so that two writers cannot wait for each other.
        taken.keys.sort_unstable();
        taken.sessions.sort_unstable();
        taken
    }
}
