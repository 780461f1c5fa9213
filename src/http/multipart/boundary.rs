//! What stands between the parts.

use std::fmt;

/// A boundary: 1 to 70 characters of RFC 2046.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

/// Why a content type gives no boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBoundary {
    /// It is of another media type.
    #[error("the content type is not {0}")]
    OtherType(&'static str),
    /// There is none, or one that is not allowed.
    #[error("the content type has no good boundary")]
    Missing,
}

/// Longest boundary (RFC 2046, 5.1.1).
const MAX: usize = 70;

// === impl Boundary ===

impl Boundary {
    /// A boundary of random bits, which no content has but by an accident of 1 in 2¹²⁸.
    #[must_use]
    pub fn random(bits: u128) -> Boundary {
        Boundary(format!("{bits:032x}"))
    }

    /// The boundary of a content type, which must be `media_type`.
    ///
    /// # Errors
    /// It is another one, or has no boundary.
    pub fn of(content_type: &str, media_type: &'static str) -> Result<Boundary, BadBoundary> {
        let (found, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !found.trim().eq_ignore_ascii_case(media_type) {
            return Err(BadBoundary::OtherType(media_type));
        }
        let found = super::disposition::parameters(parameters).find(|(name, _)| name == "boundary");
        found.and_then(|(_, value)| Boundary::checked(&value)).ok_or(BadBoundary::Missing)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn checked(value: &[u8]) -> Option<Boundary> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        let good = (1..=MAX).contains(&value.len()) && value.iter().all(allowed) && value.last() != Some(&b' ');
        good.then(|| Boundary(String::from_utf8_lossy(value).into_owned()))
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_found_quoted_or_not() {
        let of = |text| Boundary::of(text, "multipart/form-data").map(|it| it.0);
        assert_eq!(of("multipart/form-data; boundary=abc"), Ok("abc".into()));
        assert_eq!(of("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"a b:c\""), Ok("a b:c".into()));
        assert_eq!(of("application/json"), Err(BadBoundary::OtherType("multipart/form-data")));
        for bad in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a\tb\""] {
            assert_eq!(of(bad), Err(BadBoundary::Missing), "{bad}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(MAX + 1));
        assert_eq!(of(&long), Err(BadBoundary::Missing));
        assert_eq!(Boundary::random(7).as_str().len(), 32);
    }
}
