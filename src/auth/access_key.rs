//! The public half of a key pair.

use std::{borrow::Borrow, fmt, hash};

/// The longest access key, in bytes: the width of its column since the first release.
const LONGEST: usize = 20;

/// An access key: 1 to 20 printable ASCII characters without blanks. It lives on the stack and is
/// copied, since every request carries one through every stage.
#[derive(Clone, Copy)]
pub struct AccessKey {
    bytes: [u8; LONGEST],
    len: u8,
}

impl AccessKey {
    /// Takes a text; `None` where no key pair can have it.
    pub fn new(text: &str) -> Option<Self> {
        let len = u8::try_from(text.len()).ok().filter(|len| (1..=LONGEST).contains(&usize::from(*len)))?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut bytes = [0; LONGEST];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Some(AccessKey { bytes, len })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let used = self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes);
        std::str::from_utf8(used).unwrap_or_default()
    }
}

impl fmt::Display for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKey({self})")
    }
}

impl PartialEq for AccessKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for AccessKey {}

impl PartialOrd for AccessKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AccessKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl hash::Hash for AccessKey {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Maps keyed by access keys can be asked with a text.
impl Borrow<str> for AccessKey {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for AccessKey {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl std::str::FromStr for AccessKey {
    type Err = InvalidAccessKey;

    fn from_str(text: &str) -> Result<Self, InvalidAccessKey> {
        AccessKey::new(text).ok_or(InvalidAccessKey)
    }
}

/// A text that no key pair can have as its access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access key is 1 to 20 printable ASCII characters without blanks")]
pub struct InvalidAccessKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_the_column_holds() {
        for text in ["A", "AKIAIOSFODNN7EXAMPLE"] {
            assert_eq!(AccessKey::new(text).unwrap().as_str(), text);
        }
        for text in ["", "AKIAIOSFODNN7EXAMPLE1", "a b", "a\0", "é"] {
            assert_eq!(text.parse::<AccessKey>(), Err(InvalidAccessKey), "{text:?}");
        }
    }

    #[test]
    fn a_map_can_be_asked_with_a_text() {
        let map = std::collections::HashMap::from([(AccessKey::new("AKIA").unwrap(), 1)]);
        assert_eq!(map.get("AKIA"), Some(&1));
    }
}
