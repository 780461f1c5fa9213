//! `/workers`: one record for each process, for people and for `backendai-manager status` and `top`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    counters::Counter,
    histogram::{BUCKETS, quantile},
    map::{Block, CountersMap, MAX_ROUTES, WorkerState},
    process::usage,
};

/// A worker process. Who reads it may be of another release: what it does not know it passes over.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WorkerReport {
    /// The slot that it serves.
    pub slot: usize,
    /// Its process id.
    pub pid: u32,
    /// `starting`, `ready` or `draining`.
    pub state: Cow<'static, str>,
    /// The core that it is pinned to, if it is.
    pub core: Option<usize>,
    /// When it was started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Requests that this slot's workers of this generation have answered.
    pub requests: u64,
    /// Those answered with a status of 500 or more.
    pub failed_requests: u64,
    /// Half of the requests took no longer, in microseconds (a power of two).
    pub p50_us: u64,
    /// 99 of 100 requests took no longer, in microseconds (a power of two).
    pub p99_us: u64,
    /// Requests by the time they took, the quickest first, as `/metrics` has them over all routes: what two reports
    /// differ by tells the latencies of the time between them. An older gateway does not tell.
    #[serde(default)]
    pub buckets: Vec<u64>,
    /// Its open connections on the API port.
    pub connections: u64,
    /// Times that a worker of the slot ended by itself.
    pub restarts: u64,
}

/// All worker processes that live, by slot.
pub fn workers(map: CountersMap) -> Vec<WorkerReport> {
    map.used().flat_map(|slot| map.blocks(slot).filter_map(move |block| report(map, slot, block))).collect()
}

fn report(map: CountersMap, slot: usize, block: Block) -> Option<WorkerReport> {
    let pid = block.pid()?;
    let used = usage(pid).unwrap_or_default();
    let (requests, failed_requests, buckets) = totals(block);
    Some(WorkerReport {
        slot,
        pid,
        state: state(block.state()).into(),
        core: block.core(),
        started_at_ms: block.started_ms(),
        cpu_seconds: used.cpu_seconds,
        resident_bytes: used.resident_bytes,
        requests,
        failed_requests,
        p50_us: quantile(&buckets, 0.5),
        p99_us: quantile(&buckets, 0.99),
        buckets: buckets.to_vec(),
        connections: block.value(Counter::ConnectionsOpen),
        restarts: map.value(slot, Counter::WorkerRestarts),
    })
}

/// Requests of all routes, those of them that failed, and their times.
fn totals(block: Block) -> (u64, u64, [u64; BUCKETS]) {
    let mut buckets = [0; BUCKETS];
    let (mut all, mut failed) = (0, 0);
    for route in 0..MAX_ROUTES {
        let classes = block.classes(route);
        all += classes.iter().sum::<u64>();
        failed += classes.last().copied().unwrap_or_default();
        for (sum, count) in buckets.iter_mut().zip(block.buckets(route)) {
            *sum += count;
        }
    }
    (all, failed, buckets)
}

fn state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Gone => "gone",
        WorkerState::Starting => "starting",
        WorkerState::Ready => "ready",
        WorkerState::Draining => "draining",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{add, attach, observe_request};

    #[test]
    fn old_and_new_of_a_slot_are_both_listed_and_the_gone_are_not() {
        let map = CountersMap::private(2);
        let (old, new) = (map.of_generation(0), map.of_generation(1));
        old.started(0, std::process::id(), Some(3), 77);
        old.set_state(0, WorkerState::Draining);
        new.started(0, std::process::id(), Some(3), 78);
        attach(old, 0);
        add(Counter::ConnectionsOpen, 4);
        observe_request(0, 200, 100);
        observe_request(5, 500, 5000);
        let list = workers(map);
        assert_eq!(list.len(), 2);
        assert_eq!((&*list[0].state, list[0].core, list[0].started_at_ms), ("draining", Some(3), 77));
        assert_eq!((list[0].requests, list[0].failed_requests, list[0].connections), (2, 1, 4));
        assert_eq!((list[0].p50_us, list[0].p99_us), (128, 8192));
        assert_eq!((list[0].buckets[2], list[0].buckets[8], list[0].buckets.iter().sum()), (1, 1, 2_u64));
        assert!(list[0].resident_bytes > 0);
        old.set_state(0, WorkerState::Gone);
        assert_eq!(workers(map).len(), 1);
    }

    #[test]
    fn a_report_is_read_as_it_was_written_and_an_older_release_s_too() {
        let map = CountersMap::private(1);
        map.started(0, std::process::id(), None, 77);
        let mut written = serde_json::to_value(&workers(map)[0]).unwrap();
        let read: WorkerReport = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
        written.as_object_mut().unwrap().remove("buckets");
        written["news"] = 1.into();
        assert!(serde_json::from_value::<WorkerReport>(written).unwrap().buckets.is_empty());
    }
}
