//! How long to wait before the next try to reach something that is away.

use std::time::Duration;

/// Doubles from 100 ms to 5 s, each shortened by up to half at random so that workers do not come all at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

impl Backoff {
    /// Before the first try.
    pub fn new() -> Self {
        Backoff::up_to(LAST)
    }

    /// Before the first try, where no wait may be longer than that.
    pub fn up_to(longest: Duration) -> Self {
        Backoff { next: FIRST, longest }
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The time to wait now; `random` is any random number.
    pub fn next(&mut self, random: u32) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now.mul_f64(1.0 - 0.5 * f64::from(random) / f64::from(u32::MAX))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last_and_start_again_after_a_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.next(u32::MAX).as_millis(), 2500);
        backoff.reset();
        assert_eq!(backoff.next(0).as_millis(), 100);
    }
}
