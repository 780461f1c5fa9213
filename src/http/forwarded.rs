//! From which address a request really comes, where proxies stand between.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// What a proxy adds the address to that it was called from.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a request's client: the connection's, or, where that is a trusted proxy, the last one in
/// `X-Forwarded-For` that is none. What stands before that one, anybody may have written.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |addr: IpAddr| trusted.iter().any(|network| network.contains(&addr));
    let mut client = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(client) {
        return client;
    }
    let values: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let hops = values.iter().rev().flat_map(|value| value.rsplit(','));
    for hop in hops {
        // What cannot be read was not written by a proxy that can be trusted.
        let Some(addr) = parse(hop.trim()) else { break };
        client = addr;
        if !is_trusted(addr) {
            break;
        }
    }
    client
}

/// An address, which some proxies write with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|addr| addr.ip());
    text.parse().ok().or_else(bare).or_else(with_port).map(|addr: IpAddr| addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("192.0.2.1", &["198.51.100.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        let none = client_address("10.0.0.1".parse().unwrap(), &HeaderMap::new(), &[]);
        assert_eq!(none.to_string(), "10.0.0.1");
    }

    #[test]
    fn what_a_client_wrote_before_the_proxies_is_not() {
        assert_eq!(client("10.0.0.1", &["1.2.3.4, 198.51.100.9, 10.0.0.2"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4", "198.51.100.9", "10.0.0.2"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["10.0.0.3,10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn ports_and_brackets_are_read_and_garbage_ends_the_chain() {
        assert_eq!(client("10.0.0.1", &["198.51.100.9:4711"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["198.51.100.9, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.2.3.4, nonsense, 10.0.0.7"]), "10.0.0.7");
    }
}
