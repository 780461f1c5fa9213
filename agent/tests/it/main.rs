//! The agent as gateways see it: real kernels behind the real wire, with etcd and Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy.toml allows these in tests, but sees tests only in functions that are marked as such"
)]

mod batch;
mod execute;
mod files;
mod harness;
mod libzmq;
mod lifecycle;
mod mounts;
mod start;
mod terminal;
