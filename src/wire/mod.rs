//! What agents speak, without any I/O: [`zmtp`] frames carry [`rpc`] calls and [`event`]s, whose
//! values are msgpack ([`value`]).
//!
//! Every core here takes bytes (and, where it needs them, the time and random numbers) as arguments
//! and gives bytes or values back. The gateway, this project's agent, the tests and the simulated
//! fleets of the benchmarks drive the same code over whatever runtime they have.

pub mod event;
pub mod json;
pub mod rpc;
pub mod value;
pub mod zmtp;
