//! One agent's connection, as those see it who call over it.
//!
//! Calls write straight into the session's output, so that all calls of one turn of the loop leave in
//! one write, and wait for their answers by id. The [driver](super::driver) owns the stream; what both
//! share is here. One thread, so a `RefCell` that is never held across an await is all it takes.

use std::{
    cell::RefCell,
    collections::HashMap,
    task::Waker,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rmpv::Value;
use tokio::sync::{Notify, oneshot};

use super::{CallError, Settings, seldom::Seldom};
use crate::{
    config::HostPort,
    engine,
    wire::{
        rpc::{Answer, Header, Request, RpcError},
        zmtp::Session,
    },
};

/// Calls wait while this much waits to be sent, in bytes. One call of any size goes in above it.
pub(super) const SEND_ROOM: usize = 1 << 20;

/// An agent, and the connection to it.
pub(super) struct Client {
    pub addr: HostPort,
    pub settings: Settings,
    pub state: RefCell<State>,
    /// The connection came up, went down, or has room again.
    pub changed: Notify,
    /// Answers that make no sense.
    pub nonsense: Seldom,
}

/// What callers and driver share.
pub(super) struct State {
    /// There while the connection is up.
    pub session: Option<Session>,
    /// Those who wait for an answer, by the call's id.
    pub waiting: HashMap<u32, oneshot::Sender<Answer>>,
    /// To be woken when there is something to send, or a connection is wanted.
    pub driver: Option<Waker>,
    /// Why there is no connection.
    pub trouble: String,
    last_id: u32,
    random: u16,
    users: usize,
    last_used: Instant,
}

/// A call in flight; dropping it gives its place free, and a later answer is thrown away.
struct InFlight<'a> {
    client: &'a Client,
    id: u32,
    answer: oneshot::Receiver<Answer>,
}

/// Somebody wants the connection.
struct Using<'a>(&'a Client);

enum Gate {
    Open,
    Full,
    Down,
}

// === impl Client ===

impl Client {
    pub fn new(addr: HostPort, settings: Settings, now: Instant) -> Client {
        let state = State {
            session: None,
            waiting: HashMap::new(),
            driver: None,
            trouble: "not connected yet".to_owned(),
            last_id: 0,
            random: rand::random(),
            users: 0,
            last_used: now,
        };
        let (state, changed, nonsense) = (RefCell::new(state), Notify::new(), Seldom::default());
        Client { addr, settings, state, changed, nonsense }
    }

    /// Calls a method and waits for its result, at most this long in all.
    pub async fn call(&self, method: &str, args: Vec<Value>, limit: Duration) -> Result<Value, CallError> {
        let _using = Using::new(self);
        let answer = engine::timeout(limit, self.exchange(method, args)).await;
        match answer.unwrap_or_else(|| Err(self.overdue()))?.result() {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(raised)) => Err(raised.into()),
            Err(error) => Err(CallError::Malformed(error.to_string())),
        }
    }

    async fn exchange(&self, method: &str, args: Vec<Value>) -> Result<Answer, CallError> {
        self.admitted().await?;
        let mut call = self.send(method, args).ok_or(CallError::Lost)?;
        (&mut call.answer).await.map_err(|_| CallError::Lost)
    }

    /// Waits until the connection is up and has room.
    async fn admitted(&self) -> Result<(), CallError> {
        loop {
            let changed = self.changed.notified();
            let gate = self.state.borrow_mut().gate();
            match gate {
                Gate::Open => return Ok(()),
                Gate::Full => changed.await,
                Gate::Down => engine::timeout(self.settings.connect_wait, self.connected())
                    .await
                    .ok_or_else(|| self.unreachable())?,
            }
        }
    }

    async fn connected(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state.borrow().session.is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Queues a call; `None` if the connection is down.
    fn send(&self, method: &str, args: Vec<Value>) -> Option<InFlight<'_>> {
        let mut state = self.state.borrow_mut();
        let header = state.next_header();
        state.session.as_mut()?.send(&Request::frames(&header, method, args));
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(header.id, sender);
        state.wake_driver();
        Some(InFlight { client: self, id: header.id, answer })
    }

    /// Takes note of a message that is no answer.
    pub fn on_nonsense(&self, error: &RpcError) {
        if let Some(count) = self.nonsense.happened(Instant::now()) {
            tracing::warn!(agent = %self.addr, %error, count, "an agent sends what is no answer");
        }
    }

    fn unreachable(&self) -> CallError {
        CallError::Unreachable(self.state.borrow().trouble.clone())
    }

    /// What to say of a call that took too long: it was sent only if there is a connection.
    fn overdue(&self) -> CallError {
        let connected = self.state.borrow().session.is_some();
        if connected { CallError::Timeout } else { self.unreachable() }
    }
}

// === impl State ===

impl State {
    fn gate(&mut self) -> Gate {
        match self.session.as_mut().map(|session| session.output().len()) {
            None => Gate::Down,
            Some(queued) if queued < SEND_ROOM => Gate::Open,
            Some(_) => Gate::Full,
        }
    }

    fn next_header(&mut self) -> Header {
        let mut id = self.last_id.wrapping_add(1);
        while self.waiting.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        self.last_id = id;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Header { pid: std::process::id() as u16, random: self.random, id, time }
    }

    pub fn wake_driver(&mut self) {
        if let Some(waker) = self.driver.take() {
            waker.wake();
        }
    }

    /// Whether a call wants the connection.
    pub fn is_wanted(&self) -> bool {
        self.users > 0
    }

    /// How long the connection may go on unused; `None` if that time is over.
    pub fn idle_left(&self, idle: Duration, now: Instant) -> Option<Duration> {
        if self.is_wanted() {
            return Some(idle);
        }
        idle.checked_sub(now.saturating_duration_since(self.last_used)).filter(|left| !left.is_zero())
    }
}

// === impl InFlight ===

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.client.state.borrow_mut().waiting.remove(&self.id);
    }
}

// === impl Using ===

impl<'a> Using<'a> {
    fn new(client: &'a Client) -> Using<'a> {
        let mut state = client.state.borrow_mut();
        state.users += 1;
        if state.session.is_none() {
            state.wake_driver();
        }
        Using(client)
    }
}

impl Drop for Using<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.users -= 1;
        state.last_used = Instant::now();
    }
}
