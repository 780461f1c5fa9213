//! Against real etcd, and the pure parts against what nobody would write.

mod client;
mod duty;
mod follow;
mod lead;
mod parse;
mod rig;
