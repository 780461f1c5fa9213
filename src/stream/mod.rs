//! Connections that stay: terminals and runs over WebSocket, events of sessions as server-sent events.
//!
//! A stream is one task. It ends when its client goes, when its session ends, or when its worker drains: then it is
//! told so, by a notice and a close code, after the worker has stopped accepting, so that a client that connects
//! again at once meets the worker's successor. Nothing here buffers without a bound: what a client does not read is
//! not read from the kernel either, and what a kernel does not read is not read from the client.
//!
//! Each viewer of a terminal has its own connections to the kernel. One for all viewers of a worker would need a
//! queue for each viewer and a rule for the slowest; this way TCP and the kernel's own publisher, which drops for a
//! subscriber that lags, are queue and rule, and an idle terminal costs under 24 KiB all the same.

mod caller;
pub mod events;
pub mod execute;
mod fickle;
pub mod kernel;
mod keys;
pub mod message;
pub mod terminal;
pub mod websocket;

use std::{cell::Cell, rc::Rc, time::Duration};

pub use caller::Caller;

use crate::{
    engine,
    http::Drain,
    telemetry::{self, Counter},
};

/// Streams that a worker has open at most: those beyond are refused before they begin.
const MOST: usize = 10_000;

/// From the beginning of a drain until its streams are told: longer than the worker goes on accepting.
const TELL_AFTER: Duration = Duration::from_millis(600);
/// Streams are told over that much more time, so that their clients do not all come back at once.
const TELL_SPREAD: Duration = Duration::from_millis(1000);

/// From the beginning of a drain until every stream was told.
pub const TOLD_WITHIN: Duration = TELL_AFTER.saturating_add(TELL_SPREAD);

/// What the streams of a worker share.
pub struct Streams {
    drain: Drain,
    open: Cell<usize>,
    kernel_host: Option<String>,
}

/// A place among a worker's streams, for as long as it is held.
pub struct Place(Rc<Streams>);

// === impl Streams ===

impl Streams {
    /// For a worker that ends by that flag; `kernel_host` stands in for the host that agents and kernels name.
    pub fn new(drain: Drain, kernel_host: Option<String>) -> Rc<Self> {
        Rc::new(Streams { drain, open: Cell::new(0), kernel_host })
    }

    /// A place for one more, unless there are too many.
    pub fn enter(self: &Rc<Self>) -> Option<Place> {
        if self.open.get() >= MOST {
            return None;
        }
        self.set_open(self.open.get() + 1);
        Some(Place(self.clone()))
    }

    /// Waits until no stream is open.
    pub async fn settled(&self) {
        while self.open.get() > 0 {
            engine::sleep(Duration::from_millis(10)).await;
        }
    }

    fn set_open(&self, open: usize) {
        self.open.set(open);
        telemetry::set_gauge(Counter::StreamsOpen, open as u64);
    }
}

// === impl Place ===

impl Place {
    /// Waits until the worker drains and it is this stream's turn to end.
    async fn is_called_in(&self) {
        self.0.drain.begun().await;
        engine::sleep(TELL_AFTER + TELL_SPREAD.mul_f64(rand::random())).await;
    }

    /// The host of a kernel's ports, if it is not the one that the agent or the kernel names.
    fn kernel_host(&self) -> Option<&str> {
        self.0.kernel_host.as_deref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set_open(self.0.open.get() - 1);
    }
}
