//! etcd: configuration, the registry of nodes, leadership; followed on a thread of its own.
//!
//! A worker's executor runs on one core and must not wait for etcd, and the etcd client wants tokio, which the
//! worker may not run on. So a small thread follows the namespace and publishes immutable [`Snapshot`]s; the
//! worker reads the newest by one atomic load. The thread reads everything, watches from that revision on, and
//! begins again after any failure. While etcd is away the last snapshot stays in use.
//!
//! What this node writes lives under one lease per process: its entry in `nodes/gateways/`, and the leader's key
//! if it leads. [`Etcd::is_leader`] is a deadline, not a flag: the end of the lease as counted from before its
//! last renewal was sent, so it is over here before etcd lets anybody else lead.

pub mod client;
mod duty;
mod error;
mod follower;
pub mod images;
pub mod keys;
mod lease;
mod link;
mod node;
mod parse;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod tree;
mod writer;

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc as jobs, watch};

use self::{
    duty::Role,
    follower::{Follower, Stop},
    shared::Shared,
    writer::Job,
};
pub use self::{
    error::EtcdError,
    node::{GatewayNode, NodeInfo},
    parse::parse,
    snapshot::{DEFAULT_TAG, Image, ImageRef, ManagerNode, Overbook, Rejected, Snapshot},
};
use crate::config::HostPort;

/// How long [`Etcd::shutdown`] may take: a connection and a call, each with their own bounds, and some more.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// Edits that may wait for etcd at once.
const JOBS: usize = 64;

/// What to follow and what to write.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The members' addresses or names; at least one.
    pub endpoints: Vec<HostPort>,
    /// The cluster's namespace.
    pub namespace: String,
    /// Unique among all processes of the namespace that live.
    pub instance_id: String,
    /// Set in one worker of each node: what to tell others about it.
    pub publish: Option<NodeInfo>,
    /// Whether this process may lead.
    pub campaign: bool,
}

/// A namespace in etcd that is followed. Dropping it gives the lease back without waiting for that.
pub struct Etcd {
    shared: Arc<Shared>,
    jobs: jobs::Sender<Job>,
    stop: watch::Sender<Stop>,
    ended: Mutex<mpsc::Receiver<()>>,
}

// === impl Etcd ===

impl Etcd {
    /// Starts the thread and returns at once, whether or not etcd is there.
    ///
    /// # Errors
    /// There is no endpoint, or the system gives no thread or no event queue.
    pub fn start(options: EtcdOptions) -> io::Result<Etcd> {
        if options.endpoints.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, EtcdError::NoEndpoint));
        }
        let shared = Arc::new(Shared::new());
        let (stop, stopped) = watch::channel(Stop::GoOn);
        let (end, ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, taken) = jobs::channel(JOBS);
        let writing = writer::write(options.endpoints.clone(), options.namespace.clone(), taken);
        let follower = follower(options, Arc::clone(&shared), stopped);
        let last = EndOfThread { shared: Arc::clone(&shared), _end: end };
        std::thread::Builder::new().name("etcd".into()).spawn(move || {
            let _last = last;
            runtime.block_on(async {
                // The follower says when it is over.
                tokio::select! {
                    () = follower.run() => {}
                    () = writing => {}
                }
            });
            // A name that is being looked up must not hold the end back.
            runtime.shutdown_background();
        })?;
        Ok(Etcd { shared, jobs, stop, ended: Mutex::new(ended) })
    }

    /// Makes all edits, or none; see [`client::Client::apply`]. Works on any executor.
    ///
    /// # Errors
    /// etcd does not answer, or refuses, or is asked for too much at once.
    pub async fn apply(&self, edits: Vec<client::Edit>) -> Result<(), EtcdError> {
        let (job, done) = Job::new(edits);
        self.jobs.try_send(job).map_err(|_| EtcdError::Busy)?;
        done.await.unwrap_or(Err(EtcdError::Busy))
    }

    /// The newest snapshot; an empty one with defaults before the first was read.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    /// Whether the snapshot is kept up to date now.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.shared.healthy()
    }

    /// Whether this process leads the namespace, for sure, at this moment.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.shared.leads(Instant::now())
    }

    /// Says how many workers this node has, for its entry if this process publishes it.
    pub fn set_workers(&self, count: u32) {
        self.shared.set_workers(count);
    }

    /// Waits for the first snapshot. Works on any executor.
    pub fn wait_ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut published = self.shared.published();
        let shared = Arc::clone(&self.shared);
        async move {
            let _ = published.wait_for(|count| *count > 0).await;
            drop(shared); // it holds the sender, so the wait cannot fail
        }
    }

    /// Waits for a snapshot that is published after this call (not after the first poll). Works on any executor.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.changes();
        async move { drop(changes.next().await) }
    }

    /// The snapshots that are published from now on, of which a slow reader gets the newest.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes { published: self.shared.published(), shared: Arc::clone(&self.shared) }
    }

    /// Resigns, takes this node out of the registry, and ends the thread; returns after at most a few seconds also
    /// if etcd is away. Blocks: it is for the end of a worker. A second call does nothing.
    pub fn shutdown(&self) {
        self.stop.send_replace(Stop::Cleanly);
        self.join();
    }

    /// Ends the thread as a kill would: the lease stays until it expires.
    #[cfg(test)]
    fn abandon(self) {
        self.stop.send_replace(Stop::Abruptly);
        self.join();
    }

    fn join(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: the wait is over when the thread drops the sender.
        if ended.recv_timeout(SHUTDOWN_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the etcd thread does not end; the lease ends by itself");
        }
    }
}

fn follower(options: EtcdOptions, shared: Arc<Shared>, stop: watch::Receiver<Stop>) -> Follower {
    let EtcdOptions { endpoints, namespace, instance_id, publish, campaign } = options;
    let role = Role { instance_id, publish, campaign, announced: false, directed: false };
    Follower { endpoints, root: keys::root(&namespace), role, shared, stop, lease: None, last: None }
}

/// Whatever ends the thread, the worker must not go on believing that it leads.
struct EndOfThread {
    shared: Arc<Shared>,
    _end: mpsc::Sender<()>,
}

impl Drop for EndOfThread {
    fn drop(&mut self) {
        self.shared.away();
    }
}

/// Snapshots as they are published.
pub struct Changes {
    published: watch::Receiver<u64>,
    shared: Arc<Shared>,
}

// === impl Changes ===

impl Changes {
    /// The newest snapshot, once there is one that was not yet returned. Works on any executor.
    pub async fn next(&mut self) -> Arc<Snapshot> {
        // Our `shared` holds the sender, so this cannot fail.
        let _ = self.published.changed().await;
        self.shared.snapshot()
    }
}
