//! The rules of sessions: who may have which, on which agent, and what happens when something fails.
//!
//! The registry knows no HTTP. Its invariants, which hold also after any process was killed at any instant:
//! what an agent or a key has in use is the sum over its live sessions (each begin and end of a session is one
//! statement of PostgreSQL); the agent is never called inside a transaction; a session that nobody finished making
//! or ending is finished by the leader.

mod audit;
mod create;
mod destroy;
mod error;
mod events;
mod execute;
mod files;
mod forget;
mod leader;
mod names;
mod paths;
mod queue;
mod reconcile;
mod recount;
mod restart;
pub mod scheduler;
mod sessions;
mod tasks;
mod turns;
mod watch;

use std::{cell::RefCell, rc::Rc, time::Duration};

pub use audit::{Action, Actor};
pub use create::{Created, Placement, Wanted};
pub use error::{AgentOp, Error};
pub use execute::{Mode, Run, RunResult};
pub use files::Listing;
pub use names::{SessionName, Slots};
pub use paths::{BadPath, WorkPath};
pub use sessions::Session;
pub use watch::Standing;

use crate::{
    agents::AgentPool,
    store::{
        etcd::Etcd,
        postgres::Postgres,
        redis::{Bells, Ledger, Redis, session_events::SessionEvents},
    },
};

/// Longest time that an agent may take, by method (seconds of the agent protocol).
mod time_limits {
    use super::Duration;

    pub const PING: Duration = Duration::from_secs(5);
    pub const CREATE: Duration = Duration::from_secs(30);
    pub const RESTART: Duration = Duration::from_secs(30);
    pub const DESTROY: Duration = Duration::from_secs(10);
    pub const EXECUTE: Duration = Duration::from_secs(300);
    pub const COMPLETE: Duration = Duration::from_secs(5);
    pub const INTERRUPT: Duration = Duration::from_secs(5);
    pub const LOGS: Duration = Duration::from_secs(5);
    pub const UPLOAD: Duration = Duration::from_secs(180);
    pub const FILES: Duration = Duration::from_secs(30);
}

/// What the registry stands on.
#[derive(Clone)]
pub struct Stores {
    /// Sessions, keys, agents.
    pub postgres: Postgres,
    /// Images, aliases, overbook factors, leadership.
    pub etcd: Rc<Etcd>,
    /// Counters and runs (database 1).
    pub ledger: Ledger,
    /// What befalls sessions (database 1).
    pub events: SessionEvents,
    /// Tells when something does.
    pub bells: Bells,
    /// Statistics of kernels (database 0).
    pub stats: Redis,
    /// Last-seen times (database 2).
    pub liveness: Redis,
}

/// A worker's registry.
pub struct Registry {
    stores: Stores,
    agents: Rc<AgentPool>,
    node: Rc<str>,
    heartbeat_timeout: Duration,
    cache: RefCell<sessions::Cache>,
    queues: queue::Queues,
    releases: turns::Releases,
    unforgotten: forget::Unforgotten,
    known_agents: RefCell<events::KnownAgents>,
    said: events::Said,
    tasks: tasks::Tasks,
    mending: leader::Mending,
}

impl Registry {
    /// A registry of the gateway node of that name.
    pub fn new(stores: Stores, agents: Rc<AgentPool>, node: &str, heartbeat_timeout: Duration) -> Rc<Self> {
        Rc::new(Registry {
            stores,
            agents,
            node: node.into(),
            heartbeat_timeout,
            cache: RefCell::default(),
            queues: queue::Queues::default(),
            releases: turns::Releases::default(),
            unforgotten: forget::Unforgotten::default(),
            known_agents: RefCell::default(),
            said: events::Said::default(),
            tasks: tasks::Tasks::default(),
            mending: leader::Mending::default(),
        })
    }

    /// What the registry stands on.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Waits until what goes on without a client has ended: sessions being made or ended.
    pub async fn settled(&self) {
        self.tasks.settled().await;
    }
}
