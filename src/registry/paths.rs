//! Paths of files in kernels.
//!
//! Agents are not to be relied on here: release 1.3.7 writes where a path leads, outside the kernel's folder too. So
//! a path that could lead out never reaches an agent.

use std::fmt;

/// Longest part between slashes, in bytes: what file systems allow.
const PART_MAX: usize = 255;
/// Longest path, in bytes: what Linux allows.
const PATH_MAX: usize = 4095;

/// A path below a kernel's folder: relative, without `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkPath(String);

/// Why a text is no such path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It begins with a slash.
    #[error("is not relative")]
    Absolute,
    /// A part of it is `..`.
    #[error("has a part ..")]
    Parent,
    /// It has a NUL in it.
    #[error("has a NUL character")]
    Nul,
    /// A part of it, or the whole, is too long.
    #[error("has more than {PART_MAX} bytes between slashes or {PATH_MAX} in all")]
    TooLong,
    /// It ends with a slash, or in `.`: a folder's.
    #[error("names no file")]
    NoFile,
}

impl WorkPath {
    /// Takes a text for the path of a file or folder.
    ///
    /// # Errors
    /// It is none that stays inside.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        match text {
            "" => Err(BadPath::Empty),
            _ if text.contains('\0') => Err(BadPath::Nul),
            _ if text.starts_with('/') => Err(BadPath::Absolute),
            _ if text.split('/').any(|part| part == "..") => Err(BadPath::Parent),
            _ if text.len() > PATH_MAX || text.split('/').any(|part| part.len() > PART_MAX) => Err(BadPath::TooLong),
            _ => Ok(WorkPath(text.to_owned())),
        }
    }

    /// Takes a text for the path of a file to be written.
    ///
    /// # Errors
    /// It is none that stays inside, or a folder's.
    pub fn of_file(text: &str) -> Result<Self, BadPath> {
        let path = WorkPath::parse(text)?;
        match text.rsplit('/').next() {
            Some("" | ".") => Err(BadPath::NoFile),
            _ => Ok(path),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leads_out_or_nowhere_is_refused() {
        let long = "x".repeat(PART_MAX + 1);
        let table = [
            ("", BadPath::Empty),
            ("/", BadPath::Absolute),
            ("/etc/passwd", BadPath::Absolute),
            ("..", BadPath::Parent),
            ("../x", BadPath::Parent),
            ("a/../../x", BadPath::Parent),
            ("a/..", BadPath::Parent),
            ("a\0b", BadPath::Nul),
            (&long, BadPath::TooLong),
            (&"x/".repeat(2100), BadPath::TooLong),
        ];
        for (text, why) in table {
            assert_eq!(WorkPath::parse(text), Err(why), "{text}");
            assert_eq!(WorkPath::of_file(text), Err(why), "{text}");
        }
        for folder in [".", "a/", "a/."] {
            assert!(WorkPath::parse(folder).is_ok());
            assert_eq!(WorkPath::of_file(folder), Err(BadPath::NoFile));
        }
    }

    #[test]
    fn what_stays_inside_is_taken_as_it_is() {
        for text in ["a", "a/b.txt", "./a", "..a", "a..", "...", "ä/ö", "a b", &"x".repeat(PART_MAX)] {
            assert_eq!(WorkPath::of_file(text).unwrap().as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn no_path_that_is_taken_climbs(text in "[a./]{0,12}") {
            if let Ok(path) = WorkPath::parse(&text) {
                let depth_below_zero = path.as_str().split('/').scan(0i32, |depth, part| {
                    *depth += match part { ".." => -1, "" | "." => 0, _ => 1 };
                    Some(*depth)
                }).any(|depth| depth < 0);
                prop_assert!(!depth_below_zero && !path.as_str().starts_with('/'));
            }
        }
    }
}
