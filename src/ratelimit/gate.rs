//! The gate of one worker: collects the requests that wait, asks Redis once for all of them.
//!
//! A request that finds no call under way starts one, which goes when the tasks that are ready now have
//! run, so that all which arrived with it go along. At most two calls are under way: while both are,
//! requests gather for the next, so that calls grow with the load instead of in number.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use redis::{Script, Value};
use tokio::sync::oneshot;

use super::{
    Charge, GateError, SessionCount, Verdict,
    fallback::{Debts, Fallback},
    turn::{self, Asked, Outcome},
};
use crate::{
    auth::AccessKey,
    engine,
    store::redis::{Redis, RedisError},
    telemetry::{self, Counter},
};

/// The script, for Redis 5 and later.
pub(super) const SCRIPT: &str = include_str!("gate.lua");

/// The script that looks at windows without counting.
const USED: &str = include_str!("used.lua");

/// Most calls under way at once.
const CALLS: usize = 2;
/// Most requests in one call: Redis does nothing else meanwhile (about 1 ms).
const BATCH: usize = 256;
/// How often a worker looks whether Redis is away or back, and tells it what it was not told of.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a worker keeps to its share after Redis is back: until the others, who find it back within
/// a second, have told Redis what they admitted. Else one could give away what another's share was.
const CONVERGE: Duration = Duration::from_millis(2500);
/// How often, in looks, a worker asks anew how the windows stand of the keys that it saw last, and of how many:
/// what others admitted meanwhile is no part of what it may share out when Redis goes away.
const REFRESH_LOOKS: u32 = 10;
const REFRESHED: usize = 256;
/// Keys whose last state a worker remembers for when Redis is away: about 3 MiB at most.
const REMEMBERED: usize = 32_768;

/// What every authorized request of a worker passes; clones are the same gate.
#[derive(Clone)]
pub struct Gate(Rc<Inner>);

struct Inner {
    redis: Redis,
    script: Script,
    /// `backendai:<namespace>:`.
    prefix: String,
    /// Workers of all nodes.
    workers: Box<dyn Fn() -> usize>,
    waiting: RefCell<Vec<(Asked, oneshot::Sender<Verdict>)>>,
    calls: Cell<usize>,
    fallback: RefCell<Fallback>,
    /// Whether the last request was answered without Redis.
    alone: Cell<bool>,
    /// Until when the worker keeps to its share; `None` while Redis is away.
    whole_from: Cell<Option<Instant>>,
    started: Instant,
}

// === impl Gate ===

impl Gate {
    /// The gate of a worker for a namespace. `redis` is database 1; `workers` tells how many workers all
    /// nodes have together.
    pub fn new(redis: Redis, namespace: &str, workers: impl Fn() -> usize + 'static) -> Self {
        let inner = Rc::new(Inner {
            redis,
            script: Script::new(SCRIPT),
            prefix: format!("backendai:{namespace}:"),
            workers: Box::new(workers),
            waiting: RefCell::default(),
            calls: Cell::new(0),
            fallback: RefCell::new(Fallback::new(REMEMBERED)),
            alone: Cell::new(false),
            // A worker that has just started owes nothing, and finds Redis as it is.
            whole_from: Cell::new(Some(Instant::now())),
            started: Instant::now(),
        });
        let looked_at = Rc::downgrade(&inner);
        engine::spawn_lasting(move || look(looked_at.clone()));
        Gate(inner)
    }

    /// Whether requests are answered without Redis: it is away, or has only just come back.
    pub fn is_alone(&self) -> bool {
        !self.0.redis.is_up() || self.0.whole_from.get().is_none_or(|from| Instant::now() < from)
    }

    /// Asks for a request to be let in, and counts it if it is.
    ///
    /// # Errors
    /// Redis is away, and this worker never saw the key.
    pub async fn admit(&self, charge: Charge<'_>) -> Result<Verdict, GateError> {
        let asked = Asked::new(&charge).ok_or(GateError::Unavailable)?;
        if self.is_alone() {
            return self.0.admit_alone(&asked);
        }
        let (reply, verdict) = oneshot::channel();
        self.0.waiting.borrow_mut().push((asked.clone(), reply));
        self.start_call();
        // The sender is dropped where the call failed.
        match verdict.await {
            Ok(verdict) => {
                self.0.set_alone(false);
                Ok(verdict)
            }
            Err(_) => self.0.admit_alone(&asked),
        }
    }

    /// Counts in Redis what it was not told of while it was away, if it is back: also before a worker ends.
    pub async fn settle(&self) {
        if self.0.fallback.borrow().has_debts() && self.0.redis.is_up() {
            self.0.call(&[]).await;
        }
    }

    fn start_call(&self) {
        let calls = &self.0.calls;
        if calls.get() < CALLS {
            calls.set(calls.get() + 1);
            engine::spawn(self.0.clone().call_while_any_wait());
        }
    }
}

// === impl Inner ===

impl Inner {
    async fn call_while_any_wait(self: Rc<Self>) {
        loop {
            let mut batch = self.next_batch();
            if batch.is_empty() {
                break;
            }
            batch.sort_by(|(a, _), (b, _)| a.order(b));
            let (asked, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let Some(outcome) = self.call(&asked).await else { continue };
            for (reply, verdict) in replies.into_iter().zip(outcome.verdicts) {
                // Whoever asked may be gone; the request was counted.
                let _ = reply.send(verdict);
            }
        }
        self.calls.set(self.calls.get() - 1);
    }

    fn next_batch(&self) -> Vec<(Asked, oneshot::Sender<Verdict>)> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() <= BATCH {
            return std::mem::take(&mut *waiting);
        }
        let rest = waiting.split_off(BATCH);
        std::mem::replace(&mut *waiting, rest)
    }

    /// Asks Redis, and counts what it was not told of before; `None` where it is away.
    async fn call(&self, asked: &[Asked]) -> Option<Outcome> {
        let debts = self.fallback.borrow_mut().take_debts();
        telemetry::count(Counter::RateRoundTrips);
        let outcome = match self.ask(&debts, asked).await {
            Ok(answer) => turn::read(&debts, asked, answer),
            Err(error) => {
                self.fallback.borrow_mut().give_back(&debts);
                tracing::debug!(%error, "the rate limit could not be asked of Redis");
                None
            }
        };
        let now = self.now_ms();
        for seen in outcome.iter().flat_map(|outcome| &outcome.seen) {
            self.fallback.borrow_mut().saw(now, seen.access_key, seen.limit, seen.admission);
        }
        outcome
    }

    async fn ask(&self, debts: &Debts, asked: &[Asked]) -> Result<Vec<Value>, RedisError> {
        let now = self.now_ms();
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script);
            let fallback = self.fallback.borrow();
            turn::write(&mut command, &self.prefix, debts, asked, |key| fallback.at_least(now, key));
            command
        };
        match self.redis.query(&command("EVALSHA", self.script.get_hash())).await {
            Err(RedisError::Refused(error)) if error.code() == Some("NOSCRIPT") => {
                self.redis.query(&command("EVAL", SCRIPT)).await
            }
            answer => answer,
        }
    }

    /// Learns how the windows stand that other workers count in too.
    async fn refresh(&self) {
        let keys = self.fallback.borrow().recent(REFRESHED);
        if keys.is_empty() {
            return;
        }
        telemetry::count(Counter::RateRoundTrips);
        let mut command = redis::cmd("EVAL");
        command.arg(USED).arg(1).arg(&self.prefix);
        for key in &keys {
            command.arg(key.as_str());
        }
        let used: Result<Vec<u32>, _> = self.redis.query(&command).await;
        // Where Redis has just gone away, what was seen last has to do.
        let Ok(used) = used else { return };
        let mut fallback = self.fallback.borrow_mut();
        for (key, used) in keys.iter().zip(used) {
            fallback.learn(key, used);
        }
    }

    /// Answers from what this worker knows.
    fn admit_alone(&self, asked: &Asked) -> Result<Verdict, GateError> {
        self.set_alone(true);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let unix_ms = u64::try_from(unix).unwrap_or(u64::MAX);
        let Asked { access_key, limit, session, .. } = *asked;
        let mut fallback = self.fallback.borrow_mut();
        let admission = fallback
            .admit(self.now_ms(), unix_ms, (self.workers)(), access_key, limit, session)
            .ok_or(GateError::Unavailable)?;
        let mut verdict = Verdict::of(limit, admission);
        if verdict.allowed && session.is_some() {
            verdict.session = SessionCount::Unknown;
        }
        Ok(verdict)
    }

    fn set_alone(&self, alone: bool) {
        if self.alone.replace(alone) != alone {
            telemetry::set_gauge(Counter::RateFallback, alone.into());
            match alone {
                true => tracing::warn!("Redis is away: this worker admits its share of what was left of each limit"),
                false => tracing::info!("Redis is back: limits hold across workers again"),
            }
        }
    }

    /// A steady clock, in ms.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Follows whether Redis is away or back, for as long as the gate is there.
async fn look(gate: Weak<Inner>) {
    // Whether there was a connection before: the first one of a worker's life is no return.
    let mut connected = false;
    for look in 1u32.. {
        let Some(inner) = gate.upgrade() else { return };
        match (inner.redis.is_up(), inner.whole_from.get()) {
            (false, Some(_)) if connected => inner.whole_from.set(None),
            (true, None) => inner.whole_from.set(Some(Instant::now() + CONVERGE)),
            _ => {}
        }
        connected |= inner.redis.is_up();
        if look.is_multiple_of(REFRESH_LOOKS) && inner.redis.is_up() {
            inner.refresh().await;
        }
        Gate(inner).settle().await;
        engine::sleep(LOOK_EVERY).await;
    }
}

impl Asked {
    /// `None` where no key pair can have the access key.
    fn new(charge: &Charge<'_>) -> Option<Self> {
        let Charge { access_key, limit, session, run } = *charge;
        Some(Asked { access_key: AccessKey::new(access_key)?, limit, session, run: run.map(Into::into) })
    }
}
