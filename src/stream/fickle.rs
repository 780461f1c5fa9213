//! Connections that end again and again as soon as they are made.
//!
//! A kernel that has as many viewers as it takes accepts one more and ends its connections at once, and so does one
//! that is broken. Whoever looks for its terminal finds it every time: without a count, for ever.

use std::time::{Duration, Instant};

/// Connections that live so long are not counted, and those before them are forgotten.
const LASTING: Duration = Duration::from_secs(1);
/// Connections that may end sooner than that, one after another: a kernel that is restarted breaks one or two.
const PATIENCE: u32 = 10;

/// How many ended too soon, one after another.
#[derive(Debug, Default)]
pub struct Fickle(u32);

impl Fickle {
    /// Takes note of a connection's end; whether that was one too many.
    pub fn ended(&mut self, made: Instant, now: Instant) -> bool {
        self.0 = if now.saturating_duration_since(made) < LASTING { self.0 + 1 } else { 0 };
        self.0 >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_and_one_that_lasts_restores_it() {
        let (mut fickle, made) = (Fickle::default(), Instant::now());
        let at_once = |fickle: &mut Fickle| fickle.ended(made, made);
        assert!((1..PATIENCE).all(|_| !at_once(&mut fickle)));
        assert!(!fickle.ended(made, made + LASTING));
        assert!((1..PATIENCE).all(|_| !at_once(&mut fickle)));
        assert!(at_once(&mut fickle));
    }
}
