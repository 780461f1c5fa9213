//! The thread's work: connect, read, watch, keep the lease, do the duties; after any failure wait and begin again.
//!
//! After a failure everything is read anew instead of watching on from the last revision: it is one request, and
//! right also after a compaction, an etcd restored from a backup, or one whose data are gone.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::sync::watch;

use super::{
    duty::Role,
    error::EtcdError,
    keys,
    lease::{Lease, RENEW_EVERY},
    link::{Batch, Link, Watch},
    shared::Shared,
    snapshot::Snapshot,
    tree::Tree,
};
use crate::{config::HostPort, store::backoff::Backoff};

/// How many batches of a watch make one snapshot at most.
const BATCHES_AT_ONCE: usize = 1000;

/// How the thread is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not yet.
    GoOn,
    /// Give the lease back, so that others know at once.
    Cleanly,
    /// As if killed.
    #[cfg(test)]
    Abruptly,
}

/// What lives as long as the thread.
pub(super) struct Follower {
    pub endpoints: Vec<HostPort>,
    pub root: String,
    pub role: Role,
    pub shared: Arc<Shared>,
    pub stop: watch::Receiver<Stop>,
    /// The lease that may still be ours, also between two connections.
    pub lease: Option<i64>,
    /// Where we were connected last.
    pub last: Option<HostPort>,
}

/// What lives as long as one connection.
struct Session {
    link: Link,
    watch: Watch,
    tree: Tree,
    snapshot: Arc<Snapshot>,
    lease: Option<Lease>,
}

// === impl Follower ===

impl Follower {
    /// Runs until it is told to stop.
    pub async fn run(mut self) {
        let mut stop = self.stop.clone();
        let asked = tokio::select! {
            () = self.follow() => Stop::GoOn,
            asked = stop.wait_for(|stop| *stop != Stop::GoOn) => asked.map_or(Stop::Cleanly, |stop| *stop),
        };
        self.shared.away();
        if asked == Stop::Cleanly {
            self.give_back().await;
        }
    }

    /// Goes round the endpoints for ever, beginning anywhere so that workers spread over them.
    async fn follow(&mut self) {
        let endpoints = self.endpoints.clone();
        let first = rand::random_range(0..endpoints.len().max(1));
        let mut backoff = Backoff::new();
        let mut told = false;
        for endpoint in endpoints.iter().cycle().skip(first) {
            let Err(error) = self.session(endpoint, &mut backoff).await;
            told &= !self.shared.healthy();
            self.shared.away();
            let wait = backoff.next(rand::random());
            tell_away(&error, std::mem::replace(&mut told, true), wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, from its beginning to whatever ends it.
    async fn session(&mut self, endpoint: &HostPort, backoff: &mut Backoff) -> Result<Infallible, EtcdError> {
        let mut session = self.open(endpoint).await?;
        self.last = Some(endpoint.clone());
        if self.role.needs_lease() {
            session.lease = Some(self.take_lease(&mut session.link).await?);
        }
        tracing::info!(%endpoint, revision = session.tree.revision(), "etcd is followed");
        backoff.reset();
        let mut renewal = tokio::time::interval(RENEW_EVERY);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut workers = self.shared.workers();
        loop {
            if let Some(count) = *workers.borrow_and_update() {
                self.role.has_workers(count);
            }
            self.attend(&mut session).await?;
            tokio::select! {
                batch = session.watch.next() => {
                    if session.take(batch?)? {
                        self.publish(&mut session);
                    }
                }
                // Fails only where the sender is gone, which is ours.
                _ = workers.changed() => {}
                _ = renewal.tick() => self.renew(&mut session).await?,
            }
        }
    }

    async fn open(&self, endpoint: &HostPort) -> Result<Session, EtcdError> {
        let mut link = Link::connect(endpoint).await?;
        let tree = Tree::new(&self.root, link.read(&self.root).await?);
        let watch = link.watch(&self.root, tree.revision() + 1).await?;
        let mut session = Session { link, watch, tree, snapshot: Arc::default(), lease: None };
        self.publish(&mut session);
        self.shared.here();
        Ok(session)
    }

    fn publish(&self, session: &mut Session) {
        let snapshot = Arc::new(session.tree.snapshot());
        tell_rejected(&snapshot, &self.shared.snapshot());
        session.snapshot = Arc::clone(&snapshot);
        self.shared.publish(snapshot);
    }

    async fn take_lease(&mut self, link: &mut Link) -> Result<Lease, EtcdError> {
        let lease = Lease::take_up(link, self.lease).await?;
        self.lease = Some(lease.id());
        Ok(lease)
    }

    /// Keeps the lease; without one, asks for anything, to know that etcd is there.
    async fn renew(&mut self, session: &mut Session) -> Result<(), EtcdError> {
        let Some(lease) = &mut session.lease else {
            return session.link.probe(&format!("{}{}", self.root, keys::LEADER)).await;
        };
        if !lease.renew(&session.link).await? {
            tracing::warn!("the lease in etcd was lost; getting a new one");
            self.shared.lead(None);
            self.lease = None;
            session.lease = Some(self.take_lease(&mut session.link).await?);
        }
        Ok(())
    }

    /// Says whether we lead, and writes what is due.
    async fn attend(&mut self, session: &mut Session) -> Result<(), EtcdError> {
        let Some(lease) = &session.lease else { return Ok(()) };
        let leader = session.tree.get(keys::LEADER);
        let leads = self.role.campaign && leader.is_some_and(|leader| leader.lease == lease.id());
        self.shared.lead(leads.then(|| lease.until()));
        for duty in self.role.due(&session.tree, &session.snapshot) {
            let Some(txn) = self.role.txn(duty, &session.tree, lease.id()) else { continue };
            if session.link.txn(txn).await?.succeeded() {
                tracing::info!(?duty, "written to etcd");
                self.role.done(duty);
            }
        }
        Ok(())
    }

    /// Revokes the lease over a new connection: the old one may be in the middle of a call.
    async fn give_back(&self) {
        let (Some(lease), Some(endpoint)) = (self.lease, &self.last) else { return };
        let revoked = async { Link::connect(endpoint).await?.revoke(lease).await };
        if let Err(error) = revoked.await {
            tracing::warn!(%error, "the lease could not be given back; it ends by itself");
        }
    }
}

// === impl Session ===

impl Session {
    /// Takes in a batch and those that wait behind it, so that a thousand writes in a row are not parsed a thousand
    /// times; whether anything followed has changed.
    fn take(&mut self, first: Batch) -> Result<bool, EtcdError> {
        let mut changed = self.tree.apply(first);
        for _ in 0..BATCHES_AT_ONCE {
            let Some(batch) = self.watch.next().now_or_never() else { break };
            changed |= self.tree.apply(batch?);
        }
        Ok(changed)
    }
}

/// Says once that etcd is away, and afterwards only for those who look closely.
fn tell_away(error: &EtcdError, told: bool, wait: Duration) {
    if told {
        tracing::debug!(%error, wait_ms = wait.as_millis(), "etcd is still away");
    } else {
        tracing::warn!(%error, "etcd is away; what was read last stays in use");
    }
}

/// Says what cannot be used, when that is news.
fn tell_rejected(new: &Snapshot, old: &Snapshot) {
    for rejected in new.rejected.iter().filter(|rejected| !old.rejected.contains(rejected)) {
        tracing::warn!(key = rejected.key, "a key in etcd is not used: it {}", rejected.reason);
    }
}
