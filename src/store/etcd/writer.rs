//! Edits that administrators ask for, made on the thread that follows etcd.
//!
//! A connection for each: they are rare, and one that hangs must not hold up the lease.

use tokio::sync::{mpsc, oneshot};

use super::{
    client::{Client, Edit},
    error::EtcdError,
};
use crate::config::HostPort;

/// Edits, and who waits for them.
pub(super) struct Job {
    edits: Vec<Edit>,
    done: oneshot::Sender<Result<(), EtcdError>>,
}

// === impl Job ===

impl Job {
    /// A job, and what tells how it went.
    pub fn new(edits: Vec<Edit>) -> (Job, oneshot::Receiver<Result<(), EtcdError>>) {
        let (done, told) = oneshot::channel();
        (Job { edits, done }, told)
    }
}

/// Does the jobs one after the other, until nobody can ask any more.
pub(super) async fn write(endpoints: Vec<HostPort>, namespace: String, mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { edits, done }) = jobs.recv().await {
        let made = async { Client::connect(&endpoints, &namespace).await?.apply(&edits).await };
        // Nobody listens if the client is gone.
        let _ = done.send(made.await);
    }
    // The follower goes on until it is told to end.
    std::future::pending().await
}
