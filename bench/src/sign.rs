//! Signed requests as bytes, ready to be sent any number of times.
//!
//! The gateway only verifies, so that its library has nothing that signs: this is the client's side, written from
//! the rules (see docs) and held against the gateway's own check in a test. A signature is good for 15 minutes,
//! and the gateway checks it anew each time, so that a load signs once and costs the generator nothing.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// A key pair.
#[derive(Clone, Debug)]
pub struct Key {
    /// The public half.
    pub access: String,
    /// The secret half.
    pub secret: String,
}

/// A request to be made.
#[derive(Clone, Debug)]
pub struct Request {
    /// In capitals.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// The version that the header names, such as `v4.20181215`.
    pub version: &'static str,
    /// JSON, or empty.
    pub body: String,
}

/// The version from which on bodies are not signed.
pub const V4: &str = "v4.20181215";
/// The version before it.
pub const V3: &str = "v3.20170615";

const CONTENT_TYPE: &str = "application/json";

// === impl Request ===

impl Request {
    /// A request without a body.
    pub fn get(target: &str, version: &'static str) -> Request {
        Request { method: "GET", target: target.to_owned(), version, body: String::new() }
    }

    /// The bytes of the request, signed by `key` at `now` if there is a key; `close` asks the server to end the
    /// connection after it.
    pub fn to_bytes(&self, host: &str, key: Option<&Key>, close: bool, now: Timestamp) -> Vec<u8> {
        let Request { method, target, version, body } = self;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        // Writing to a text cannot fail.
        if let Some(key) = key {
            let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
            let signature = self.signature(host, key, &date);
            let _ = write!(
                head,
                "Date: {date}\r\nX-BackendAI-Version: {version}\r\n\
                 Authorization: BackendAI signMethod=HMAC-SHA256, credential={}:{signature}\r\n\
                 Content-Type: {CONTENT_TYPE}\r\n",
                key.access
            );
        }
        if !body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        if close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.push_str(body);
        head.into_bytes()
    }

    fn signature(&self, host: &str, key: &Key, date: &str) -> String {
        let Request { method, target, version, body } = self;
        let signed_body = if *version >= V4 { "" } else { body };
        let text = format!(
            "{method}\n{target}\n{date}\nhost:{host}\ncontent-type:{CONTENT_TYPE}\nx-backendai-version:{version}\n{}",
            hex(&Sha256::digest(signed_body.as_bytes()))
        );
        let day = date.get(..8).unwrap_or_default();
        let derived = hmac(&hmac(key.secret.as_bytes(), day.as_bytes()), host.as_bytes());
        hex(&hmac(&derived, text.as_bytes()))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of some length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use backendai::auth::{Claim, DerivedKeys, HashSet, Headers};

    use super::*;

    fn accepted(request: &Request, key: &Key, secret: &str) -> bool {
        let now: Timestamp = "2026-11-22T10:47:09Z".parse().unwrap();
        let bytes = String::from_utf8(request.to_bytes("h:1", Some(key), false, now)).unwrap();
        let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let headers = Headers {
            date: header("Date"),
            backendai_version: header("X-BackendAI-Version"),
            authorization: header("Authorization"),
            host: header("Host"),
            content_type: header("Content-Type"),
            ..Headers::default()
        };
        let claim = Claim::parse(&headers, now, HashSet::default()).unwrap();
        let mut derived = DerivedKeys::new(4);
        claim.verify(secret, request.method, &request.target, body.as_bytes(), &mut derived).is_ok()
    }

    #[test]
    fn the_gateway_accepts_what_is_signed_here_and_nothing_else() {
        let key = Key { access: "AKIABENCH".into(), secret: "secret".into() };
        for version in [V3, V4] {
            let body = r#"{"echo": "x"}"#.to_owned();
            let request = Request { method: "GET", target: "/v4/auth?a=1".into(), version, body };
            assert!(accepted(&request, &key, "secret"));
            assert!(!accepted(&request, &key, "other"));
        }
    }

    #[test]
    fn a_request_without_a_key_carries_nothing_of_one() {
        let bytes = Request::get("/v4", V4).to_bytes("h:1", None, true, Timestamp::UNIX_EPOCH);
        assert_eq!(bytes, b"GET /v4 HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n");
    }
}
