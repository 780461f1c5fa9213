//! What a folder may be called, and what a key may do with it.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// A folder's name: 1 to 64 letters, digits, `.`, `_`, `-`, beginning and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderName(String);

/// Why a text is no name of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a folder's name has 1 to 64 letters, digits, '.', '_' or '-', and begins and ends with a letter or digit")]
pub struct BadName;

/// What a key may do with a folder; each permission includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// `ro`: list and download.
    ReadOnly,
    /// `rw`: also upload and make directories.
    ReadWrite,
    /// `wd`: also delete files; what an owner has.
    WriteDelete,
}

/// Why a text is no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permission is one of ro, rw, wd")]
pub struct BadPermission;

/// Longest name in bytes: the column's width.
const NAME_MAX: usize = 64;

// === impl FolderName ===

impl FolderName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FolderName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let good = bytes.len() <= NAME_MAX && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner);
        good.then(|| FolderName(text.to_owned())).ok_or(BadName)
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Permission ===

impl Permission {
    /// The two letters of the API and of the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::ReadOnly => "ro",
            Permission::ReadWrite => "rw",
            Permission::WriteDelete => "wd",
        }
    }

    /// Whether who has this may do what takes `needed`.
    #[must_use]
    pub fn allows(self, needed: Permission) -> bool {
        self >= needed
    }
}

impl FromStr for Permission {
    type Err = BadPermission;

    fn from_str(text: &str) -> Result<Self, BadPermission> {
        let all = [Permission::ReadOnly, Permission::ReadWrite, Permission::WriteDelete];
        all.into_iter().find(|it| it.as_str() == text).ok_or(BadPermission)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        for good in ["a", "7", "my-data.v2", "A_B", &"x".repeat(64), "a..b"] {
            assert_eq!(good.parse::<FolderName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".a", "a.", "-a", "a-", "_a", "a b", "a/b", "ä", "a\n", "a\0b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<FolderName>(), Err(BadName), "{bad:?}");
        }
    }

    #[test]
    fn permissions_include_the_weaker_ones() {
        use Permission::{ReadOnly, ReadWrite, WriteDelete};
        let table =
            [(ReadOnly, [true, false, false]), (ReadWrite, [true, true, false]), (WriteDelete, [true, true, true])];
        for (has, expected) in table {
            assert_eq!([ReadOnly, ReadWrite, WriteDelete].map(|needed| has.allows(needed)), expected, "{has}");
            assert_eq!(has.as_str().parse(), Ok(has));
        }
        assert_eq!("RW".parse::<Permission>(), Err(BadPermission));
    }
}
