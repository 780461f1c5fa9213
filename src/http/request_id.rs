//! Request ids: what stands in the answer, in the log, and in a problem document.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries the id, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a client.
const MAX_LEN: usize = 64;

/// The id of a request: the client's, if it sent a harmless one, or ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Takes the client's id over, or makes one of 16 hexadecimal digits from random bits.
    pub fn of(headers: &HeaderMap, random: impl FnOnce() -> u64) -> Self {
        match headers.get(HEADER) {
            Some(value) if is_harmless(value.as_bytes()) => RequestId(value.clone()),
            _ => {
                let text = format!("{:016x}", random());
                // Hexadecimal digits are always a header value.
                RequestId(HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("-")))
            }
        }
    }

    /// The id as a header's value.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_harmless(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= MAX_LEN && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(HEADER, value.parse().unwrap());
        }
        RequestId::of(&headers, || 0xabc).to_string()
    }

    #[test]
    fn a_clients_id_is_taken_over_only_where_it_is_harmless() {
        assert_eq!(of(Some("trace-1.a:B_2")), "trace-1.a:B_2");
        for bad in ["", "two words", "x\"y", &"a".repeat(65)] {
            assert_eq!(of(Some(bad)), "0000000000000abc", "{bad:?}");
        }
        assert_eq!(of(None), "0000000000000abc");
    }
}
