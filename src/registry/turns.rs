//! Whose turn it is to execute in a kernel.
//!
//! Within a worker one call at a time for each kernel, in order. Agents of release 1.0 break for good on a second
//! call, so for their kernels a lease in Redis keeps other workers and nodes out too. While Redis is away the
//! worker's own order is all there is.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{AgentOp, Error, Registry, Session, queue, time_limits};
use crate::{
    agents::CallError,
    engine,
    store::redis::{Ledger, RedisError},
};

/// How long a lease outlives a worker that died with it.
const LIFE: Duration = Duration::from_secs(10);
/// How often a lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long to wait before a lease that somebody else has is tried again: at first, and at most.
const TRY_FIRST: Duration = Duration::from_millis(5);
const TRY_LAST: Duration = Duration::from_millis(100);
/// How long an agent's release is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Agents that are remembered at most; beyond it starts afresh.
const AGENTS: usize = 10_000;

/// Which agents are of release 1.0, as Redis said last.
#[derive(Default)]
pub struct Releases(RefCell<HashMap<Rc<str>, (bool, Instant)>>);

/// One's turn at a kernel, to be given back by [`Turn::end`].
pub struct Turn {
    lease: Option<Lease>,
    _place: queue::Turn,
}

/// A turn among all workers.
struct Lease {
    ledger: Ledger,
    kernel: Uuid,
    token: String,
    held: Rc<Cell<bool>>,
}

impl Registry {
    /// Waits for one's turn at a session's kernel, at most as long as a call may take.
    ///
    /// # Errors
    /// It did not come in that time.
    pub(super) async fn turn(&self, session: &Session) -> Result<Turn, Error> {
        let waiting = async {
            let place = self.queues.turn(session.id).await;
            let lease = match self.is_old(&session.agent).await {
                true => Lease::take(&self.stores.ledger, session.id).await,
                false => None,
            };
            Turn { lease, _place: place }
        };
        let overdue = || Error::Agent(AgentOp::Execute, CallError::Timeout);
        engine::timeout(time_limits::EXECUTE, waiting).await.ok_or_else(overdue)
    }

    /// Whether an agent is of release 1.0. Where Redis cannot say, what it said last holds.
    async fn is_old(&self, agent: &Rc<str>) -> bool {
        let known = self.releases.0.borrow().get(agent).copied();
        if let Some((is_old, at)) = known
            && at.elapsed() < REMEMBERED
        {
            return is_old;
        }
        match self.stores.ledger.is_old_agent(agent).await {
            Ok(is_old) => {
                self.releases.remember(agent, is_old);
                is_old
            }
            Err(_) => known.is_some_and(|(is_old, _)| is_old),
        }
    }
}

// === impl Releases ===

impl Releases {
    fn remember(&self, agent: &Rc<str>, is_old: bool) {
        let mut known = self.0.borrow_mut();
        if known.len() >= AGENTS {
            known.clear();
        }
        known.insert(agent.clone(), (is_old, Instant::now()));
    }
}

// === impl Turn ===

impl Turn {
    /// Gives the turn back.
    pub async fn end(self) {
        if let Some(lease) = self.lease {
            lease.end().await;
        }
    }
}

// === impl Lease ===

impl Lease {
    /// Waits for the lease; none while Redis is away.
    async fn take(ledger: &Ledger, kernel: Uuid) -> Option<Lease> {
        let token = Uuid::new_v4().simple().to_string();
        let mut pause = TRY_FIRST;
        loop {
            match ledger.take_turn(kernel, &token, LIFE).await {
                Ok(true) => break,
                Ok(false) => engine::sleep(pause).await,
                Err(error) => {
                    tracing::debug!(%error, %kernel, "a turn could not be taken in Redis");
                    return None;
                }
            }
            pause = (pause * 2).min(TRY_LAST);
        }
        let lease = Lease { ledger: ledger.clone(), kernel, token, held: Rc::new(Cell::new(true)) };
        engine::spawn(renew(lease.ledger.clone(), kernel, lease.token.clone(), lease.held.clone()));
        Some(lease)
    }

    async fn end(self) {
        self.held.set(false);
        if let Err(error) = self.ledger.end_turn(self.kernel, &self.token).await {
            tracing::debug!(%error, kernel = %self.kernel, "a turn ends with its life");
        }
    }
}

/// Whatever ends the turn, its renewing ends with it.
impl Drop for Lease {
    fn drop(&mut self) {
        self.held.set(false);
    }
}

async fn renew(ledger: Ledger, kernel: Uuid, token: String, held: Rc<Cell<bool>>) {
    loop {
        engine::sleep(RENEW_EVERY).await;
        if !held.get() {
            return;
        }
        let renewed: Result<bool, RedisError> = ledger.renew_turn(kernel, &token, LIFE).await;
        if !held.get() {
            // Given back while the renewal was on its way, which may have taken it anew.
            let _ = ledger.end_turn(kernel, &token).await;
            return;
        }
        if let Ok(false) = renewed {
            tracing::warn!(%kernel, "a turn at a kernel went to somebody else while Redis was away");
            return;
        }
    }
}
