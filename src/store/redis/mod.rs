//! Redis: connection, ledger, last-seen times, statistics.
//!
//! One connection per worker and database, on which all requests' commands are pipelined. It is made in
//! the background and again whenever it is lost; while there is none, commands fail at once instead of
//! waiting in a queue, since whoever asks has an answer of its own for Redis being away. The client
//! library runs without its own timers (they want a tokio runtime); ours are the engine's.

mod bells;
pub mod last_seen;
mod ledger;
pub mod replay;
pub mod session_events;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod tickets;
mod turns;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisConnectionInfo, aio::MultiplexedConnection};
use tokio::sync::Notify;

pub use bells::{Bell, Bells};
pub use ledger::{Ledger, OnTheirWay, Taken, Unflushed};

use crate::{
    config::HostPort,
    engine::{self, Stream},
    store::backoff::Backoff,
};

/// Longest time for a connection to be made.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Longest time for a command to be answered.
const QUERY_TIME: Duration = Duration::from_millis(1500);
/// How often an idle connection is tried; one that was closed is found out at once.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Longest wait before the next try to connect: workers that find Redis back at different times disagree meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Database of the statistics that agents write.
pub const STATISTICS_DB: i64 = 0;
/// Database of rate limits and the ledger.
pub const LEDGER_DB: i64 = 1;
/// Database of last-seen times.
pub const LIVENESS_DB: i64 = 2;

/// Why a command gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// There is no connection, or it was lost, or it does not answer. The command may have been done.
    #[error("Redis is away: {0}")]
    Away(String),
    /// Redis refused the command, or answered what cannot be read.
    #[error("Redis refused: {0}")]
    Refused(redis::RedisError),
}

/// A database of a Redis server; clones are the same connection.
#[derive(Clone)]
pub struct Redis(Rc<Inner>);

struct Inner {
    addr: HostPort,
    db: i64,
    live: RefCell<Option<Live>>,
    down_since: Cell<Option<Instant>>,
}

/// A connection, with a mark that is set where a command was not answered.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    broken: Rc<Cell<bool>>,
    /// When something was last heard on it.
    heard: Rc<Cell<Instant>>,
    /// Told when the connection has ended. Until that is known requests would be let in, or refused, by what Redis was.
    over: Rc<Notify>,
}

// === impl Redis ===

impl Redis {
    /// Connects in the background, for as long as anybody holds the result.
    pub fn connect(addr: HostPort, db: i64) -> Self {
        let inner = Inner { addr, db, live: RefCell::new(None), down_since: Cell::new(Some(Instant::now())) };
        let redis = Redis(Rc::new(inner));
        let kept = Rc::downgrade(&redis.0);
        engine::spawn_lasting(move || keep_connected(kept.clone()));
        redis
    }

    /// Whether there is a connection that answers.
    pub fn is_up(&self) -> bool {
        self.0.live.borrow().is_some()
    }

    /// How long there has been no connection; `None` while there is one.
    pub fn down_for(&self) -> Option<Duration> {
        self.0.down_since.get().map(|since| since.elapsed())
    }

    /// The answer to a command.
    ///
    /// # Errors
    /// Redis is away, does not answer within 1.5 s, refuses, or answers something of another type.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut live = self.live()?;
        let answer = engine::timeout(QUERY_TIME, command.query_async(&mut live.connection)).await;
        self.settle(&live, answer)
    }

    /// The answers to several commands, which are sent together: one round trip.
    ///
    /// # Errors
    /// As with [`Redis::query`].
    pub async fn query_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let mut live = self.live()?;
        let answer = engine::timeout(QUERY_TIME, commands.query_async(&mut live.connection)).await;
        self.settle(&live, answer)
    }

    fn live(&self) -> Result<Live, RedisError> {
        self.0.live.borrow().clone().ok_or_else(|| RedisError::Away("not connected".into()))
    }

    /// What came of a command, after noting what that says of the connection.
    fn settle<T>(&self, live: &Live, answer: Option<redis::RedisResult<T>>) -> Result<T, RedisError> {
        match answer {
            None => {
                self.0.lost(live);
                Err(RedisError::Away("a command was not answered in time".into()))
            }
            Some(Err(error)) if is_lost(&error) => {
                self.0.lost(live);
                Err(RedisError::Away(error.to_string()))
            }
            Some(answer) => {
                live.heard.set(Instant::now());
                answer.map_err(RedisError::Refused)
            }
        }
    }
}

// === impl Inner ===

impl Inner {
    fn up(&self, live: Live) {
        *self.live.borrow_mut() = Some(live);
        self.down_since.set(None);
    }

    /// From now on there is no connection, unless another was made meanwhile.
    fn lost(&self, of: &Live) {
        of.broken.set(true);
        let mut live = self.live.borrow_mut();
        if live.as_ref().is_some_and(|live| Rc::ptr_eq(&live.broken, &of.broken)) {
            *live = None;
            self.down_since.set(Some(Instant::now()));
        }
    }
}

/// Whether an error is about the connection: also a server that is still loading, or became a replica.
fn is_lost(error: &redis::RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || matches!(error.code(), Some("LOADING" | "READONLY"))
}

async fn keep_connected(redis: std::rc::Weak<Inner>) {
    let mut backoff = Backoff::up_to(LONGEST_WAIT);
    while let Some(inner) = redis.upgrade() {
        match open(&inner.addr, inner.db).await {
            Ok(live) => {
                backoff.reset();
                inner.up(live.clone());
                drop(inner);
                watch(&redis, live).await;
            }
            Err(error) => {
                tracing::warn!(addr = %inner.addr, db = inner.db, %error, "Redis cannot be reached");
                drop(inner);
            }
        }
        engine::sleep(backoff.next(rand::random())).await;
    }
}

/// Returns when the connection no longer answers, or nobody wants it any more.
async fn watch(redis: &std::rc::Weak<Inner>, mut live: Live) {
    loop {
        let ended = engine::timeout(PING_EVERY, live.over.notified()).await.is_some();
        let Some(inner) = redis.upgrade() else { return };
        if ended {
            inner.lost(&live);
        }
        if !live.broken.get() && live.heard.get().elapsed() >= PING_EVERY {
            let ping = ping(&mut live.connection).await;
            if let Err(error) = ping {
                tracing::debug!(%error, "a ping was not answered");
                inner.lost(&live);
            }
        }
        if live.broken.get() {
            tracing::warn!(addr = %inner.addr, db = inner.db, "the connection to Redis is lost");
            return;
        }
    }
}

/// A connection that has answered once.
async fn open(addr: &HostPort, db: i64) -> Result<Live, RedisError> {
    let away = |error: std::io::Error| RedisError::Away(error.to_string());
    let opening = async {
        let stream = Stream::connect_tcp(engine::resolve(addr).await.map_err(away)?).await.map_err(away)?;
        let info = RedisConnectionInfo::default().set_db(db);
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(RedisError::Refused)?;
        let over = Rc::new(Notify::new());
        engine::spawn({
            let over = over.clone();
            async move {
                driver.await;
                over.notify_one();
            }
        });
        // A server that still loads its data refuses this.
        ping(&mut connection).await?;
        Ok(Live { connection, broken: Rc::default(), heard: Rc::new(Cell::new(Instant::now())), over })
    };
    let silent = || Err(RedisError::Away(format!("{addr} does not answer")));
    engine::timeout(CONNECT_TIME, opening).await.unwrap_or_else(silent)
}

async fn ping(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let pinging = async { redis::cmd("PING").query_async::<()>(connection).await };
    match engine::timeout(QUERY_TIME, pinging).await {
        Some(answer) => answer.map_err(RedisError::Refused),
        None => Err(RedisError::Away("a ping was not answered in time".into())),
    }
}

/// Runs a script by its digest, and by its text where Redis does not know it yet. `arguments` are the
/// number of keys, the keys and the rest.
pub(crate) async fn run_script<T: FromRedisValue>(
    redis: &Redis,
    script: &redis::Script,
    text: &str,
    arguments: &[impl redis::ToRedisArgs],
) -> Result<T, RedisError> {
    let call = |name: &str, script: &str| {
        let mut command = redis::cmd(name);
        command.arg(script).arg(arguments);
        command
    };
    match redis.query(&call("EVALSHA", script.get_hash())).await {
        Err(RedisError::Refused(error)) if error.code() == Some("NOSCRIPT") => redis.query(&call("EVAL", text)).await,
        answer => answer,
    }
}
