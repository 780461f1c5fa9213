//! All agents that a worker calls, by address.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use rmpv::Value;

use super::{CallError, client::Client, driver::drive};
use crate::{
    engine,
    telemetry::{self, Counter},
};

/// The connections of one worker to agents, one for each agent that it calls.
pub struct AgentPool {
    pub(super) clients: RefCell<HashMap<String, Rc<Client>>>,
    settings: Settings,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Connecting and shaking hands, each time it is tried.
    pub handshake: Duration,
    /// Longest time that a call waits for a connection, however long it may take in all: users of an
    /// agent that is gone should not wait the minutes that a run may take.
    pub connect_wait: Duration,
    /// An unused connection is closed after it.
    pub idle: Duration,
}

// === impl AgentPool ===

impl AgentPool {
    /// A pool without connections: they come with the first call of each agent.
    pub fn new() -> Rc<AgentPool> {
        AgentPool::with_settings(Settings::default())
    }

    /// A pool of other time limits.
    pub fn with_settings(settings: Settings) -> Rc<AgentPool> {
        Rc::new(AgentPool { clients: RefCell::default(), settings })
    }

    /// Calls a method of the agent at `agent_addr` (`tcp://ip:port`), and waits at most `timeout` for its
    /// result. If this future is dropped, the agent may still do what was asked.
    ///
    /// # Errors
    /// No result came, for the reason that the error tells.
    pub async fn call(
        self: &Rc<Self>,
        agent_addr: &str,
        method: &str,
        args: Vec<Value>,
        timeout: Duration,
    ) -> Result<Value, CallError> {
        telemetry::count(Counter::AgentCalls);
        let result = match self.client(agent_addr) {
            Ok(client) => client.call(method, args, timeout).await,
            Err(error) => Err(error),
        };
        result.inspect_err(|error| telemetry::count(error.counter()))
    }

    /// How many agents there are connections to, or tries to connect.
    pub fn len(&self) -> usize {
        self.clients.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn client(self: &Rc<Self>, addr: &str) -> Result<Rc<Client>, CallError> {
        if let Some(client) = self.clients.borrow().get(addr) {
            return Ok(client.clone());
        }
        let parsed = addr.strip_prefix("tcp://").and_then(|rest| rest.parse().ok());
        let parsed = parsed.ok_or_else(|| CallError::Unreachable(format!("{addr:?} is no agent's address")))?;
        let client = Rc::new(Client::new(parsed, self.settings, Instant::now()));
        self.clients.borrow_mut().insert(addr.to_owned(), client.clone());
        self.start(addr.to_owned(), client.clone());
        Ok(client)
    }

    /// Starts the client's driver. When it ends, nobody uses the client, and it leaves the pool in the same
    /// turn, so that no call finds a client without a driver.
    fn start(self: &Rc<Self>, addr: String, client: Rc<Client>) {
        let pool = Rc::downgrade(self);
        engine::spawn(async move {
            drive(&client).await;
            if let Some(pool) = pool.upgrade() {
                pool.clients.borrow_mut().remove(&addr);
            }
        });
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            handshake: Duration::from_secs(5),
            connect_wait: Duration::from_secs(10),
            idle: Duration::from_secs(600),
        }
    }
}
