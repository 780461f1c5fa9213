//! How long answers took, in buckets that are a sixteenth of their value wide.

use std::time::Duration;

/// Buckets of each power of two.
const PARTS: u64 = 16;

/// Times in µs, counted.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { counts: vec![0; index(u64::MAX) + 1], total: 0 }
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(index(micros)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// The time within which a part (0 to 1) of the answers came, in µs, at most a sixteenth too long; 0 where
    /// there are none.
    pub fn percentile(&self, part: f64) -> u64 {
        let wanted = (self.total as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(index);
            }
        }
        0
    }
}

/// The bucket of a value: below 16 one each, then 16 for each power of two.
fn index(micros: u64) -> usize {
    let shift = u64::from(micros.max(PARTS).ilog2() - PARTS.ilog2());
    let bucket = if micros < PARTS { micros } else { PARTS * shift + (micros >> shift) };
    bucket as usize
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * PARTS {
        return index;
    }
    let shift = index / PARTS - 1;
    let next = u128::from(PARTS + index % PARTS + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_is_a_sixteenth_of_it_wide_at_most() {
        for value in (0..100_000u64).chain([1 << 20, (1 << 40) + 12345, u64::MAX - 1, u64::MAX]) {
            let bucket = index(value);
            assert!(upper(bucket) >= value && (bucket == 0 || upper(bucket - 1) < value), "{value}");
            assert!(upper(bucket) - value <= value / 16, "{value}");
        }
    }

    #[test]
    fn percentiles_are_of_what_was_counted() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(0.5), 0);
        for micros in 1..=100 {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!(latencies.percentile(0.1), 10);
        assert!((50..=53).contains(&latencies.percentile(0.5)));
        assert!((100..=106).contains(&latencies.percentile(1.0)));
    }
}
