//! What happened between two reports of the workers: pure, reports and the time between them in, rates out.
//!
//! Counters go back where a worker was replaced, since the new one counts in another block or from where an earlier
//! one stopped. Only what the same process said both times is compared, and a number that is less than it was gives
//! no rate at all rather than a negative or a huge one.

use std::time::Duration;

use crate::telemetry::{WorkerReport, quantile};

/// A worker, with what it did since the report before. `None`: not known, as there is none to compare with.
#[derive(Clone, Debug)]
pub struct Rate {
    /// What it says now.
    pub now: WorkerReport,
    /// What it did.
    pub done: Option<Done>,
}

/// What was done in a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// Requests a second.
    pub requests: f64,
    /// Those that failed, a second.
    pub failed: f64,
    /// CPU time a second: 1 is a whole core.
    pub cpu: f64,
    /// Requests by the time they took; empty where an older gateway does not tell.
    buckets: Vec<u64>,
}

/// All workers together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    /// What those did that are known to have done something; `None` where none is.
    pub done: Option<Done>,
    /// Open connections.
    pub connections: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// Each worker of the report `now`, compared with the report that was taken `elapsed` before.
pub fn rates(before: &[WorkerReport], elapsed: Duration, now: &[WorkerReport]) -> Vec<Rate> {
    let same =
        |a: &WorkerReport, b: &WorkerReport| (a.slot, a.pid, a.started_at_ms) == (b.slot, b.pid, b.started_at_ms);
    let rate = |now: &WorkerReport| {
        let old = before.iter().find(|old| same(old, now));
        Rate { now: now.clone(), done: old.and_then(|old| done(old, elapsed, now)) }
    };
    now.iter().map(rate).collect()
}

/// The sum over workers.
pub fn total(rates: &[Rate]) -> Total {
    let mut total = Total::default();
    for rate in rates {
        total.connections = total.connections.saturating_add(rate.now.connections);
        total.resident_bytes = total.resident_bytes.saturating_add(rate.now.resident_bytes);
        if let Some(done) = &rate.done {
            total.done.get_or_insert_default().add(done);
        }
    }
    total
}

fn done(old: &WorkerReport, elapsed: Duration, now: &WorkerReport) -> Option<Done> {
    let seconds = elapsed.as_secs_f64();
    let a_second = |old: u64, now: u64| now.checked_sub(old).map(|more| more as f64 / seconds);
    let cpu = now.cpu_seconds - old.cpu_seconds;
    let known = seconds > 0.0 && cpu.is_finite();
    let buckets = old.buckets.iter().zip(&now.buckets).map(|(old, now)| now.checked_sub(*old));
    Some(Done {
        requests: a_second(old.requests, now.requests).filter(|_| known)?,
        failed: a_second(old.failed_requests, now.failed_requests)?,
        // A process that is gone reads as one that has used nothing.
        cpu: cpu.max(0.0) / seconds,
        buckets: buckets.collect::<Option<_>>()?,
    })
}

// === impl Done ===

impl Done {
    /// The time in microseconds that this share (0 to 1) of the requests took at most; `None` where there was none.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        Some(quantile(&self.buckets, share)).filter(|it| *it > 0)
    }

    fn add(&mut self, other: &Done) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.cpu += other.cpu;
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum = sum.saturating_add(*more);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A worker's report as the gateway writes it.
    pub fn worker(slot: usize, pid: u32, requests: u64, buckets: Vec<u64>) -> WorkerReport {
        serde_json::from_value(serde_json::json!({
            "slot": slot, "pid": pid, "state": "ready", "core": slot, "started_at_ms": 1000, "cpu_seconds": 1.5,
            "resident_bytes": 12 << 20, "requests": requests, "failed_requests": 0, "p50_us": 64, "p99_us": 64,
            "connections": 3, "restarts": 0, "buckets": buckets
        }))
        .unwrap()
    }

    fn any_worker() -> impl Strategy<Value = WorkerReport> {
        let numbers = prop::collection::vec(prop_oneof![0_u64..100, any::<u64>()], 5);
        (0_usize..3, 1_u32..3, numbers, 0.0..1e9_f64).prop_map(|(slot, pid, n, cpu_seconds)| WorkerReport {
            failed_requests: n[1],
            connections: n[2],
            resident_bytes: n[3],
            cpu_seconds,
            ..worker(slot, pid, n[0], n)
        })
    }

    proptest! {
        /// Whatever two reports say, nothing is negative, without end, or more than was counted in all.
        #[test]
        fn rates_stay_within_what_was_counted(
            before in prop::collection::vec(any_worker(), 0..4),
            now in prop::collection::vec(any_worker(), 0..4),
            millis in 0_u64..5000,
        ) {
            let elapsed = Duration::from_millis(millis);
            let rates = rates(&before, elapsed, &now);
            prop_assert_eq!(rates.len(), now.len());
            for rate in &rates {
                let Some(done) = &rate.done else { continue };
                prop_assert!(millis > 0);
                prop_assert!(done.requests >= 0.0 && done.failed >= 0.0 && done.cpu >= 0.0);
                prop_assert!(done.requests <= rate.now.requests as f64 / elapsed.as_secs_f64());
                prop_assert!(done.cpu.is_finite());
            }
            let _ = total(&rates);
        }

        /// The quantile of the difference is the quantile of what came between.
        #[test]
        fn quantiles_are_those_of_the_time_between(
            old in prop::collection::vec(0_u64..1000, 21),
            more in prop::collection::vec(0_u64..1000, 21),
            share in 0.01..1.0_f64,
        ) {
            let now = old.iter().zip(&more).map(|(a, b)| a + b).collect();
            let rates = rates(&[worker(0, 1, 0, old)], Duration::from_secs(1), &[worker(0, 1, 0, now)]);
            let expected = Some(quantile(&more, share)).filter(|it| *it > 0);
            prop_assert_eq!(rates[0].done.as_ref().unwrap().quantile(share), expected);
        }
    }

    #[test]
    fn a_replaced_worker_and_counters_that_went_back_have_no_rate() {
        let before = [worker(0, 10, 5000, vec![1]), worker(1, 11, 5000, vec![9, 9]), worker(2, 12, 7, vec![3])];
        let now = [worker(0, 20, 5100, vec![2]), worker(1, 11, 5001, vec![8, 10]), worker(2, 12, 6, vec![3])];
        let rates = rates(&before, Duration::from_secs(1), &now);
        assert!(rates.iter().all(|it| it.done.is_none()), "{rates:?}");
        assert_eq!(total(&rates), Total { done: None, connections: 9, resident_bytes: 36 << 20 });
    }

    #[test]
    fn the_total_adds_what_is_known() {
        let before = [worker(0, 10, 100, vec![0, 0]), worker(1, 11, 100, vec![0, 0])];
        let now = [worker(0, 10, 300, vec![200, 0]), worker(1, 11, 104, vec![0, 4]), worker(2, 12, 9, vec![9, 0])];
        let rates = rates(&before, Duration::from_millis(500), &now);
        let done = total(&rates).done.unwrap();
        assert_eq!((done.requests, done.failed, done.cpu), (408.0, 0.0, 0.0));
        assert_eq!((done.quantile(0.5), done.quantile(0.99)), (Some(32), Some(64)));
        assert_eq!(rates[0].done.as_ref().unwrap().quantile(0.99), Some(32));
        assert_eq!(rates[2].done, None);
    }

    #[test]
    fn an_older_gateway_tells_rates_without_latencies() {
        let rates = rates(&[worker(0, 1, 1, vec![])], Duration::from_secs(1), &[worker(0, 1, 2, vec![])]);
        let done = rates[0].done.as_ref().unwrap();
        assert_eq!((done.requests, done.quantile(0.5)), (1.0, None));
    }
}
