//! Paths inside a folder as clients name them.
//!
//! This type is the first of two fences. It refuses what no honest client sends (`..`, absolute paths, NUL,
//! empty parts), so that the answer says what is wrong. The second one is the kernel's: every path is resolved
//! beneath the folder's own directory ([`super::fs`]), whatever symbolic links are on the way.

use std::fmt;

/// A relative path of plain names, in UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderPath(String);

/// Why a text is no path inside a folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// There is nothing in it.
    #[error("a path is empty")]
    Empty,
    /// It begins with `/`.
    #[error("{0:?} is absolute, paths are relative to the folder")]
    Absolute(String),
    /// A part is empty, `.` or `..`.
    #[error("{0:?} has a part that is empty, \".\" or \"..\"")]
    Part(String),
    /// It holds a NUL.
    #[error("a path holds a NUL byte")]
    Nul,
    /// A part is longer than 255 bytes, or the whole than 4095.
    #[error("a path is too long: at most {PART_MAX} bytes a part and {PATH_MAX} in all")]
    TooLong,
    /// A part begins with what temporary names begin with.
    #[error("names that begin with {RESERVED:?} are reserved")]
    Reserved,
    /// It is not UTF-8.
    #[error("a path is not UTF-8")]
    NotUtf8,
}

/// Longest part in bytes (`NAME_MAX` of Linux).
pub const PART_MAX: usize = 255;
/// Longest path in bytes (`PATH_MAX` of Linux is 4096 with the NUL behind it).
pub const PATH_MAX: usize = 4095;
/// What the names of unfinished uploads and of what is being removed begin with.
pub const RESERVED: &str = ".backendai-";

// === impl FolderPath ===

impl FolderPath {
    /// A path to something in the folder. Percent escapes must have been decoded.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        match text {
            "" => return Err(BadPath::Empty),
            _ if text.len() > PATH_MAX => return Err(BadPath::TooLong),
            _ if text.contains('\0') => return Err(BadPath::Nul),
            _ if text.starts_with('/') => return Err(BadPath::Absolute(text.to_owned())),
            _ => {}
        }
        text.split('/').try_for_each(|part| check_part(part, text))?;
        Ok(FolderPath(text.to_owned()))
    }

    /// As [`FolderPath::parse`], of bytes that a client sent.
    ///
    /// # Errors
    /// They are not UTF-8, or no path.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPath> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| BadPath::NotUtf8)?)
    }

    /// A directory to list: nothing and `.` are the folder itself (`None`).
    ///
    /// # Errors
    /// As for [`FolderPath::parse`].
    pub fn directory(text: &str) -> Result<Option<Self>, BadPath> {
        if matches!(text, "" | ".") { Ok(None) } else { Self::parse(text).map(Some) }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        split(&self.0).1
    }

    /// All but the last part; `None` is the folder itself.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        split(&self.0).0
    }
}

impl fmt::Display for FolderPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All but the last part, if there are several, and the last part.
pub(super) fn split(path: &str) -> (Option<&str>, &str) {
    path.rsplit_once('/').map_or((None, path), |(parent, name)| (Some(parent), name))
}

/// A path's beginnings, shortest first, the whole path last.
pub(super) fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.filter_map(|end| path.get(..end))
}

fn check_part(part: &str, whole: &str) -> Result<(), BadPath> {
    match part {
        "" | "." | ".." => Err(BadPath::Part(whole.to_owned())),
        _ if part.len() > PART_MAX => Err(BadPath::TooLong),
        _ if part.starts_with(RESERVED) => Err(BadPath::Reserved),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_relative_paths_are_taken_as_they_are() {
        for good in ["a", "a/b.txt", "...", "a/..b", "b../c", ".hidden", "한글/파일", "a b", "a\\..\\b", "%2e%2e/x"]
        {
            assert_eq!(FolderPath::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn every_way_out_is_refused() {
        for bad in ["..", "../x", "a/..", "a/../b", "a/../../b", ".", "./a", "a/.", "a/./b", "a//b", "a/", "a/b/"] {
            assert_eq!(FolderPath::parse(bad), Err(BadPath::Part(bad.into())), "{bad:?}");
        }
        for bad in ["/", "/etc/passwd", "//a", "/../x"] {
            assert_eq!(FolderPath::parse(bad), Err(BadPath::Absolute(bad.into())), "{bad:?}");
        }
        assert_eq!(FolderPath::parse(""), Err(BadPath::Empty));
        assert_eq!(FolderPath::parse("a\0b"), Err(BadPath::Nul));
        assert_eq!(FolderPath::parse("/\0"), Err(BadPath::Nul));
        assert_eq!(FolderPath::parse("x/.backendai-upload-1"), Err(BadPath::Reserved));
        assert_eq!(FolderPath::from_bytes(b"a/\xff"), Err(BadPath::NotUtf8));
        // What a client escaped is looked at after it was decoded.
        let decoded: Vec<u8> = percent_encoding::percent_decode_str("%2e%2e/x").collect();
        assert_eq!(FolderPath::from_bytes(&decoded), Err(BadPath::Part("../x".into())));
    }

    #[test]
    fn lengths_are_those_of_linux() {
        let part = "x".repeat(PART_MAX);
        assert!(FolderPath::parse(&part).is_ok());
        assert_eq!(FolderPath::parse(&format!("a/{part}x")), Err(BadPath::TooLong));
        let longest = vec![part; 16].join("/");
        assert_eq!(longest.len(), PATH_MAX);
        assert!(FolderPath::parse(&longest).is_ok());
        assert_eq!(FolderPath::parse(&"a/".repeat(2047)), Err(BadPath::Part("a/".repeat(2047))));
        assert_eq!(FolderPath::parse(&format!("{}aa", "a/".repeat(2047))), Err(BadPath::TooLong));
    }

    #[test]
    fn a_directory_to_list_may_be_the_folder_itself() {
        assert_eq!(FolderPath::directory(""), Ok(None));
        assert_eq!(FolderPath::directory("."), Ok(None));
        assert_eq!(FolderPath::directory("a").unwrap().unwrap().as_str(), "a");
        assert!(FolderPath::directory("..").is_err());
    }

    proptest! {
        #[test]
        fn what_is_parsed_never_climbs(text in r"[a./\x00%\\ä-]{0,24}") {
            if let Ok(path) = FolderPath::parse(&text) {
                prop_assert_eq!(path.as_str(), &text);
                let parts = std::path::Path::new(path.as_str()).components();
                prop_assert!(parts.clone().all(|part| matches!(part, std::path::Component::Normal(_))));
                prop_assert_eq!(parts.count(), prefixes(path.as_str()).count());
                let joined = path.parent().map_or(path.name().to_owned(), |it| format!("{it}/{}", path.name()));
                prop_assert_eq!(joined, text);
            }
        }

        #[test]
        fn joined_plain_names_are_a_path(parts in prop::collection::vec("[^/\0]{1,40}", 1..6)) {
            let plain = |part: &String| part != "." && part != ".." && part.len() <= PART_MAX
                && !part.starts_with(RESERVED);
            prop_assert_eq!(FolderPath::parse(&parts.join("/")).is_ok(), parts.iter().all(plain));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = FolderPath::from_bytes(&bytes);
        }
    }
}
