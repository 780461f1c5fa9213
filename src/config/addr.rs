//! Addresses as operators write them: `host:port` with a name, an IPv4 or a bracketed IPv6 address.

use std::{fmt, str::FromStr};

/// A host (name or address, IPv6 without its brackets) and a TCP port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The host's name or address, as given, without brackets.
    pub host: String,
    /// The TCP port, 1 to 65535.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddrError {
    /// There is no `:port` at its end.
    #[error("the port is missing (HOST:PORT)")]
    NoPort,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    BadPort,
    /// There is no host, or an IPv6 address without brackets.
    #[error("the host is not a name, an IPv4 address or a bracketed IPv6 address")]
    BadHost,
}

impl FromStr for HostPort {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, ParseAddrError> {
        let (host, port) = text.rsplit_once(':').ok_or(ParseAddrError::NoPort)?;
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err(ParseAddrError::BadPort),
            Ok(port) => port,
        };
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|h| h.parse::<std::net::Ipv6Addr>().is_ok()),
            None => Some(host).filter(|h| !h.is_empty() && !h.contains([':', '/', ' '])),
        };
        let host = host.ok_or(ParseAddrError::BadHost)?.to_owned();
        Ok(HostPort { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_both_families_of_addresses_are_read_and_written_alike() {
        for text in ["db:5432", "10.0.0.1:6379", "[::1]:2379", "etcd-0.example:2379"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (text, why) in [
            ("db", ParseAddrError::NoPort),
            ("db:", ParseAddrError::BadPort),
            ("db:0", ParseAddrError::BadPort),
            ("db:70000", ParseAddrError::BadPort),
            (":5432", ParseAddrError::BadHost),
            ("::1:5432", ParseAddrError::BadHost),
            ("[db]:5432", ParseAddrError::BadHost),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(why), "{text}");
        }
    }
}
