//! Persistent connections to agents, and the socket on which their events arrive.
//!
//! Calls go out over one connection per agent and worker ([`AgentPool`]); any number are in flight,
//! told apart by their ids. Events come in on each worker's own PULL socket ([`serve_events`]).
//! Neither knows what a call or an event means: that is the registry's. [`Link`] moves a ZMTP session's
//! bytes over any stream, for whoever has one connection and one task: terminals, our own agent, tests.

mod client;
mod driver;
mod error;
mod events;
mod keepalive;
mod link;
mod pool;
mod seldom;

pub use error::CallError;
pub use events::{EventStats, serve_events, serve_events_counting};
pub use keepalive::keep_alive;
pub use link::{Link, LinkError};
pub use pool::{AgentPool, Settings};
pub use seldom::Seldom;

#[cfg(test)]
mod tests;
