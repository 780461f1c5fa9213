//! Values of options that are more than a number or a word: what can be parsed here can be used later.

use std::{fmt, str::FromStr, time::Duration};

use ipnet::IpNet;

/// Signature methods that a gateway can be told to accept, by their names in the `Authorization` header.
/// The highest core number that is accepted: what Linux's `cpu_set_t` can name.
const MAX_CPU: usize = 1023;

/// Cores as operators write them (`0-3,8`): at least one, in the order given, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

// === impl CpuList ===

impl CpuList {
    /// The cores' numbers.
    pub fn cores(&self) -> &[usize] {
        &self.0
    }
}

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (core(first)?, core(last)?);
            if last < first {
                return Err(format!("{part}: the range runs backwards"));
            }
            for core in first..=last {
                if cores.contains(&core) {
                    return Err(format!("core {core} is named twice"));
                }
                cores.push(core);
            }
        }
        Ok(CpuList(cores))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&names.join(","))
    }
}

fn core(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(core) if core <= MAX_CPU => Ok(core),
        _ => Err(format!("`{text}` is no core's number (a list such as 0-3,8)")),
    }
}

// === parsers ===

/// A span of seconds, which may have a fraction: more than none, at most a year.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 31_536_000.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

/// A network in CIDR notation; a lone address is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let net = text.parse().or_else(|_| text.parse().map(|ip: std::net::IpAddr| IpNet::from(ip)));
    net.map(|net: IpNet| net.trunc()).map_err(|_| format!("`{text}` is no network (such as 10.0.0.0/8)"))
}

/// What may stand in an `Origin` header, or `*` for any.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let named = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', ' ', '*'])
    });
    if text == "*" || named { Ok(text.to_owned()) } else { Err("not * and not SCHEME://HOST[:PORT]".to_owned()) }
}

/// A header's name, or `*` for any.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    let name: Result<http::HeaderName, _> = text.trim().parse();
    name.map(|name| name.as_str().to_owned()).map_err(|_| format!("`{text}` is no header's name"))
}

/// A method of the API, or `*` for any.
pub(super) fn method(text: &str) -> Result<String, String> {
    const METHODS: [&str; 8] = ["*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let named = text.trim().to_ascii_uppercase();
    if METHODS.contains(&named.as_str()) { Ok(named) } else { Err(format!("not one of {}", METHODS.join(", "))) }
}

/// A host for others to reach us at: a name or an address, IPv6 without brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let v6 = bare.parse::<std::net::Ipv6Addr>().is_ok();
    if bare.is_empty() || (!v6 && bare.contains([':', '/', ' '])) {
        return Err("not a host's name or address".to_owned());
    }
    Ok(bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_ranges_and_numbers() {
        assert_eq!("0-3,8".parse::<CpuList>().unwrap().cores(), [0, 1, 2, 3, 8]);
        assert_eq!("5".parse::<CpuList>().unwrap().to_string(), "5");
        for bad in ["", "a", "3-1", "0,0", "0-2,1", "-1", "0-", "5000"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_may_be_single_addresses_and_lose_their_host_bits() {
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert!(network("10.0.0.0/33").is_err());
    }

    #[test]
    fn origins_and_hosts() {
        assert!(origin("*").is_ok() && origin("https://a.example:8443").is_ok());
        assert!(origin("a.example").is_err() && origin("https://a.example/x").is_err());
        assert_eq!(host("[::1]").unwrap(), "::1");
        assert!(host("a:1").is_err() && host("").is_err());
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("0.25").unwrap(), Duration::from_millis(250));
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
