//! Removing files and whole trees.
//!
//! What is removed first gets a reserved name in the folder's directory, by one rename: from then on it is nobody
//! else's, so that it is counted once. A tree is then taken apart flat: the directories in a directory move up
//! before it is removed, so that no depth that a session made costs more than two descriptors, or a path that is
//! too long to open.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, renameat},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{
    Folder, FsError, Usage, beneath,
    list::is_directory,
    temp::{is_reserved, removal_name},
};
use crate::vfolder::path::FolderPath;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A directory.
    Directory,
    /// Anything else; a symbolic link is itself.
    File,
}

/// Something that is being removed; a step at a time, so that a large tree does not hold a thread.
#[derive(Debug)]
pub struct Removal {
    top: Arc<OwnedFd>,
    name: CString,
    removed: Usage,
}

// === impl Folder ===

impl Folder {
    /// What is at a path.
    ///
    /// # Errors
    /// It is not there, or outside.
    pub fn find(&self, path: &FolderPath) -> Result<Found, FsError> {
        let parent = self.directory(path.parent())?;
        let stat = beneath::look(&parent, path.name()).map_err(|errno| FsError::at(path.as_str(), errno))?;
        Ok(if is_directory(&stat) { Found::Directory } else { Found::File })
    }

    /// Takes a file, or a directory with all that is in it, out of the folder: nobody finds it from then on.
    /// [`Removal::step`] removes it.
    ///
    /// # Errors
    /// It is not there, or outside.
    pub fn take(&self, path: &FolderPath) -> Result<Removal, FsError> {
        let parent = self.directory(path.parent())?;
        let taken = take(&self.root, parent.as_fd(), path.name())?;
        taken.ok_or_else(|| FsError::NotFound(path.to_string()))
    }
}

/// Gives a name in a directory a reserved name in `top`.
pub(super) fn take(top: &Arc<OwnedFd>, parent: BorrowedFd<'_>, name: &str) -> Result<Option<Removal>, FsError> {
    let fresh = removal_name();
    match renameat(parent, name, top, fresh.as_str()) {
        Ok(()) => Ok(Some(Removal::new(top, CString::new(fresh).unwrap_or_default()))),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(FsError::at(name, errno)),
    }
}

/// What others began to remove in `top`.
pub(super) fn left_over(top: &Arc<OwnedFd>) -> Result<Vec<Removal>, FsError> {
    let mut found = Vec::new();
    for entry in beneath::names(top.try_clone().map_err(FsError::Io)?)? {
        let entry = entry?;
        if is_reserved(entry.file_name().to_bytes()) {
            found.push(Removal::new(top, entry.file_name().to_owned()));
        }
    }
    Ok(found)
}

// === impl Removal ===

impl Removal {
    /// Of something in `top` that has a reserved name.
    pub(super) fn new(top: &Arc<OwnedFd>, name: CString) -> Removal {
        Removal { top: top.clone(), name, removed: Usage::default() }
    }

    /// What was removed so far.
    #[must_use]
    pub fn removed(&self) -> Usage {
        self.removed
    }

    /// Removes about `budget` things; whether all is gone.
    ///
    /// # Errors
    /// The volume refuses; what is left has a reserved name and is cleared away later.
    pub fn step(&mut self, budget: usize) -> Result<bool, FsError> {
        let mut left = budget;
        match self.unlink(self.top.clone().as_fd(), &self.name.clone(), &mut left) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(true),
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
            Err(errno) => return Err(errno.into()),
        }
        if let Some(tree) = open_directory(self.top.as_fd(), &self.name)? {
            self.flatten(&tree, &mut left)?;
        }
        Ok(false)
    }

    /// Removes all that is in a directory, or as much as may be in one step.
    fn flatten(&mut self, tree: &OwnedFd, left: &mut usize) -> Result<(), FsError> {
        for entry in names(tree)? {
            match self.unlink(tree.as_fd(), &entry, left) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EEXIST | Errno::ENOTEMPTY) => self.lift(tree, &entry, left)?,
                Err(errno) => return Err(errno.into()),
            }
            if *left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Removes what is in a directory of `tree`, but moves its directories up into `tree`.
    fn lift(&mut self, tree: &OwnedFd, name: &CStr, left: &mut usize) -> Result<(), FsError> {
        let Some(directory) = open_directory(tree.as_fd(), name)? else { return Ok(()) };
        for entry in names(&directory)? {
            match self.unlink(directory.as_fd(), &entry, left) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EEXIST | Errno::ENOTEMPTY) => {
                    move_up(&directory, &entry, tree)?;
                }
                Err(errno) => return Err(errno.into()),
            }
            if *left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Removes a file or an empty directory, and counts it. What a session turned into the other kind at this moment
    /// is like a directory that is not empty: left for the next step.
    fn unlink(&mut self, directory: BorrowedFd<'_>, name: &CStr, left: &mut usize) -> nix::Result<()> {
        *left = left.saturating_sub(1);
        let stat = beneath::look(directory, name)?;
        let how = if is_directory(&stat) { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
        unlinkat(directory, name, how).map_err(|errno| match errno {
            Errno::EISDIR | Errno::ENOTDIR => Errno::ENOTEMPTY,
            other => other,
        })?;
        self.removed = self.removed.plus(Usage::of(&stat));
        Ok(())
    }
}

/// A directory, if it still is one.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>, FsError> {
    match beneath::open_plain(parent, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn move_up(directory: &OwnedFd, name: &CStr, tree: &OwnedFd) -> Result<(), FsError> {
    match renameat(directory, name, tree, removal_name().as_str()) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The names in a directory, a bounded number of them: what is more comes with a later step.
fn names(directory: &OwnedFd) -> Result<Vec<CString>, FsError> {
    const AT_ONCE: usize = 4096;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    // Opened anew, so that it is read from its beginning.
    let again = beneath::open_plain(directory.as_fd(), ".", flags)?;
    let names = beneath::names(again)?.take(AT_ONCE);
    Ok(names.map(|entry| entry.map(|it| it.file_name().to_owned())).collect::<nix::Result<_>>()?)
}
