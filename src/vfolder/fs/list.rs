//! What is in a directory.

use nix::{
    errno::Errno,
    sys::stat::{FileStat, SFlag},
};
use serde::Serialize;

use super::{Folder, FsError, beneath, kind, temp};
use crate::vfolder::path::FolderPath;

/// Most entries of a directory that are listed: the answer is one text in memory.
pub const MAX_LISTED: usize = 100_000;

/// One thing in a directory, serialized as the original manager did. Times are seconds since 1970 with fraction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// As `ls -l` shows it: `-rw-r--r--`. Of a symbolic link, its own.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// When it was last changed in any way.
    pub ctime: f64,
    /// When it was last written.
    pub mtime: f64,
    /// When it was last read, as far as the volume notes that.
    pub atime: f64,
    /// Its name. What is not UTF-8 is shown as U+FFFD, and cannot be named by a client.
    pub filename: String,
}

// === impl Folder ===

impl Folder {
    /// What is in a directory, sorted by name; unfinished uploads are left out.
    ///
    /// # Errors
    /// It is not there, not a directory, outside, or has more than [`MAX_LISTED`] entries.
    pub fn list(&self, path: Option<&FolderPath>) -> Result<Vec<Entry>, FsError> {
        let shown = path.map_or(".", FolderPath::as_str);
        let directory = self.directory(path.map(FolderPath::as_str))?;
        let names = beneath::names(directory.try_clone().map_err(FsError::Io)?)?;
        let mut entries = Vec::new();
        for name in names {
            let name = name?;
            let name = name.file_name();
            if temp::is_reserved(name.to_bytes()) {
                continue;
            }
            match beneath::look(&directory, name) {
                Ok(stat) => entries.push(Entry::new(name.to_bytes(), &stat)),
                Err(Errno::ENOENT) => {} // gone meanwhile
                Err(errno) => return Err(FsError::at(shown, errno)),
            }
            if entries.len() > MAX_LISTED {
                return Err(FsError::TooMany(shown.to_owned()));
            }
        }
        entries.sort_by(|a, b| a.filename.cmp(&b.filename));
        Ok(entries)
    }
}

// === impl Entry ===

impl Entry {
    fn new(name: &[u8], stat: &FileStat) -> Entry {
        Entry {
            mode: file_mode(stat.st_mode),
            size: stat.st_size.unsigned_abs(),
            ctime: seconds(stat.st_ctime, stat.st_ctime_nsec),
            mtime: seconds(stat.st_mtime, stat.st_mtime_nsec),
            atime: seconds(stat.st_atime, stat.st_atime_nsec),
            filename: String::from_utf8_lossy(name).into_owned(),
        }
    }
}

fn seconds(whole: i64, nanoseconds: i64) -> f64 {
    whole as f64 + nanoseconds as f64 / 1e9
}

/// A file's type and permissions in ten characters, as `ls -l` and Python's `stat.filemode` write them.
#[must_use]
pub fn file_mode(mode: u32) -> String {
    let what = match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => 'd',
        SFlag::S_IFLNK => 'l',
        SFlag::S_IFREG => '-',
        SFlag::S_IFIFO => 'p',
        SFlag::S_IFSOCK => 's',
        SFlag::S_IFCHR => 'c',
        SFlag::S_IFBLK => 'b',
        _ => '?',
    };
    let has = |bit: u32| mode & bit != 0;
    let mut text = String::from(what);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        text.push(if has(0o4 << shift) { 'r' } else { '-' });
        text.push(if has(0o2 << shift) { 'w' } else { '-' });
        text.push(match (has(special), has(0o1 << shift)) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Whether it is a directory itself, not a link to one.
pub(super) fn is_directory(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFDIR
}
