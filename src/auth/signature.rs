//! The signature of a request: what is signed, with which key, and whether it is right.
//!
//! ```text
//! string = METHOD \n raw path and query \n raw date header \n host:<Host> \n
//!          content-type:<media type> \n x-backendai-version:<version> \n hex(H(body))
//! key    = HMAC_H(HMAC_H(secret key, YYYYMMDD of the date), <Host>)
//! ```
//!
//! Two of these lines have two right readings, since the first servers normalised what they signed
//! and the first clients did not agree among themselves: the path as sent or in normal form, the
//! content type as sent or in lower case. Each reading is tried, and only where it differs, so that
//! an ordinary request is signed once.

use subtle::ConstantTimeEq;

use super::{
    derived::EmptyBody,
    hashes::{HashKind, HexOutput, KeyState},
    path,
};

/// The parts of a request that its signature covers.
#[derive(Clone, Copy, Debug)]
pub struct SignedParts<'a> {
    /// The method really sent, in capitals.
    pub method: &'a str,
    /// The request's target as sent: path and query, undecoded.
    pub raw_path_and_query: &'a str,
    /// The date header as sent.
    pub date_header: &'a str,
    /// The Host header as sent.
    pub host: &'a str,
    /// The Content-Type header as sent, if any.
    pub content_type: Option<&'a str>,
    /// The version header as sent.
    pub version: &'a str,
    /// Whether the version stood in the legacy header, `X-Sorna-Version`.
    pub legacy_version_header: bool,
    /// What the body line is made of: the body, or nothing where [`signs_body`] says so.
    pub body_hash_input: &'a [u8],
}

/// The media type that is signed where a request has no content type.
const NO_CONTENT_TYPE: &str = "application/octet-stream";
/// The one that release 1.5 signs there, where it opens a WebSocket.
const NO_CONTENT_TYPE_OF_1_5: &str = "text/plain";

/// The media type of a Content-Type header without its parameters, as sent.
pub fn media_type(content_type: Option<&str>) -> &str {
    let media = content_type.map(|text| text.split(';').next().unwrap_or_default().trim_ascii());
    media.filter(|text| !text.is_empty()).unwrap_or(NO_CONTENT_TYPE)
}

/// Whether the body of a request with that content type is part of its signature, in versions that
/// sign bodies at all: multipart bodies never are.
pub fn signs_body(content_type: Option<&str>) -> bool {
    !media_type(content_type).eq_ignore_ascii_case("multipart/form-data")
}

/// Whether a signature (lower-case hexadecimal digits) is right for the parts, under a key state
/// derived for their date and host. Takes the same time for every wrong signature of a length.
pub(super) fn verify(
    kind: HashKind,
    key: &KeyState,
    parts: &SignedParts<'_>,
    empty_body: &mut EmptyBody,
    signature: &str,
) -> bool {
    let body = match parts.body_hash_input {
        [] => empty_body.hex(kind),
        bytes => kind.digest(bytes).hex(),
    };
    let sent = media_type(parts.content_type);
    let lower = lower_case(sent);
    let normal = path::normal_form(parts.raw_path_and_query);
    let paths = [Some(parts.raw_path_and_query), normal.as_deref()];
    let other = if parts.content_type.is_none() { Some(NO_CONTENT_TYPE_OF_1_5) } else { lower.as_deref() };
    let media_types = [Some(sent), other];
    let right = |path, media| bool::from(code(key, parts, path, media, &body).as_slice().ct_eq(signature.as_bytes()));
    paths.into_iter().flatten().any(|path| media_types.into_iter().flatten().any(|media| right(path, media)))
}

/// The key that signs requests to a host on a day.
pub(super) fn derive(kind: HashKind, secret: &[u8], ymd: &[u8; 8], host: &str) -> KeyState {
    let mut day = KeyState::new(kind, secret);
    day.update(ymd);
    let mut at_host = KeyState::new(kind, day.finish().as_slice());
    at_host.update(host.as_bytes());
    KeyState::new(kind, at_host.finish().as_slice())
}

/// The signature of the parts with that reading of path and media type.
fn code(key: &KeyState, parts: &SignedParts<'_>, path: &str, media: &str, body: &HexOutput) -> HexOutput {
    let version_line = match parts.legacy_version_header {
        true => "\nx-sorna-version:",
        false => "\nx-backendai-version:",
    };
    let mut mac = key.clone();
    for piece in [
        parts.method,
        "\n",
        path,
        "\n",
        parts.date_header,
        "\nhost:",
        parts.host,
        "\ncontent-type:",
        media,
        version_line,
        parts.version,
        "\n",
    ] {
        mac.update(piece.as_bytes());
    }
    mac.update(body.as_slice());
    mac.finish().hex()
}

/// The text in lower case, where that is another text.
fn lower_case(text: &str) -> Option<String> {
    text.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_has_no_parameters_and_a_default() {
        for (header, media) in [
            (None, "application/octet-stream"),
            (Some(""), "application/octet-stream"),
            (Some("application/json"), "application/json"),
            (Some("application/json; charset=utf-8"), "application/json"),
            (Some("Application/JSON ;x=1"), "Application/JSON"),
        ] {
            assert_eq!(media_type(header), media);
        }
    }

    #[test]
    fn only_multipart_bodies_are_left_out() {
        assert!(!signs_body(Some("multipart/form-data; boundary=x")));
        assert!(!signs_body(Some("Multipart/Form-Data")));
        assert!(signs_body(Some("multipart/mixed")));
        assert!(signs_body(None));
    }
}
