//! The three stores that workers and nodes share: PostgreSQL, Redis, etcd.

pub mod backoff;
pub mod docker_registry;
pub mod etcd;
pub mod keyring;
pub mod postgres;
pub mod redis;
