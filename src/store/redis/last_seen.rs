//! When each agent was last heard of: one hash in database 2, shared with gateways of the first
//! releases, which is why its name carries no namespace.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use redis::cmd;

use super::{Redis, RedisError};

/// The hash: agent id to UNIX seconds.
pub const KEY: &str = "last_seen";

/// Notes that an agent was heard of just now.
///
/// # Errors
/// Redis is away or refuses.
pub async fn beat(redis: &Redis, agent: &str) -> Result<(), RedisError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    beat_at(redis, agent, now).await
}

/// Notes that an agent was heard of at a time, in UNIX seconds.
///
/// # Errors
/// Redis is away or refuses.
pub async fn beat_at(redis: &Redis, agent: &str, at: f64) -> Result<(), RedisError> {
    redis.query(cmd("HSET").arg(KEY).arg(agent).arg(at)).await
}

/// When every agent was last heard of, in UNIX seconds. A time that cannot be read is left out.
///
/// # Errors
/// Redis is away or refuses.
pub async fn all(redis: &Redis) -> Result<HashMap<String, f64>, RedisError> {
    let raw: HashMap<String, String> = redis.query(cmd("HGETALL").arg(KEY)).await?;
    Ok(raw.into_iter().filter_map(|(agent, at)| Some((agent, at.parse().ok()?))).collect())
}

/// Forgets an agent.
///
/// # Errors
/// Redis is away or refuses.
pub async fn forget(redis: &Redis, agent: &str) -> Result<(), RedisError> {
    redis.query(cmd("HDEL").arg(KEY).arg(agent)).await
}
