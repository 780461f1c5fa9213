//! The limit for requests that nobody signed: per client address, in each worker for itself.
//!
//! It keeps one client from crowding out the others, without a round trip. It counts what was refused for its
//! signature too, which makes guessing slow. Memory is bounded by two generations of addresses: where the young one is
//! full it becomes the old one, and what was in the old one and has not come since is forgotten.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use super::rate::Rate;
use crate::ratelimit::Window;

/// Addresses of a generation: the two have at most 4 MiB, where each address was busy in each bucket.
const ADDRESSES: usize = 2048;

/// Who sent how much, of a worker.
#[derive(Debug)]
pub struct Anonymous {
    limit: u32,
    young: HashMap<IpAddr, Window>,
    old: HashMap<IpAddr, Window>,
}

/// What is said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Whether it is within the limit.
    pub allowed: bool,
    /// How the address stands now.
    pub rate: Rate,
    /// Until something of it leaves the window, ms.
    pub retry_ms: u64,
}

impl Anonymous {
    /// A limit of so many requests in a window of 15 minutes.
    pub fn new(limit: u32) -> Self {
        Anonymous { limit, young: HashMap::new(), old: HashMap::new() }
    }

    /// Counts a request of an address at a time (ms of any steady clock).
    pub fn admit(&mut self, now_ms: u64, addr: IpAddr) -> Admitted {
        let limit = self.limit;
        let admission = self.window(client(addr)).admit(now_ms, limit, 1);
        Admitted {
            allowed: admission.admitted == 1,
            rate: Rate::Known { limit, remaining: admission.remaining, reset_ms: admission.free_in_ms },
            retry_ms: admission.free_in_ms,
        }
    }

    fn window(&mut self, addr: IpAddr) -> &mut Window {
        if !self.young.contains_key(&addr) && self.young.len() >= ADDRESSES {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(addr).or_insert_with(|| old.remove(&addr).unwrap_or_default())
    }
}

/// Whoever has an address of IPv6 has the 2⁶⁴ beside it, too.
fn client(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    fn left(admitted: Admitted) -> u32 {
        match admitted.rate {
            Rate::Known { remaining, .. } => remaining,
            Rate::Unknown => panic!("it is known"),
        }
    }

    #[test]
    fn an_address_over_its_limit_waits_and_others_do_not() {
        let mut anonymous = Anonymous::new(2);
        assert_eq!(left(anonymous.admit(0, v4(1))), 1);
        assert_eq!(left(anonymous.admit(0, v4(1))), 0);
        let refused = anonymous.admit(0, v4(1));
        assert!(!refused.allowed && refused.retry_ms > 0);
        assert!(anonymous.admit(0, v4(2)).allowed);
        assert!(anonymous.admit(refused.retry_ms, v4(1)).allowed);
    }

    #[test]
    fn one_network_of_ipv6_is_one_client_and_a_mapped_address_is_what_it_maps() {
        let mut anonymous = Anonymous::new(2);
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(left(anonymous.admit(0, parse("2001:db8::1"))), 1);
        assert_eq!(left(anonymous.admit(0, parse("2001:db8::ffff:2"))), 0);
        assert_eq!(left(anonymous.admit(0, parse("2001:db8:0:1::1"))), 1);
        assert_eq!(left(anonymous.admit(0, parse("::ffff:10.0.0.1"))), 1);
        assert_eq!(left(anonymous.admit(0, parse("10.0.0.1"))), 0);
    }

    #[test]
    fn whoever_keeps_coming_is_remembered_among_many() {
        let mut anonymous = Anonymous::new(1_000_000);
        for n in 0..20 * ADDRESSES as u32 {
            anonymous.admit(0, v4(n + 10));
            if n % 1000 == 0 {
                anonymous.admit(0, v4(1));
            }
        }
        let times = (20 * ADDRESSES as u32).div_ceil(1000);
        assert_eq!(left(anonymous.admit(0, v4(1))), 1_000_000 - times - 1);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_nobody_gets_more_than_the_limit(
            limit in 1u32..5, steps in prop::collection::vec((0u64..60_000, 0u32..4), 0..200)
        ) {
            let (mut anonymous, mut now, mut log) = (Anonymous::new(limit), 0, Vec::new());
            for (step, who) in steps {
                now += step;
                if anonymous.admit(now, v4(who)).allowed {
                    log.push((now, who));
                }
                let recent = log.iter().filter(|(at, one)| *one == who && at + 900_000 > now).count();
                prop_assert!(recent <= limit as usize);
                prop_assert!(anonymous.young.len() + anonymous.old.len() <= 2 * ADDRESSES);
            }
        }
    }
}
