//! A folder's files.
//!
//! What lies in a folder is hostile: sessions mount it and may place symbolic links, FIFOs and device nodes in it,
//! and swap any of them at any moment. So nothing here looks at a path and then uses it: each path is resolved once,
//! by openat2(2) beneath the folder's directory (RESOLVE_BENEATH: neither `..` nor a link leads out), and what was
//! opened is what is used. To create, replace and remove, the directory is opened that way and then one plain name
//! in it is acted upon, by calls that do not follow links.
//!
//! Uploads go to files with reserved names in the folder's own directory and are renamed to where they belong; what
//! is removed is first renamed to such a name. So both are atomic for everybody else, both are counted exactly, and
//! what a killed process leaves is known by its name ([`Walk`] clears it away).
//!
//! Everything here blocks: call it by [`crate::engine::offload`].

mod beneath;
mod download;
mod error;
mod list;
mod remove;
mod temp;
mod upload;
mod walk;

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{FileStat, Mode, SFlag, mkdirat},
};
use uuid::Uuid;

pub use self::{
    download::Opened,
    error::FsError,
    list::{Entry, MAX_LISTED, file_mode},
    remove::{Found, Removal},
    upload::{Incoming, Staged},
    walk::Walk,
};
use super::path::{FolderPath, prefixes, split};

/// What of files and of KiB something adds to a folder, or takes from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Everything but directories.
    pub files: i64,
    /// Each file's length rounded up to KiB.
    pub kib: i64,
}

/// A folder's directory; clones are the same one.
#[derive(Clone, Debug)]
pub struct Folder {
    root: Arc<OwnedFd>,
}

/// Permissions of what is made here, before the process's umask: sessions run as other users.
const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o777);
const FILE_MODE: u64 = 0o666;

// === impl Folder ===

impl Folder {
    /// Makes the directory of a new folder. The volume's own directory is made too if its parent exists, as the
    /// original manager did.
    ///
    /// # Errors
    /// The system's; it exists.
    pub fn create(volume: &Path, id: Uuid) -> Result<Folder, FsError> {
        match nix::unistd::mkdir(volume, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(FsError::volume(volume, errno)),
        }
        let host = open_volume(volume)?;
        mkdirat(&host, id.simple().to_string().as_str(), DIRECTORY_MODE).map_err(FsError::from)?;
        Folder::open(volume, id)
    }

    /// Opens a folder's directory.
    ///
    /// # Errors
    /// It, or the volume, is not there.
    pub fn open(volume: &Path, id: Uuid) -> Result<Folder, FsError> {
        let host = open_volume(volume)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let root = beneath::open_plain(host.as_fd(), id.simple().to_string().as_str(), flags)
            .map_err(|errno| FsError::volume(&volume.join(id.simple().to_string()), errno))?;
        Ok(Folder { root: Arc::new(root) })
    }

    /// Whether the volume can be used.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_volume(volume: &Path) -> Result<(), FsError> {
        open_volume(volume).map(drop)
    }

    /// Takes the whole folder out of its volume, to be removed.
    ///
    /// # Errors
    /// The system's. A folder that is not there is removed already.
    pub fn take_away(volume: &Path, id: Uuid) -> Result<Option<Removal>, FsError> {
        let host = Arc::new(open_volume(volume)?);
        remove::take(&host, host.as_fd(), &id.simple().to_string())
    }

    /// What killed processes left of whole folders on this volume: to be removed.
    ///
    /// # Errors
    /// The system's.
    pub fn left_over(volume: &Path) -> Result<Vec<Removal>, FsError> {
        remove::left_over(&Arc::new(open_volume(volume)?))
    }

    /// Makes a directory with those above it. One that exists already is fine.
    ///
    /// # Errors
    /// A file is in the way, or the path leads outside.
    pub fn make_directory(&self, path: &FolderPath) -> Result<(), FsError> {
        self.ensure_directory(path.as_str()).map(drop)
    }

    /// Opens a directory, made where it is missing.
    fn ensure_directory(&self, path: &str) -> Result<OwnedFd, FsError> {
        match self.directory(Some(path)) {
            Err(FsError::NotFound(_)) => {}
            other => return other,
        }
        for prefix in prefixes(path) {
            let (parent, name) = split(prefix);
            match mkdirat(self.directory(parent)?, name, DIRECTORY_MODE) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(FsError::at(path, errno)),
            }
        }
        self.directory(Some(path))
    }

    /// Opens a directory for reading; `None` is the folder itself, with a position of its own.
    fn directory(&self, path: Option<&str>) -> Result<OwnedFd, FsError> {
        let path = path.unwrap_or(".");
        beneath::open(self.root(), path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(|errno| FsError::at(path, errno))
    }

    fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

// === impl Usage ===

impl Usage {
    /// Of one thing in a directory.
    fn of(stat: &FileStat) -> Usage {
        match kind(stat) {
            SFlag::S_IFDIR => Usage::default(),
            SFlag::S_IFREG => Usage { files: 1, kib: kib(stat.st_size.unsigned_abs()) },
            _ => Usage { files: 1, kib: 0 },
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage { files: self.files + other.files, kib: self.kib + other.kib }
    }

    /// This, but nothing below zero.
    #[must_use]
    pub fn at_least_none(self) -> Usage {
        Usage { files: self.files.max(0), kib: self.kib.max(0) }
    }

    /// What is left of this without the other.
    #[must_use]
    pub fn minus(self, other: Usage) -> Usage {
        Usage { files: self.files - other.files, kib: self.kib - other.kib }
    }
}

/// A length in bytes, in KiB rounded up.
fn kib(bytes: u64) -> i64 {
    bytes.div_ceil(1024).cast_signed()
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// The volume is the operator's: links on the way to it are fine.
fn open_volume(volume: &Path) -> Result<OwnedFd, FsError> {
    let opened = nix::fcntl::open(volume, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    opened.map_err(|errno| FsError::volume(volume, errno))
}

/// Opens, for reading, what a descriptor of [`OFlag::O_PATH`] is: that and nothing else. Without waiting: a session
/// may hold a lease on a file, and an open that waits for its end would hold a thread for 45 seconds.
fn reopen(fd: BorrowedFd<'_>) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    nix::fcntl::open(path.as_str(), flags, Mode::empty()).map(File::from)
}

#[cfg(test)]
mod tests;
