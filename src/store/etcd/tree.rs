//! The followed keys of a namespace as etcd has them, kept up to date by the batches of a watch.

use std::collections::BTreeMap;

use super::{
    keys,
    link::{Batch, Change, Stored},
    parse::parse,
    snapshot::Snapshot,
};

/// Keys relative to the namespace's root, each with its value, revision and lease.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: String,
    entries: BTreeMap<String, Stored>,
    revision: i64,
}

// === impl Tree ===

impl Tree {
    /// From everything that was read below the root.
    pub fn new(root: &str, read: Batch) -> Tree {
        let mut tree = Tree { root: root.to_owned(), ..Tree::default() };
        tree.apply(read);
        tree
    }

    /// Takes changes in; whether any of them is of a key that is followed.
    pub fn apply(&mut self, batch: Batch) -> bool {
        self.revision = self.revision.max(batch.revision);
        let mut followed = false;
        for change in batch.changes {
            followed |= self.apply_one(change);
        }
        followed
    }

    fn apply_one(&mut self, change: Change) -> bool {
        let Ok(key) = String::from_utf8(change.key) else { return false };
        let Some(key) = key.strip_prefix(&self.root).filter(|key| keys::is_followed(key)) else { return false };
        match change.value {
            Some(stored) => self.entries.insert(key.to_owned(), stored),
            None => self.entries.remove(key),
        };
        true
    }

    /// One key.
    pub fn get(&self, key: &str) -> Option<&Stored> {
        self.entries.get(key)
    }

    /// The revision of a key's last change; 0, as in etcd's conditions, if it is not there.
    pub fn mod_revision(&self, key: &str) -> i64 {
        self.get(key).map_or(0, |stored| stored.mod_revision)
    }

    /// What stands before every key.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The revision up to which all changes are in.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Parsed for readers.
    pub fn snapshot(&self) -> Snapshot {
        parse(self.entries.iter().map(|(key, stored)| (key.as_str(), stored.value.as_str())), self.revision)
    }
}
