//! Reading a file, piece by piece.

use std::{fs::File, os::fd::AsFd, os::unix::fs::FileExt};

use nix::{
    fcntl::OFlag,
    sys::stat::{SFlag, fstat},
};

use super::{Folder, FsError, beneath, kind, reopen};
use crate::vfolder::path::FolderPath;

/// A file that is open for reading, and how long it was when it was opened.
#[derive(Debug)]
pub struct Opened {
    file: File,
    path: String,
    size: u64,
}

// === impl Folder ===

impl Folder {
    /// Opens a regular file for reading; links that stay inside the folder are followed.
    ///
    /// # Errors
    /// It is not there, outside, or something else than a file.
    pub fn open_file(&self, path: &FolderPath) -> Result<Opened, FsError> {
        // First without opening it: to open a device node that a session made may already do harm.
        let at_path = |errno| FsError::at(path.as_str(), errno);
        let found = beneath::open(self.root(), path.as_str(), OFlag::O_PATH).map_err(at_path)?;
        if kind(&fstat(&found)?) != SFlag::S_IFREG {
            return Err(FsError::NotAFile(path.to_string()));
        }
        let file = reopen(found.as_fd()).map_err(at_path)?;
        let size = file.metadata().map_err(FsError::Io)?.len();
        Ok(Opened { file, path: path.to_string(), size })
    }
}

// === impl Opened ===

impl Opened {
    /// Bytes when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from an offset on, at most `limit` and at most up to the size at opening; empty there.
    ///
    /// # Errors
    /// The file became shorter, or the volume fails.
    pub fn read(&self, offset: u64, limit: usize) -> Result<Vec<u8>, FsError> {
        let left = self.size.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(limit)];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(FsError::Shrunk(self.path.clone())),
            Err(error) => Err(FsError::Io(error)),
        }
    }
}
