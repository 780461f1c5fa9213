//! Redis: whether it lets us in, is new enough, keeps what it is given, and takes more.

use std::{collections::HashMap, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError,
    aio::MultiplexedConnection, cmd,
};
use uuid::Uuid;

use super::{
    check::{Checks, Needed, bounded, check},
    finding::Finding,
};
use crate::{
    cli::CliError,
    config::{Connections, HostPort},
    store::redis::LEDGER_DB,
};

/// Longest time for a connection, and for an answer.
const TIME: Duration = Duration::from_secs(3);

/// The first version that speaks RESP3.
const OLDEST: u32 = 6;

/// A server that answered.
pub struct Server {
    addr: HostPort,
    namespace: String,
    connection: MultiplexedConnection,
    /// What `INFO` says.
    info: HashMap<String, String>,
}

/// Connects, and asks what it is.
pub async fn reach(to: &Connections) -> (Vec<Finding>, Option<Server>) {
    let mut server = None;
    let found = bounded("redis", async {
        let asked = async {
            let mut connection = open(&to.redis_addr, LEDGER_DB, ProtocolVersion::RESP2).await?;
            let text: String = cmd("INFO").query_async(&mut connection).await?;
            Ok::<_, RedisError>((connection, text))
        };
        let (connection, text) = match asked.await {
            Ok(it) => it,
            Err(error) => {
                let what = format!("cannot reach Redis at {}: {}", to.redis_addr, one_line(&error));
                return Ok(vec![Finding::failed(what, "start it, or look at --redis-addr")]);
            }
        };
        let info = parse_info(&text);
        let version = info.get("redis_version").map_or("of no version", String::as_str);
        let what = format!("Redis {version} at {}", to.redis_addr);
        server = Some(Server { addr: to.redis_addr.clone(), namespace: to.namespace.clone(), connection, info });
        Ok(vec![Finding::ok(what)])
    })
    .await;
    (found, server)
}

pub fn checks(server: Needed<'_, Server>) -> Checks<'_> {
    vec![
        check("redis-version", server, async |it| Ok(vec![version(it).await])),
        check("redis-memory", server, async |it| Ok(vec![judge_memory(&it.info)])),
        check("redis-persistence", server, async |it| Ok(vec![judge_persistence(&it.info)])),
        check("redis-writable", server, async |it| Ok(vec![writable(it).await])),
    ]
}

/// A connection to one database.
async fn open(addr: &HostPort, db: i64, protocol: ProtocolVersion) -> Result<MultiplexedConnection, RedisError> {
    let settings = RedisConnectionInfo::default().set_db(db).set_protocol(protocol);
    let info = (addr.host.as_str(), addr.port).into_connection_info()?.set_redis_settings(settings);
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(TIME)).set_response_timeout(Some(TIME));
    Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
}

fn parse_info(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// What the server said, or the library.
fn one_line(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    text.replace('\n', " ")
}

async fn version(server: &Server) -> Finding {
    let number = server.info.get("redis_version").cloned().unwrap_or_default();
    let major: u32 = number.split('.').next().and_then(|it| it.parse().ok()).unwrap_or_default();
    let too_old = format!("Redis {number} is too old: {OLDEST} or newer is needed, for RESP3");
    if major < OLDEST {
        return Finding::failed(too_old, "upgrade it");
    }
    match open(&server.addr, LEDGER_DB, ProtocolVersion::RESP3).await {
        Ok(_) => Finding::ok(format!("{number} is {OLDEST} or newer, and speaks RESP3")),
        Err(error) => Finding::failed(
            format!("Redis {number} does not speak RESP3: {}", one_line(&error)),
            "let clients talk to the server itself, not to a proxy that knows RESP2 only",
        ),
    }
}

/// Keys that Redis throws away are rate limits and counts of queries.
fn judge_memory(info: &HashMap<String, String>) -> Finding {
    let number = |name: &str| info.get(name).and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let policy = info.get("maxmemory_policy").map_or("unknown", String::as_str);
    let mib = |bytes: u64| bytes >> 20;
    if most == 0 {
        return Finding::ok("no limit, so that nothing is evicted");
    }
    if policy != "noeviction" {
        return Finding::warning(
            format!("maxmemory-policy {policy} throws away rate limits and counts once {} MiB are full", mib(most)),
            "redis.conf: maxmemory-policy noeviction (or now: CONFIG SET maxmemory-policy noeviction)",
        );
    }
    if used / 9 >= most / 10 {
        let what = format!("{} of {} MiB are used: writes are refused when it is full", mib(used), mib(most));
        return Finding::warning(what, "raise maxmemory");
    }
    Finding::ok(format!("{} of {} MiB are used, and nothing is evicted", mib(used), mib(most)))
}

fn judge_persistence(info: &HashMap<String, String>) -> Finding {
    let is = |name: &str, value: &str| info.get(name).is_some_and(|it| it == value);
    if is("aof_last_write_status", "err") || is("rdb_last_bgsave_status", "err") {
        return Finding::warning(
            "Redis could not write its data to disk, and may refuse to take more",
            "look at its log, its disk and its dir",
        );
    }
    match is("aof_enabled", "1") {
        true => Finding::ok("an append-only file is written"),
        false => Finding::note(
            "appendonly is off: a restart forgets rate limits, a crash counts of queries",
            "redis.conf: appendonly yes (or now: CONFIG SET appendonly yes)",
        ),
    }
}

async fn writable(server: &Server) -> Finding {
    let get = |name: &str| server.info.get(name).map_or("", String::as_str);
    if get("role") != "master" {
        let master = format!("{}:{}", get("master_host"), get("master_port"));
        return Finding::failed(
            format!("Redis at {} is a replica of {master}, and takes no writes", server.addr),
            format!("name the master: --redis-addr {master}"),
        );
    }
    let key = format!("{}:doctor:{}", server.namespace, Uuid::new_v4());
    let mut connection = server.connection.clone();
    let written = cmd("SET").arg(&key).arg(1).arg("PX").arg(10_000).query_async::<()>(&mut connection).await;
    let _ = cmd("DEL").arg(&key).query_async::<()>(&mut connection).await;
    match written {
        Ok(()) => Finding::ok("it takes writes"),
        Err(error) => {
            let mend = match error.code() {
                Some("OOM") => "raise maxmemory",
                Some("MISCONF") => "look at its log and its disk: it cannot save",
                Some("READONLY") => "name the master with --redis-addr",
                _ => "look at its log",
            };
            Finding::failed(format!("Redis at {} takes no writes: {}", server.addr, one_line(&error)), mend)
        }
    }
}

// === impl Server ===

impl Server {
    /// Its time, in UNIX seconds.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn time(&self) -> Result<f64, CliError> {
        let (seconds, micros): (f64, f64) =
            cmd("TIME").query_async(&mut self.connection.clone()).await.map_err(|it| refused(&it))?;
        Ok(seconds + micros / 1e6)
    }

    /// A hash of another database.
    ///
    /// # Errors
    /// It does not answer, or has no such database.
    pub async fn hash(&self, db: i64, key: &str) -> Result<HashMap<String, String>, CliError> {
        let asked = async {
            let mut connection = open(&self.addr, db, ProtocolVersion::RESP2).await?;
            cmd("HGETALL").arg(key).query_async(&mut connection).await
        };
        asked.await.map_err(|it| refused(&it))
    }
}

fn refused(error: &RedisError) -> CliError {
    CliError::Refused(format!("Redis: {}", one_line(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::State;

    fn info(text: &str) -> HashMap<String, String> {
        parse_info(&text.replace(' ', "\r\n"))
    }

    #[test]
    fn memory_that_is_evicted_or_nearly_full_is_told() {
        let judge = |text: &str| judge_memory(&info(text)).state;
        assert_eq!(judge("maxmemory:0 maxmemory_policy:allkeys-lru"), State::Ok);
        assert_eq!(judge("maxmemory:1000 used_memory:899 maxmemory_policy:noeviction"), State::Ok);
        assert_eq!(judge("maxmemory:1000 used_memory:901 maxmemory_policy:noeviction"), State::Warning);
        let evicts = judge_memory(&info("maxmemory:1048576 used_memory:1 maxmemory_policy:volatile-ttl"));
        assert_eq!(evicts.state, State::Warning);
        assert!(evicts.what.contains("volatile-ttl") && evicts.mend.contains("noeviction"), "{evicts:?}");
    }

    #[test]
    fn a_disk_that_fails_is_worse_than_no_file() {
        let judge = |text: &str| judge_persistence(&info(text)).state;
        assert_eq!(judge("aof_enabled:1 aof_last_write_status:ok rdb_last_bgsave_status:ok"), State::Ok);
        assert_eq!(judge("aof_enabled:0 rdb_last_bgsave_status:ok"), State::Note);
        assert_eq!(judge("aof_enabled:1 aof_last_write_status:err"), State::Warning);
        assert_eq!(judge("aof_enabled:0 rdb_last_bgsave_status:err"), State::Warning);
    }
}
