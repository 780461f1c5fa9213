//! What the thread tells the worker, without locks that either would wait for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::snapshot::Snapshot;

/// Written by the thread, read by the worker; but the number of workers the other way.
pub(super) struct Shared {
    snapshot: ArcSwap<Snapshot>,
    healthy: AtomicBool,
    /// Until when we lead for sure, in µs since `epoch`; 0: we do not. A deadline instead of a flag, so that it
    /// ends by itself also if the thread that would clear a flag is kept from running.
    leads_until: AtomicU64,
    epoch: Instant,
    /// How many snapshots were published.
    published: watch::Sender<u64>,
    /// How many workers the node has; none until the worker says so.
    workers: watch::Sender<Option<u32>>,
}

// === impl Shared ===

impl Shared {
    pub fn new() -> Shared {
        Shared {
            snapshot: ArcSwap::default(),
            healthy: AtomicBool::new(false),
            leads_until: AtomicU64::new(0),
            epoch: Instant::now(),
            published: watch::Sender::new(0),
            workers: watch::Sender::new(None),
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    pub fn leads(&self, now: Instant) -> bool {
        self.micros(now) < self.leads_until.load(Ordering::Acquire)
    }

    pub fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
        self.published.send_modify(|count| *count += 1);
    }

    pub fn workers(&self) -> watch::Receiver<Option<u32>> {
        self.workers.subscribe()
    }

    pub fn set_workers(&self, count: u32) {
        self.workers.send_if_modified(|known| known.replace(count) != Some(count));
    }

    /// The connection is up.
    pub fn here(&self) {
        self.healthy.store(true, Ordering::Release);
    }

    /// The connection is lost, and with it the certainty that we lead.
    pub fn away(&self) {
        self.lead(None);
        self.healthy.store(false, Ordering::Release);
    }

    /// We lead until then, or do not.
    pub fn lead(&self, until: Option<Instant>) {
        self.leads_until.store(until.map_or(0, |until| self.micros(until)), Ordering::Release);
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }
}
