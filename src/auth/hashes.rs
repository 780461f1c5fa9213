//! The hashes that a request may be signed with, and the keyed states made of them.
//!
//! Clients name them as Python's hashlib does. SHA-1 and MD5 are here for clients of the first
//! releases only, and an operator has to list them.

use std::{fmt, str::FromStr};

use blake2::{Blake2b512, Blake2s256};
use hmac::{Hmac, KeyInit, Mac, SimpleHmac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use sha3::{Sha3_256, Sha3_512};

/// The longest output of any hash here, in bytes.
const LONGEST: usize = 64;

/// A hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HashKind {
    /// SHA-256, what clients use unless told otherwise.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-512.
    Sha3_512,
    /// SHA-224.
    Sha224,
    /// SHA-1, broken for signatures of documents; in an HMAC for old clients only.
    Sha1,
    /// MD5, likewise.
    Md5,
    /// BLAKE2b with 64 bytes of output.
    Blake2b,
    /// BLAKE2s with 32 bytes of output.
    Blake2s,
}

/// The hashes that an operator accepts: the value of `--sign-methods`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashSet(u16);

/// A name in `--sign-methods` that is no hash's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashSetError {
    /// There is no hash of this name.
    #[error("`{0}` is no sign method (known: {known})", known = HashSet::all())]
    Unknown(String),
    /// The list is empty, so that no request could be signed.
    #[error("the list of sign methods is empty")]
    Empty,
}

/// The output of a hash: up to 64 bytes, on the stack.
#[derive(Clone, Copy)]
pub(super) struct HashOutput {
    bytes: [u8; LONGEST],
    len: usize,
}

/// The output of a hash in lower-case hexadecimal digits.
#[derive(Clone, Copy)]
pub(super) struct HexOutput {
    digits: [u8; LONGEST * 2],
    len: usize,
}

/// An HMAC that has taken its key and waits for its message; a clone of it starts a message without
/// hashing the key again.
#[derive(Clone)]
pub(super) enum KeyState {
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
    Sha3_256(SimpleHmac<Sha3_256>),
    Sha3_512(SimpleHmac<Sha3_512>),
    Sha224(Hmac<Sha224>),
    Sha1(Hmac<Sha1>),
    Md5(Hmac<Md5>),
    Blake2b(SimpleHmac<Blake2b512>),
    Blake2s(SimpleHmac<Blake2s256>),
}

/// Runs an expression with `$Hash` bound to the type of a [`HashKind`].
macro_rules! with_hash {
    ($kind:expr, $Hash:ident => $body:expr) => {
        match $kind {
            HashKind::Sha256 => {
                type $Hash = Sha256;
                $body
            }
            HashKind::Sha384 => {
                type $Hash = Sha384;
                $body
            }
            HashKind::Sha512 => {
                type $Hash = Sha512;
                $body
            }
            HashKind::Sha3_256 => {
                type $Hash = Sha3_256;
                $body
            }
            HashKind::Sha3_512 => {
                type $Hash = Sha3_512;
                $body
            }
            HashKind::Sha224 => {
                type $Hash = Sha224;
                $body
            }
            HashKind::Sha1 => {
                type $Hash = Sha1;
                $body
            }
            HashKind::Md5 => {
                type $Hash = Md5;
                $body
            }
            HashKind::Blake2b => {
                type $Hash = Blake2b512;
                $body
            }
            HashKind::Blake2s => {
                type $Hash = Blake2s256;
                $body
            }
        }
    };
}

/// Runs an expression with the HMAC inside a [`KeyState`].
macro_rules! with_state {
    ($state:expr, $mac:ident => $body:expr) => {
        match $state {
            KeyState::Sha256($mac) => $body,
            KeyState::Sha384($mac) => $body,
            KeyState::Sha512($mac) => $body,
            KeyState::Sha3_256($mac) => $body,
            KeyState::Sha3_512($mac) => $body,
            KeyState::Sha224($mac) => $body,
            KeyState::Sha1($mac) => $body,
            KeyState::Md5($mac) => $body,
            KeyState::Blake2b($mac) => $body,
            KeyState::Blake2s($mac) => $body,
        }
    };
}

// === impl HashKind ===

impl HashKind {
    /// All of them, in the order of the option's documentation.
    pub const ALL: [HashKind; 10] = [
        HashKind::Sha256,
        HashKind::Sha384,
        HashKind::Sha512,
        HashKind::Sha3_256,
        HashKind::Sha3_512,
        HashKind::Sha224,
        HashKind::Sha1,
        HashKind::Md5,
        HashKind::Blake2b,
        HashKind::Blake2s,
    ];

    /// Its name in `--sign-methods`.
    pub fn name(self) -> &'static str {
        match self {
            HashKind::Sha256 => "sha256",
            HashKind::Sha384 => "sha384",
            HashKind::Sha512 => "sha512",
            HashKind::Sha3_256 => "sha3-256",
            HashKind::Sha3_512 => "sha3-512",
            HashKind::Sha224 => "sha224",
            HashKind::Sha1 => "sha1",
            HashKind::Md5 => "md5",
            HashKind::Blake2b => "blake2b",
            HashKind::Blake2s => "blake2s",
        }
    }

    /// The hash of a name in any case; hyphens and underscores do not matter, so that `SHA-256`,
    /// hashlib's `sha3_256` and `SHA3-256` are known too.
    pub fn from_name(text: &str) -> Option<HashKind> {
        let plain = |name: &'static str| name.bytes().filter(|byte| *byte != b'-');
        let given = || text.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).map(|byte| byte.to_ascii_lowercase());
        HashKind::ALL.into_iter().find(|kind| plain(kind.name()).eq(given()))
    }

    /// Hashes a text.
    pub(super) fn digest(self, data: &[u8]) -> HashOutput {
        with_hash!(self, H => HashOutput::new(&H::digest(data)))
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl HashSet ===

impl HashSet {
    /// Every hash that this program knows.
    pub fn all() -> Self {
        HashKind::ALL.into_iter().collect()
    }

    /// Whether a hash is accepted.
    pub fn contains(self, kind: HashKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The accepted hashes.
    pub fn iter(self) -> impl Iterator<Item = HashKind> {
        HashKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

/// What is accepted unless the operator says otherwise: SHA-2 from 256 bits and SHA-3.
impl Default for HashSet {
    fn default() -> Self {
        use HashKind::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
        [Sha256, Sha384, Sha512, Sha3_256, Sha3_512].into_iter().collect()
    }
}

impl FromIterator<HashKind> for HashSet {
    fn from_iter<I: IntoIterator<Item = HashKind>>(kinds: I) -> Self {
        HashSet(kinds.into_iter().fold(0, |set, kind| set | (1 << kind as u8)))
    }
}

impl FromStr for HashSet {
    type Err = ParseHashSetError;

    fn from_str(text: &str) -> Result<Self, ParseHashSetError> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let kind = |name: &str| HashKind::from_name(name).ok_or_else(|| ParseHashSetError::Unknown(name.to_owned()));
        let set: HashSet = names.map(kind).collect::<Result<_, _>>()?;
        if set.0 == 0 { Err(ParseHashSetError::Empty) } else { Ok(set) }
    }
}

impl fmt::Display for HashSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{kind}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for HashSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashSet({self})")
    }
}

// === impl HashOutput, HexOutput ===

impl HashOutput {
    fn new(output: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        for (to, from) in bytes.iter_mut().zip(output) {
            *to = *from;
        }
        HashOutput { bytes, len: output.len().min(LONGEST) }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }

    pub(super) fn hex(&self) -> HexOutput {
        const HEX: [u8; 16] = *b"0123456789abcdef";
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let mut digits = [0; LONGEST * 2];
        for (byte, [high, low]) in self.as_slice().iter().zip(digits.as_chunks_mut::<2>().0) {
            (*high, *low) = (digit(byte >> 4), digit(byte & 15));
        }
        HexOutput { digits, len: self.len * 2 }
    }
}

impl HexOutput {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or(&self.digits)
    }
}

// === impl KeyState ===

impl KeyState {
    /// Takes a key.
    pub(super) fn new(kind: HashKind, key: &[u8]) -> Self {
        match kind {
            HashKind::Sha256 => KeyState::Sha256(keyed(key)),
            HashKind::Sha384 => KeyState::Sha384(keyed(key)),
            HashKind::Sha512 => KeyState::Sha512(keyed(key)),
            HashKind::Sha3_256 => KeyState::Sha3_256(keyed(key)),
            HashKind::Sha3_512 => KeyState::Sha3_512(keyed(key)),
            HashKind::Sha224 => KeyState::Sha224(keyed(key)),
            HashKind::Sha1 => KeyState::Sha1(keyed(key)),
            HashKind::Md5 => KeyState::Md5(keyed(key)),
            HashKind::Blake2b => KeyState::Blake2b(keyed(key)),
            HashKind::Blake2s => KeyState::Blake2s(keyed(key)),
        }
    }

    /// Takes a piece of the message.
    pub(super) fn update(&mut self, piece: &[u8]) {
        with_state!(self, mac => mac.update(piece));
    }

    /// The code of the message so far.
    pub(super) fn finish(self) -> HashOutput {
        with_state!(self, mac => HashOutput::new(&mac.finalize().into_bytes()))
    }
}

/// HMAC takes keys of any length (RFC 2104: longer ones are hashed first).
fn keyed<M: KeyInit>(key: &[u8]) -> M {
    #[expect(clippy::expect_used, reason = "HMAC's key initialisation has no failing length")]
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_hash() {
        for kind in HashKind::ALL {
            assert_eq!(HashKind::from_name(kind.name()), Some(kind));
            assert_eq!(HashKind::from_name(&kind.name().to_uppercase().replace('-', "_")), Some(kind));
        }
        assert_eq!(HashKind::from_name("sha512_256"), None);
        assert_eq!(HashKind::from_name(""), None);
    }

    #[test]
    fn the_option_names_what_is_accepted() {
        let set: HashSet = "sha256, SHA3-512".parse().unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [HashKind::Sha256, HashKind::Sha3_512]);
        assert!(!set.contains(HashKind::Md5));
        assert_eq!(HashSet::default().to_string(), "sha256,sha384,sha512,sha3-256,sha3-512");
        assert_eq!(HashSet::default().to_string().parse(), Ok(HashSet::default()));
    }

    #[test]
    fn an_unknown_name_is_named_and_an_empty_list_refused() {
        let error = "sha256,sha0".parse::<HashSet>().unwrap_err().to_string();
        assert!(error.starts_with("`sha0` is no sign method (known: sha256,"), "{error}");
        assert_eq!(" ,".parse::<HashSet>(), Err(ParseHashSetError::Empty));
    }
}
