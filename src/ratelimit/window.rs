//! The rolling window, as a model: what gate.lua does in Redis, in Rust.
//!
//! A request log of 900 s would cost memory for each request; here requests are counted in buckets of
//! 15 s, and a bucket is in the window as long as any part of it is. So a request counts for 900 to 915 s,
//! and no 900 s ever hold more than the limit. The sum of the closed buckets is carried along, so that the
//! common case touches three numbers: the open bucket, its count and the sum.
//!
//! Workers use the model itself while Redis is away (see [`super::fallback`]).

use std::collections::VecDeque;

/// The window, in ms.
pub const WINDOW_MS: u64 = 900_000;
/// A bucket, in ms.
pub const BUCKET_MS: u64 = 15_000;
/// How many buckets after its own a request still counts.
const BUCKETS: u64 = WINDOW_MS / BUCKET_MS;

/// Requests of one access key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The open bucket: time divided by [`BUCKET_MS`].
    head: u64,
    /// Requests in the open bucket.
    count: u32,
    /// Requests in all buckets.
    sum: u32,
    /// Closed buckets that hold requests, oldest first.
    closed: VecDeque<(u64, u32)>,
}

/// What a window says to a number of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// How many it lets in.
    pub admitted: u32,
    /// How many more it would have let in.
    pub remaining: u32,
    /// Time until the oldest bucket leaves, in ms; 0 where nothing is counted.
    pub free_in_ms: u64,
}

impl Window {
    /// Lets in as many of `wanted` requests at a time (ms of any steady clock) as `limit` allows.
    pub fn admit(&mut self, now_ms: u64, limit: u32, wanted: u32) -> Admission {
        self.advance(now_ms / BUCKET_MS);
        let admitted = wanted.min(limit.saturating_sub(self.sum));
        self.count += admitted;
        self.sum += admitted;
        Admission { admitted, remaining: limit.saturating_sub(self.sum), free_in_ms: self.free_in(now_ms) }
    }

    /// Requests that count at a time.
    pub fn used(&mut self, now_ms: u64) -> u32 {
        self.advance(now_ms / BUCKET_MS);
        self.sum
    }

    /// Opens a bucket and drops those that have left. A clock that steps back stays in the open one.
    fn advance(&mut self, bucket: u64) {
        if bucket <= self.head {
            return;
        }
        if self.count > 0 {
            self.closed.push_back((self.head, self.count));
        }
        (self.head, self.count) = (bucket, 0);
        while let Some((_, count)) = self.closed.pop_front_if(|(closed, _)| *closed + BUCKETS < bucket) {
            self.sum -= count;
        }
    }

    fn free_in(&self, now_ms: u64) -> u64 {
        let oldest = self.closed.front().map_or(self.head, |(bucket, _)| *bucket);
        let leaves = (oldest + BUCKETS + 1) * BUCKET_MS;
        if self.sum == 0 { 0 } else { leaves.saturating_sub(now_ms) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Times of requests that were let in, and whether any 900 s hold more than the limit.
    fn most_in_any_window(log: &[u64]) -> usize {
        let inside = |end: &u64| log.iter().filter(|at| **at <= *end && **at + WINDOW_MS > *end).count();
        log.iter().map(inside).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn no_900_seconds_hold_more_than_the_limit(
            limit in 0_u32..40, steps in proptest::collection::vec((0_u64..120_000, 1_u32..8), 0..120)
        ) {
            let (mut window, mut log, mut now) = (Window::default(), Vec::new(), 1_795_000_000_000);
            for (step, wanted) in steps {
                now += step;
                let exact = log.iter().filter(|at| **at + WINDOW_MS > now).count();
                let admission = window.admit(now, limit, wanted);
                log.extend((0..admission.admitted).map(|_| now));
                prop_assert!(admission.admitted == wanted || admission.remaining == 0);
                // It is not stricter than a window one bucket longer.
                let longer = log.iter().filter(|at| **at + WINDOW_MS + BUCKET_MS > now).count();
                prop_assert!(admission.admitted == wanted || longer >= usize::try_from(limit).unwrap(), "{exact}");
            }
            prop_assert!(most_in_any_window(&log) <= usize::try_from(limit).unwrap());
        }

        #[test]
        fn after_the_time_it_says_it_lets_in_again(
            limit in 1_u32..20, steps in proptest::collection::vec((0_u64..60_000, 1_u32..8), 1..60)
        ) {
            let (mut window, mut now) = (Window::default(), 1_795_000_000_000);
            for (step, wanted) in steps {
                now += step;
                let admission = window.admit(now, limit, wanted);
                if admission.remaining == 0 {
                    let mut early = window.clone();
                    prop_assert_eq!(early.admit(now + admission.free_in_ms - 1, limit, 1).admitted, 0);
                    prop_assert_eq!(window.clone().admit(now + admission.free_in_ms, limit, 1).admitted, 1);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_steps_back_frees_nothing() {
        let mut window = Window::default();
        assert_eq!(window.admit(2_000_000, 3, 3).admitted, 3);
        assert_eq!(window.admit(1_000_000, 3, 1).admitted, 0);
        assert_eq!(window.used(2_000_000), 3);
    }
}
