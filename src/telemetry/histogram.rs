//! Latencies in buckets whose bounds double: 32 µs to 16.8 s, which is finer than any decision made
//! by them needs, costs one addition a request, and is the same for every route, so that they can be added.

/// Number of finite bounds; bucket `i` holds what took at most `2^(5 + i)` µs and more than the bucket before.
pub(super) const BOUNDS: usize = 20;

/// Number of buckets: one for each bound, and one for what took longer.
pub(super) const BUCKETS: usize = BOUNDS + 1;

const FIRST_BITS: u32 = 5;

/// The bucket of a request that took `micros`.
pub(super) fn bucket(micros: u64) -> usize {
    let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(FIRST_BITS) as usize).min(BOUNDS)
}

/// The upper bound of bucket `index`, in microseconds.
pub(super) fn bound_micros(index: usize) -> u64 {
    1 << (FIRST_BITS as usize + index.min(BOUNDS))
}

/// The upper bound of bucket `index`, in seconds.
pub(super) fn bound_seconds(index: usize) -> f64 {
    bound_micros(index) as f64 / 1e6
}

/// The upper bound, in microseconds, of the bucket in which the `share` (0 to 1) of the counted requests ends; 0 where
/// nothing was counted.
pub fn quantile(buckets: &[u64], share: f64) -> u64 {
    let total: u64 = buckets.iter().sum();
    let wanted = ((total as f64 * share).ceil() as u64).max(1);
    let mut seen = 0;
    let found = buckets.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    if total == 0 { 0 } else { found.map_or(0, bound_micros) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_lies_between_the_bounds_of_its_bucket(micros in 0_u64..1 << 40) {
            let i = bucket(micros);
            prop_assert!(i == BOUNDS || micros <= bound_micros(i));
            prop_assert!(i == 0 || micros > bound_micros(i - 1));
        }
    }

    #[test]
    fn quantiles_name_the_bucket_in_which_they_fall() {
        let mut buckets = [0_u64; BUCKETS];
        assert_eq!(quantile(&buckets, 0.5), 0);
        (buckets[1], buckets[4]) = (99, 1);
        assert_eq!((quantile(&buckets, 0.5), quantile(&buckets, 0.99), quantile(&buckets, 1.0)), (64, 64, 512));
    }
}
