//! The two ports of a terminal: free ones of a range that outgoing connections do not use, and after a
//! restart the same as before if nobody took them meanwhile.

use std::{fmt, io, net::Ipv4Addr, path::Path, str::FromStr};

use tokio::net::TcpListener;

/// Ports from one to another, both of them included, two at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    from: u16,
    to: u16,
}

// === impl PortRange ===

impl PortRange {
    /// All of its ports, from a place in it that `seed` says, but first those of `before` that are its.
    fn in_order(self, before: &[u16], seed: u16) -> impl Iterator<Item = u16> {
        let (from, size) = (u32::from(self.from), u32::from(self.to - self.from) + 1);
        let all = (0..size).filter_map(move |step| u16::try_from(from + (u32::from(seed) + step) % size).ok());
        let before: Vec<u16> = before.iter().copied().filter(|port| (self.from..=self.to).contains(port)).collect();
        before.into_iter().chain(all)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not FROM-TO with two ports at least, as in 30000-32699");
        let (from, to) = text.split_once('-').ok_or_else(bad)?;
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad);
        let range = PortRange { from: port(from)?, to: port(to)? };
        if range.from < range.to { Ok(range) } else { Err(bad()) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

/// Listens on two ports of the range: those of input and output. `remembered` is the file that says
/// which ones it was before, and from now on these.
///
/// # Errors
/// No two are free, or the address is not this machine's.
pub async fn bind(ip: Ipv4Addr, range: PortRange, remembered: &Path) -> io::Result<[TcpListener; 2]> {
    let text = std::fs::read_to_string(remembered).unwrap_or_default();
    let before: Vec<u16> = text.split_whitespace().filter_map(|port| port.parse().ok()).collect();
    let bound = first_two(ip, range.in_order(&before, rand::random())).await?;
    let [stdin, stdout] = [bound[0].local_addr()?.port(), bound[1].local_addr()?.port()];
    std::fs::write(remembered, format!("{stdin} {stdout}\n"))?;
    Ok(bound)
}

async fn first_two(ip: Ipv4Addr, ports: impl Iterator<Item = u16>) -> io::Result<[TcpListener; 2]> {
    let mut first = None;
    for port in ports {
        match (TcpListener::bind((ip, port)).await, first.take()) {
            (Ok(second), Some(first)) => return Ok([first, second]),
            (Ok(listener), None) => first = Some(listener),
            (Err(error), kept) if error.kind() == io::ErrorKind::AddrInUse => first = kept,
            (Err(error), _) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no two ports are free for a terminal (--terminal-ports)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(range: &str, before: &[u16], seed: u16) -> Vec<u16> {
        range.parse::<PortRange>().unwrap().in_order(before, seed).collect()
    }

    #[test]
    fn ranges_are_two_ports_at_least() {
        assert_eq!("30000-32699".parse::<PortRange>().unwrap().to_string(), "30000-32699");
        for bad in ["", "1", "5-5", "6-5", "0-9", "1-65536", "a-b"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_port_comes_and_the_former_ones_first() {
        assert_eq!(order("10-13", &[], 6), [12, 13, 10, 11]);
        assert_eq!(order("10-12", &[99, 12, 11], 0)[..2], [12, 11]);
        assert_eq!(order("1-65535", &[], u16::MAX).len(), 65535);
    }

    #[tokio::test]
    async fn two_free_ports_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ports");
        let range = "20000-31999".parse().unwrap();
        let ports = |bound: &[TcpListener; 2]| [0, 1].map(|at| bound[at].local_addr().unwrap().port());
        let first = bind(Ipv4Addr::LOCALHOST, range, &file).await.unwrap();
        let taken = ports(&first);
        let other = bind(Ipv4Addr::LOCALHOST, range, &file).await.unwrap();
        assert!(ports(&other).iter().all(|port| !taken.contains(port)));
        std::fs::write(&file, format!("{} {}", taken[0], taken[1])).unwrap();
        drop(first);
        assert_eq!(ports(&bind(Ipv4Addr::LOCALHOST, range, &file).await.unwrap()), taken);
    }
}
