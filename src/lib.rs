//! Backend.AI Manager with API Gateway: the library behind `backendai-gateway` and `backendai-manager`.
//!
//! A request goes one way, and each stage knows only the next: [`http`] (framing, limits, problem
//! documents), [`api`] (one table of routes, parsing and answering), [`auth`] and [`ratelimit`]
//! (pure cores), [`registry`] (the rules of sessions), [`graphql`] (the admin API), [`store`]
//! (PostgreSQL, Redis, etcd) and [`agents`] (the compute nodes, over [`wire`]). [`engine`] is the only module that knows which
//! runtime drives a worker. ARCHITECTURE.md leads along one request.

pub mod admin;
pub mod agents;
pub mod api;
pub mod auth;
pub mod cli;
pub mod config;
pub mod engine;
#[cfg(test)]
mod golden;
pub mod graphql;
pub mod http;
pub mod keygen;
pub mod preflight;
pub mod ratelimit;
pub mod registry;
pub mod store;
pub mod stream;
pub mod telemetry;
#[doc(hidden)]
pub mod testing;
pub mod vfolder;
pub mod wire;
pub mod worker;
