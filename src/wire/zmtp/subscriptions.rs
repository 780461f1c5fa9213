//! What a subscriber wants, as a publisher keeps it.
//!
//! In ZMTP 3.0 a subscription is a message: `01` and a prefix to subscribe, `00` and the prefix to
//! cancel. The empty prefix stands for everything. Subscribing twice takes cancelling twice.

use bytes::Bytes;

/// The prefixes that one peer subscribed to, at most [`Subscriptions::MOST`].
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    prefixes: Vec<Bytes>,
}

// === impl Subscriptions ===

impl Subscriptions {
    /// Most prefixes kept for a peer; those beyond are ignored.
    pub const MOST: usize = 64;

    /// Adds a prefix.
    pub fn add(&mut self, prefix: Bytes) {
        if self.prefixes.len() < Self::MOST {
            self.prefixes.push(prefix);
        }
    }

    /// Takes a prefix back, once.
    pub fn cancel(&mut self, prefix: &[u8]) {
        if let Some(at) = self.prefixes.iter().position(|known| known == prefix) {
            self.prefixes.swap_remove(at);
        }
    }

    /// Whether a message whose first frame is `topic` is wanted.
    pub fn wants(&self, topic: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| topic.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_count_and_the_empty_one_is_everything() {
        let mut wanted = Subscriptions::default();
        assert!(!wanted.wants(b"ab"));
        wanted.add(Bytes::from_static(b"a"));
        wanted.add(Bytes::from_static(b"a"));
        wanted.cancel(b"a");
        wanted.cancel(b"b");
        assert!(wanted.wants(b"ab") && !wanted.wants(b"b"));
        wanted.cancel(b"a");
        assert!(!wanted.wants(b"ab"));
        wanted.add(Bytes::new());
        assert!(wanted.wants(b"") && wanted.wants(b"b"));
    }

    #[test]
    fn a_peer_cannot_make_us_keep_any_number() {
        let mut wanted = Subscriptions::default();
        (0..1000u32).for_each(|n| wanted.add(Bytes::copy_from_slice(&n.to_be_bytes())));
        assert_eq!(wanted.prefixes.len(), Subscriptions::MOST);
    }
}
