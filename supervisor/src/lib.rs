//! The supervisor of a gateway's workers.
//!
//! One thread, no runtime. It looks at what it needs ([`preflight`]), holds the listening sockets
//! ([`listeners`]) and the counters ([`shared`]), makes worker processes ([`spawn`]) as a pure state
//! machine ([`slots`]) tells it, and answers operators ([`control`], [`notify`]; [`client`] is their end). [`supervise`] is the
//! loop around these. What a worker does is a function that it is given, and nothing here knows more of it.

pub mod client;
pub mod control;
pub mod listeners;
pub mod notify;
pub mod options;
pub mod preflight;
pub mod shared;
pub mod slots;
pub mod spawn;
pub mod supervise;
