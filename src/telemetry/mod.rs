//! What a gateway tells its operator: counters and latencies that every worker writes into its own
//! block of a shared map (and whoever serves `/metrics` reads all of), and its log.

mod counters;
mod histogram;
mod log;
mod map;
mod metrics;
mod process;
mod request_log;
mod workers;

pub use counters::{Counter, Kind, reference};
pub use histogram::quantile;
pub use log::{init_logging, set_verbosity};
pub use map::{
    CountersMap, MAX_ROUTES, SLOTS_MAX, WorkerState, add, attach, count, map_words, observe_request, set_gauge, sub,
};
pub use metrics::{RouteLabel, render_metrics};
pub use process::{Usage, usage};
pub use request_log::{LogFormat, LoggedRequest, RequestLog};
pub use workers::{WorkerReport, workers};
