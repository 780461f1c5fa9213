//! Signatures that were used, for `--replay-protection` (database 1).

use std::time::Duration;

use super::{Redis, RedisError};

/// How long a signature can be replayed: as long as its date is accepted, from 15 minutes before the server's clock
/// to 15 minutes after it.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// Notes a signature; false if it was noted before.
///
/// # Errors
/// Redis is away or refuses.
pub async fn is_first_use(redis: &Redis, namespace: &str, signature: &str) -> Result<bool, RedisError> {
    let mut command = redis::cmd("SET");
    command.arg(format!("backendai:{namespace}:used:{signature}")).arg(1).arg("NX").arg("EX").arg(LIFE.as_secs());
    let set: Option<String> = redis.query(&command).await?;
    Ok(set.is_some())
}
