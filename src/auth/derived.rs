//! The cache of signing keys.
//!
//! A signing key belongs to an access key, its secret, a hash, a day and a host, and costs four
//! times what the signature itself does. Entries are made by requests that proved right only: a
//! client can fill the cache with hosts of its own invention, but not one without a secret. Bounded
//! by two generations: when the younger is full it becomes the older, and the older is forgotten;
//! what is used moves to the younger.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
};

use super::{
    AccessKey,
    hashes::{HashKind, HexOutput, KeyState},
    signature::derive,
};

/// What a signing key is made of.
#[derive(Clone, Copy)]
pub(super) struct KeyOrigin<'a> {
    pub(super) access_key: AccessKey,
    pub(super) secret: &'a str,
    pub(super) kind: HashKind,
    pub(super) ymd: [u8; 8],
    pub(super) host: &'a str,
}

/// Signing keys that proved right, ready to sign, and the hashes of the empty body. One per worker.
pub struct DerivedKeys {
    hasher: RandomState,
    young: HashMap<u64, Entry>,
    old: HashMap<u64, Entry>,
    /// How many entries one generation holds.
    generation: usize,
    pub(super) empty_body: EmptyBody,
}

/// The hash of the empty body in hexadecimal digits, per hash, made when first asked for: every
/// request of version 4 signs it.
#[derive(Default)]
pub(super) struct EmptyBody([Option<HexOutput>; HashKind::ALL.len()]);

struct Entry {
    access_key: AccessKey,
    /// With the secret in the entry, a key pair whose secret changed finds nothing here.
    secret: Box<str>,
    kind: HashKind,
    ymd: [u8; 8],
    host: Box<str>,
    state: Box<KeyState>,
}

// === impl DerivedKeys ===

impl DerivedKeys {
    /// A cache of at most `capacity` keys (at least 2; 0.5 to 1 KiB each).
    pub fn new(capacity: usize) -> Self {
        DerivedKeys {
            hasher: RandomState::new(),
            young: HashMap::new(),
            old: HashMap::new(),
            generation: (capacity / 2).max(1),
            empty_body: EmptyBody::default(),
        }
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `check` with the key's state (and the hashes of the empty body) and gives its answer. A
    /// key that was not here is kept if the answer is yes.
    pub(super) fn with(
        &mut self,
        origin: KeyOrigin<'_>,
        check: impl FnOnce(&KeyState, &mut EmptyBody) -> bool,
    ) -> bool {
        let slot = self.slot(&origin);
        if let Some(entry) = self.young.get(&slot).filter(|entry| entry.is_of(&origin)) {
            return check(&entry.state, &mut self.empty_body);
        }
        let entry = match self.old.remove(&slot).filter(|entry| entry.is_of(&origin)) {
            Some(entry) => entry,
            None => Entry::new(&origin),
        };
        let right = check(&entry.state, &mut self.empty_body);
        if right {
            self.keep(slot, entry);
        }
        right
    }

    fn keep(&mut self, slot: u64, entry: Entry) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(slot, entry);
    }

    fn slot(&self, origin: &KeyOrigin<'_>) -> u64 {
        self.hasher.hash_one((origin.access_key.as_str(), origin.kind, origin.ymd, origin.host))
    }
}

impl std::fmt::Debug for DerivedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DerivedKeys({} keys)", self.len())
    }
}

// === impl Entry ===

impl Entry {
    fn new(origin: &KeyOrigin<'_>) -> Self {
        Entry {
            access_key: origin.access_key,
            secret: origin.secret.into(),
            kind: origin.kind,
            ymd: origin.ymd,
            host: origin.host.into(),
            state: Box::new(derive(origin.kind, origin.secret.as_bytes(), &origin.ymd, origin.host)),
        }
    }

    fn is_of(&self, origin: &KeyOrigin<'_>) -> bool {
        self.access_key == origin.access_key
            && self.kind == origin.kind
            && self.ymd == origin.ymd
            && *self.host == *origin.host
            && *self.secret == *origin.secret
    }
}

// === impl EmptyBody ===

impl EmptyBody {
    pub(super) fn hex(&mut self, kind: HashKind) -> HexOutput {
        match self.0.get_mut(kind as usize) {
            Some(kept) => *kept.get_or_insert_with(|| kind.digest(&[]).hex()),
            None => kind.digest(&[]).hex(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin<'a>(secret: &'a str, host: &'a str) -> KeyOrigin<'a> {
        let access_key = AccessKey::new("AKIA").unwrap();
        KeyOrigin { access_key, secret, kind: HashKind::Sha256, ymd: *b"20261122", host }
    }

    fn code(keys: &mut DerivedKeys, origin: KeyOrigin<'_>) -> Vec<u8> {
        let mut code = Vec::new();
        keys.with(origin, |state, _| {
            code = state.clone().finish().as_slice().to_vec();
            true
        });
        code
    }

    #[test]
    fn a_kept_key_is_the_derived_one_and_a_new_secret_gives_a_new_key() {
        let mut keys = DerivedKeys::new(8);
        let fresh = |secret| derive(HashKind::Sha256, secret, b"20261122", "a").finish().as_slice().to_vec();
        for _ in 0..2 {
            assert_eq!(code(&mut keys, origin("old", "a")), fresh(b"old"));
            assert_eq!(code(&mut keys, origin("new", "a")), fresh(b"new"));
        }
        assert_eq!(keys.len(), 1, "the new secret's key took the place of the old one's");
    }

    #[test]
    fn only_keys_that_proved_right_are_kept_and_never_more_than_the_bound() {
        let mut keys = DerivedKeys::new(8);
        assert!(!keys.with(origin("s", "a"), |_, _| false));
        assert!(keys.is_empty());
        for host in 0..100 {
            code(&mut keys, origin("s", &host.to_string()));
            code(&mut keys, origin("s", "often"));
            assert!(keys.len() <= 8);
        }
        let kept = keys.young.values().chain(keys.old.values()).any(|entry| &*entry.host == "often");
        assert!(kept, "what is used stays");
    }
}
