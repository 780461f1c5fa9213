//! What one worker of the whole namespace does: lost agents, half-done sessions, the ledger, sums that are wrong.
//!
//! Every write is safe if this worker is the leader no more: each is conditional on the row's state.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use uuid::Uuid;

use super::{Error, Registry, reconcile::Sums, time_limits};
use crate::{
    engine,
    store::{
        postgres::{
            PgError, agents,
            kernels::{self, End, SessionRow, Stats},
            ledger::{self, Batch},
        },
        redis::last_seen,
    },
};

/// How often the leader looks.
const ROUND: Duration = Duration::from_secs(1);

/// How often it compares the totals in Redis with the sessions.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Seconds after which nobody can be at a half-made, half-restarted or half-ended session any more: the longest call and a margin.
const ABANDONED_S: f64 = 45.0;

/// Sessions that are mended at once, each of which may have to wait for a slow agent.
const MENDED_AT_ONCE: usize = 64;

/// The sessions that this worker mends now.
pub type Mending = Rc<RefCell<HashSet<Uuid>>>;

impl Registry {
    /// Does the leader's work for as long as this worker lives, whenever it is the leader.
    pub async fn lead(self: Rc<Self>) {
        let mut swept = Instant::now();
        let mut sums = Sums::default();
        loop {
            engine::sleep(ROUND).await;
            if !self.stores.etcd.is_leader() || !self.stores.postgres.is_up() {
                continue;
            }
            self.report(self.find_lost_agents().await, "looking for lost agents");
            self.report(self.drain_agents().await, "draining agents");
            self.report(self.mend_half_done().await, "mending half-done sessions");
            self.report(self.flush_ledger().await, "writing counters to PostgreSQL");
            self.report(self.reconcile_sums(&mut sums).await, "comparing sums with sessions");
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                self.report(self.sweep_totals().await, "comparing totals with sessions");
            }
        }
    }

    fn report(&self, outcome: Result<(), Error>, what: &str) {
        if let Err(error) = outcome {
            tracing::warn!(%error, "{what} failed; it is tried again");
        }
    }

    async fn find_lost_agents(&self) -> Result<(), Error> {
        // Without the times nobody is called lost.
        let Ok(seen) = last_seen::all(&self.stores.liveness).await else { return Ok(()) };
        let mut silent = agents::alive(&self.stores.postgres).await?;
        silent.retain(|agent| self.is_silent(&seen, &agent.id));
        // All at once: each that does not answer takes its time.
        let answers = join_all(silent.iter().map(|agent| self.answers(&agent.addr))).await;
        for (agent, answers) in silent.iter().zip(answers) {
            if !answers && agents::gone(&self.stores.postgres, &agent.id, "LOST").await? {
                tracing::warn!(agent = %agent.id, "an agent is lost");
            }
        }
        Ok(())
    }

    /// Whether it is too long since an agent was seen, so that it is about to be asked whether it lives.
    pub(super) fn is_silent(&self, seen: &HashMap<String, f64>, agent: &str) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        seen.get(agent).is_none_or(|at| now - at > self.heartbeat_timeout.as_secs_f64())
    }

    /// An agent that answers is alive, whatever became of its events.
    async fn answers(&self, addr: &str) -> bool {
        self.agents.call(addr, "ping", vec!["hi".into()], time_limits::PING).await.is_ok()
    }

    async fn drain_agents(&self) -> Result<(), Error> {
        match kernels::drain_agents(&self.stores.postgres).await? {
            0 => {}
            sessions => tracing::info!(sessions, "agents are drained"),
        }
        Ok(())
    }

    /// Begins to finish what was left half done, and to end what the leader is to end. Each session by itself: an
    /// agent that does not answer must not hold up the others, nor the rest of the leader's work.
    async fn mend_half_done(self: &Rc<Self>) -> Result<(), Error> {
        for row in kernels::half_done(&self.stores.postgres, ABANDONED_S).await? {
            let mut mending = self.mending.borrow_mut();
            if mending.len() >= MENDED_AT_ONCE || !mending.insert(row.id) {
                continue;
            }
            let registry = self.clone();
            engine::spawn(async move {
                registry.report(registry.mend(&row).await, "mending a half-done session");
                registry.mending.borrow_mut().remove(&row.id);
            });
        }
        Ok(())
    }

    async fn mend(&self, row: &SessionRow) -> Result<(), Error> {
        tracing::info!(session = %row.id, status = %row.status, "a session is finished by the leader");
        self.forget_everywhere(row.id).await;
        match row.status.as_str() {
            "TERMINATING" => {
                drop(self.end(row, row.status_info.as_deref().unwrap_or("user-requested"), Duration::ZERO).await?)
            }
            "RESTARTING" => self.abandon(row, "restart-failed").await?,
            _ => self.abandon(row, "creation-abandoned").await?,
        }
        Ok(())
    }

    async fn abandon(&self, row: &SessionRow, info: &str) -> Result<(), PgError> {
        // The agent may never have heard of it, or be gone.
        let _ = self.destroy_at_agent(row.id, &row.agent_addr).await;
        let none = Stats::default();
        self.finish(row.id, End::Error, info, &none).await.map(drop)
    }

    /// Moves counters to PostgreSQL: each batch once, also if a leader dies halfway.
    async fn flush_ledger(&self) -> Result<(), Error> {
        // While Redis is away there is nothing to move.
        let Ok(batches) = self.stores.ledger.take_batches().await else { return Ok(()) };
        for taken in batches {
            let batch = Batch { keys: taken.keys, sessions: taken.sessions };
            ledger::apply(&self.stores.postgres, taken.id, &batch).await?;
            // If this fails the batch is met again, and PostgreSQL knows its id.
            let _ = self.stores.ledger.finish_batch(taken.id).await;
        }
        Ok(())
    }
}
