//! The rolling window of requests per access key, and the gate that every authorized request passes.
//!
//! The limit holds for all workers of all nodes together, so its state is in Redis, and each request asks
//! there. What makes that cheap is asking together: the requests that wait in the same turn of a worker's
//! loop go in one script call ([`Gate`]), which also counts them for their key pairs and sessions and
//! reads how their runs stand, so that an execute needs no second round trip.
//!
//! [`window`] is what the script does, as a model with property tests; [`fallback`] is what a worker does
//! on its own while Redis is away.

pub mod fallback;
mod gate;
#[cfg(test)]
mod tests;
mod turn;
pub mod window;

use uuid::Uuid;

pub use gate::Gate;
pub use window::Window;

/// The window, in seconds, as `X-RateLimit-Window` says it.
pub const WINDOW_S: u32 = 900;

/// A request that asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// Whose request it is: the access key of a verified claim.
    pub access_key: &'a str,
    /// How many requests of the key a window may hold.
    pub limit: u32,
    /// The session that it counts as a query of.
    pub session: Option<Uuid>,
    /// The run of that session whose status is wanted; of no effect without a session.
    pub run: Option<&'a str>,
}

/// What the gate says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is let in. One that is not counts nowhere.
    pub allowed: bool,
    /// The key's limit.
    pub limit: u32,
    /// How many more requests the window would hold.
    pub remaining: u32,
    /// Time until the oldest counted request leaves the window, in ms, at most the window itself.
    pub reset_ms: u64,
    /// Time after which a request that is refused now can be let in, in ms: up to 15 s longer than
    /// `reset_ms`, since requests leave in buckets.
    pub retry_ms: u64,
    /// The window, in seconds: [`WINDOW_S`].
    pub window_s: u32,
    /// The session's queries.
    pub session: SessionCount,
    /// How the run stands, if that was asked and Redis knows.
    pub run: Option<String>,
}

/// The number of queries of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCount {
    /// There was no session, or the request is refused.
    NotAsked,
    /// Redis does not count that session, or is away. Nothing was counted: PostgreSQL knows the total,
    /// and [`crate::store::redis::Ledger::seed_and_count`] starts from there.
    Unknown,
    /// The total, this request included.
    Total(u64),
}

/// Why the gate says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Redis is away, and this worker never saw the key: 503.
    #[error("the rate limit cannot be checked while Redis is away")]
    Unavailable,
}
