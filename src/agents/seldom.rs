//! Saying a thing at most once in a while, and how often it happened since.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Between two times that something is said.
const EVERY: Duration = Duration::from_secs(60);

/// Counts what happens, and lets it be said at most once a minute.
#[derive(Debug, Default)]
pub struct Seldom {
    said: Cell<Option<Instant>>,
    since: Cell<u64>,
}

// === impl Seldom ===

impl Seldom {
    /// Counts one more; if it is time to say so, gives how many there were since the last time.
    pub fn happened(&self, now: Instant) -> Option<u64> {
        let count = self.since.get() + 1;
        let due = self.said.get().is_none_or(|said| now.saturating_duration_since(said) >= EVERY);
        self.since.set(if due { 0 } else { count });
        if due {
            self.said.set(Some(now));
        }
        due.then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_a_minute_with_the_count_between() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let at = |seconds| seldom.happened(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(59), at(60), at(61), at(200)], [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
