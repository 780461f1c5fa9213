//! The socket types in use, and which of them may talk to each other.

use std::fmt;

/// A ZeroMQ socket type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// Sends requests to and takes answers from a router: the gateway's end of RPC.
    Dealer,
    /// Answers dealers: the agent's end of RPC.
    Router,
    /// Sends one way: the agent's end of events.
    Push,
    /// Takes what is pushed: the gateway's end of events.
    Pull,
    /// Publishes to subscribers: a terminal's output.
    Pub,
    /// Subscribes to publishers; terminals read their input through one.
    Sub,
}

// === impl SocketType ===

impl SocketType {
    /// The name that the `Socket-Type` property of READY carries.
    pub fn name(self) -> &'static str {
        match self {
            SocketType::Dealer => "DEALER",
            SocketType::Router => "ROUTER",
            SocketType::Push => "PUSH",
            SocketType::Pull => "PULL",
            SocketType::Pub => "PUB",
            SocketType::Sub => "SUB",
        }
    }

    /// The type of this name, if it is one that we speak.
    pub fn from_name(name: &[u8]) -> Option<SocketType> {
        use SocketType::{Dealer, Pub, Pull, Push, Router, Sub};
        [Dealer, Router, Push, Pull, Pub, Sub].into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    /// Whether a connection between a socket of this type and a `peer` makes sense.
    pub fn goes_with(self, peer: SocketType) -> bool {
        use SocketType::{Dealer, Pub, Pull, Push, Router, Sub};
        matches!(
            (self, peer),
            (Dealer | Router, Dealer | Router) | (Push, Pull) | (Pull, Push) | (Pub, Sub) | (Sub, Pub)
        )
    }

    /// Whether READY of this type carries an `Identity` property: only types that are routed to do.
    pub(super) fn has_identity(self) -> bool {
        matches!(self, SocketType::Dealer | SocketType::Router)
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [SocketType; 6] =
        [SocketType::Dealer, SocketType::Router, SocketType::Push, SocketType::Pull, SocketType::Pub, SocketType::Sub];

    #[test]
    fn names_go_both_ways_and_others_are_unknown() {
        for kind in ALL {
            assert_eq!(SocketType::from_name(kind.name().as_bytes()), Some(kind));
        }
        assert_eq!(SocketType::from_name(b"STREAM"), None);
        assert_eq!(SocketType::from_name(b"dealer"), None);
    }

    #[test]
    fn compatibility_is_mutual_and_every_type_has_a_partner() {
        for a in ALL {
            assert!(ALL.into_iter().any(|b| a.goes_with(b)), "{a}");
            for b in ALL {
                assert_eq!(a.goes_with(b), b.goes_with(a), "{a} {b}");
            }
        }
        assert!(!SocketType::Push.goes_with(SocketType::Router));
        assert!(!SocketType::Pull.goes_with(SocketType::Pull));
    }
}
