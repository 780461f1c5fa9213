//! What agents tell: they are there, they go, a kernel has ended.
//!
//! An event may come twice, late, or for something unknown; every change here is conditional on the row's state.

use std::{
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::Registry;
use crate::{
    agents::Seldom,
    store::{
        etcd::Overbook,
        postgres::{
            PgError,
            agents::{self, Capacity},
            kernels::{self, End, Stats},
            restarts,
        },
        redis::last_seen,
    },
    telemetry::{self, Counter},
    wire::event::{Event, EventKind, Heartbeat},
};

/// How long a heartbeat that says nothing new stays out of PostgreSQL.
const REPEAT: Duration = Duration::from_secs(10);

/// How long a row has to be RUNNING for a heartbeat that does not name its kernel to mean anything: heartbeats may be
/// older than the row.
const SETTLED: Duration = Duration::from_secs(15);

/// Agents whose heartbeats come to this worker, with what was last entered.
pub type KnownAgents = HashMap<String, (Heartbeat, Capacity, Instant)>;

/// What is said of events at most once a minute.
#[derive(Debug, Default)]
pub struct Said {
    stray: Seldom,
    failed: Seldom,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Entered,
    /// It tells of a kernel that no row knows.
    UnknownKernel,
}

impl Registry {
    /// Takes an event in; a worker that ends waits for it.
    pub async fn hear(self: Rc<Self>, event: Event) {
        let registry = self.clone();
        let work = async move {
            let outcome = registry.handle(&event).await;
            registry.heard(&event, outcome);
        };
        self.tasks.detach(work).await;
    }

    /// Something changed at an agent's row: its next heartbeat is entered again.
    pub fn agent_changed(&self, agent: &str) {
        self.known_agents.borrow_mut().remove(agent);
    }

    /// Anything may have changed: every next heartbeat is entered again.
    pub fn agents_changed(&self) {
        self.known_agents.borrow_mut().clear();
    }

    /// Counts what became of an event; what went wrong is said, once for many.
    fn heard(&self, event: &Event, outcome: Result<Outcome, PgError>) {
        match outcome {
            Ok(Outcome::Entered) => telemetry::count(Counter::EventsHandled),
            Ok(Outcome::UnknownKernel) => {
                telemetry::count(Counter::EventsStray);
                if let Some(count) = self.said.stray.happened(Instant::now()) {
                    tracing::warn!(agent = %event.agent, count, "an event of an unknown kernel was ignored");
                }
            }
            // A heartbeat comes again; ended kernels are found by the leader.
            Err(error) => {
                telemetry::count(Counter::EventsFailed);
                if let Some(count) = self.said.failed.happened(Instant::now()) {
                    tracing::warn!(%error, agent = %event.agent, count, "an event could not be entered");
                }
            }
        }
    }

    async fn handle(&self, event: &Event) -> Result<Outcome, PgError> {
        match &event.kind {
            EventKind::Heartbeat(beat) => self.beat(&event.agent, beat).await?,
            EventKind::Terminated { reason } => self.agent_ended(&event.agent, reason).await?,
            EventKind::KernelTerminated { id, reason, stats } => {
                let stats = stats.as_ref().and_then(Stats::from_agent).unwrap_or_default();
                return match Uuid::parse_str(id) {
                    Ok(id) => self.kernel_ended(id, reason, &stats).await,
                    Err(_) => Ok(Outcome::UnknownKernel),
                };
            }
            EventKind::Started | EventKind::KernelCreating { .. } | EventKind::Stats(_) | EventKind::Unknown(_) => {}
        }
        Ok(Outcome::Entered)
    }

    async fn beat(&self, agent: &str, beat: &Heartbeat) -> Result<(), PgError> {
        telemetry::count(Counter::Heartbeats);
        if let Err(error) = last_seen::beat(&self.stores.liveness, agent).await {
            tracing::debug!(%error, agent, "when an agent was last seen could not be noted");
        }
        let has = overbooked(beat, &self.stores.etcd.snapshot().overbook);
        let known = self.known_agents.borrow().get(agent).is_some_and(|(last, capacity, entered)| {
            says_the_same(last, beat) && *capacity == has && entered.elapsed() < REPEAT
        });
        if known {
            return Ok(());
        }
        // First of all, so that nobody gets a session on it without knowing.
        if let Err(error) = self.stores.ledger.note_old_agent(agent, beat.images.is_none()).await {
            tracing::debug!(%error, agent, "an agent's release could not be noted");
        }
        let came = agents::heard(&self.stores.postgres, agent, beat, has).await?;
        self.known_agents.borrow_mut().insert(agent.to_owned(), (beat.clone(), has, Instant::now()));
        if came {
            tracing::info!(agent, addr = %beat.addr, "an agent is there");
        }
        self.reconcile(agent, beat).await
    }

    /// Compares an agent's kernels with the rows: rows whose kernels it has not end, and kernels that no row knows
    /// are ended there. An agent may have been away, or its event was lost with a worker. Only our own agents say
    /// which kernels they run.
    async fn reconcile(&self, agent: &str, beat: &Heartbeat) -> Result<(), PgError> {
        let Some(running) = &beat.kernels else { return Ok(()) };
        let running: Vec<Uuid> = running.iter().filter_map(|id| Uuid::parse_str(id).ok()).collect();
        let live = kernels::live_on(&self.stores.postgres, agent, SETTLED.as_secs_f64()).await?;
        for (id, settled) in &live {
            if *settled && !running.contains(id) {
                self.forget_everywhere(*id).await;
                self.finish(*id, End::Error, "lost-by-agent", &Stats::default()).await?;
            }
        }
        for id in running.iter().filter(|id| !live.iter().any(|(known, _)| known == *id)) {
            // The next time that the agent comes back, it is tried again.
            let _ = self.destroy_at_agent(*id, &beat.addr).await;
        }
        Ok(())
    }

    async fn agent_ended(&self, agent: &str, reason: &str) -> Result<(), PgError> {
        let status = if reason == "agent-restart" { "RESTARTING" } else { "TERMINATED" };
        if agents::gone(&self.stores.postgres, agent, status).await? {
            tracing::info!(agent, reason, "an agent has ended");
        }
        self.agent_changed(agent);
        Ok(())
    }

    async fn kernel_ended(&self, id: Uuid, reason: &str, stats: &Stats) -> Result<Outcome, PgError> {
        let Some(status) = kernels::status(&self.stores.postgres, id).await? else {
            return Ok(Outcome::UnknownKernel);
        };
        // Whoever restarts or ends it does the rest, with the statistics that the event lacks.
        if status != "RUNNING" {
            return Ok(Outcome::Entered);
        }
        // Agents say this of a kernel that they restart too, over another connection than their answer.
        if reason == "self-terminated" && restarts::is_fresh(&self.stores.postgres, id).await? {
            return Ok(Outcome::Entered);
        }
        self.forget_everywhere(id).await;
        if self.finish(id, End::Terminated, reason, stats).await? {
            tracing::info!(session = %id, reason, "a kernel has ended by itself");
        }
        Ok(Outcome::Entered)
    }
}

/// What an agent has, times the factors of etcd.
fn overbooked(beat: &Heartbeat, factors: &Overbook) -> Capacity {
    Capacity {
        // Slots of agents are far below 2^52 MiB, where f64 is exact.
        mem: (beat.mem_slots as f64 * factors.mem) as i64,
        cpu: beat.cpu_slots * factors.cpu,
        gpu: beat.gpu_slots * factors.gpu,
    }
}

fn says_the_same(a: &Heartbeat, b: &Heartbeat) -> bool {
    (&a.addr, &a.region, a.mem_slots) == (&b.addr, &b.region, b.mem_slots)
        && (a.cpu_slots, a.gpu_slots, a.read_only_mounts) == (b.cpu_slots, b.gpu_slots, b.read_only_mounts)
}
