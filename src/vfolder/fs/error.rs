//! What can go wrong with files.

use std::{io, path::Path};

use nix::errno::Errno;

/// Why a file operation was not done. Texts hold paths as the client gave them, never where the folder is, but
/// [`FsError::Volume`], which is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// There is no such file or directory.
    #[error("{0:?} does not exist")]
    NotFound(String),
    /// A symbolic link on the way leads out of the folder, or in circles.
    #[error("{0:?} leads outside of the folder")]
    Outside(String),
    /// A file was needed.
    #[error("{0:?} is not a regular file")]
    NotAFile(String),
    /// A directory was needed, here or on the way.
    #[error("{0:?} is not in a directory, or not one itself")]
    NotADirectory(String),
    /// A directory is removed only together with what is in it.
    #[error("{0:?} is a directory")]
    IsADirectory(String),
    /// The system does not let the gateway: the file belongs to another user.
    #[error("{0:?} may not be accessed by the gateway")]
    Denied(String),
    /// A name or path is too long for the volume's file system.
    #[error("{0:?} is too long")]
    TooLong(String),
    /// A session holds a lease on the file.
    #[error("{0:?} is in use")]
    Busy(String),
    /// The directory has more entries than are listed.
    #[error("{0:?} has too many entries")]
    TooMany(String),
    /// A file became shorter while it was read.
    #[error("{0:?} became shorter while it was read")]
    Shrunk(String),
    /// The volume is full.
    #[error("the volume is full")]
    Full,
    /// The volume, or the folder's directory on it, is not there.
    #[error("{0} cannot be used: {1}")]
    Volume(String, #[source] io::Error),
    /// Anything else.
    #[error("the volume fails: {0}")]
    Io(#[source] io::Error),
}

// === impl FsError ===

impl FsError {
    /// Of a path that a client gave.
    pub(super) fn at(path: &str, errno: Errno) -> FsError {
        let path = path.to_owned();
        match errno {
            Errno::ENOENT => FsError::NotFound(path),
            Errno::EXDEV | Errno::ELOOP => FsError::Outside(path),
            Errno::ENOTDIR => FsError::NotADirectory(path),
            Errno::EISDIR => FsError::IsADirectory(path),
            Errno::EACCES | Errno::EPERM => FsError::Denied(path),
            Errno::EWOULDBLOCK | Errno::EBUSY => FsError::Busy(path),
            Errno::ENAMETOOLONG => FsError::TooLong(path),
            other => other.into(),
        }
    }

    /// Of the volume itself.
    pub(super) fn volume(path: &Path, errno: Errno) -> FsError {
        FsError::Volume(path.display().to_string(), errno.into())
    }
}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOSPC | Errno::EDQUOT => FsError::Full,
            other => FsError::Io(other.into()),
        }
    }
}
