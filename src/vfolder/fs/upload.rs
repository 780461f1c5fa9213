//! Writing a file: aside first, then to its place.
//!
//! [`Incoming`] is being written, [`Staged`] is whole: it waits for the others of its request, is placed, and can be
//! taken back. Dropping either leaves no temporary file.
//!
//! Counting is exact, whatever others do to the same name meanwhile, by one rule: who uploads counts the whole new
//! file before it is placed, and counts off what has the temporary name in the end ([`Staged::end`]). That is the
//! file that was replaced; or the new file itself, if it was not placed or taken back.

use std::{
    fs::File,
    io::Write,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat, renameat2},
    sys::stat::{FileStat, Mode},
};

use super::{
    FILE_MODE, Folder, FsError, Usage, beneath, kib,
    list::is_directory,
    temp::{Temp, upload_name},
};
use crate::vfolder::path::FolderPath;

/// A file that is being written.
#[derive(Debug)]
pub struct Incoming {
    folder: Folder,
    file: File,
    temp: Temp,
    target: FolderPath,
    size: u64,
    old: Usage,
}

/// A file that is whole and on disk, at its place or not.
#[derive(Debug)]
pub struct Staged {
    folder: Folder,
    temp: Temp,
    target: FolderPath,
    size: u64,
    inode: u64,
    /// What was at its place and had to go first.
    room: Option<Temp>,
    placed: Option<Placed>,
}

/// Where a file was placed.
#[derive(Debug)]
struct Placed {
    parent: OwnedFd,
    replaced: Replaced,
}

#[derive(Clone, Copy, Debug)]
enum Replaced {
    /// Nothing was there.
    Nothing,
    /// It has the temporary name now.
    Aside,
    /// It is gone: the volume, as NFS, cannot exchange two names. Only this is not exact if others replace it too.
    Lost(Usage),
}

/// How often a name is tried that others make and remove at the same time.
const ATTEMPTS: usize = 64;

// === impl Folder ===

impl Folder {
    /// Begins a file.
    ///
    /// # Errors
    /// A directory is at its place, the place is outside, or the volume refuses.
    pub fn begin_upload(&self, target: FolderPath) -> Result<Incoming, FsError> {
        let old = match self.replaces(&target)? {
            Some(old) if old.is_directory => return Err(FsError::IsADirectory(target.to_string())),
            old => old.map_or(Usage::default(), |old| old.usage),
        };
        let name = upload_name();
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(FILE_MODE as _))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let file = File::from(openat2(self.root(), name.as_str(), how)?);
        let temp = Temp::new(&self.root, name);
        Ok(Incoming { folder: self.clone(), file, temp, target, size: 0, old })
    }

    fn replaces(&self, target: &FolderPath) -> Result<Option<Old>, FsError> {
        let parent = match self.directory(target.parent()) {
            Ok(parent) => parent,
            Err(FsError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match beneath::look(&parent, target.name()) {
            Ok(stat) => Ok(Some(Old { usage: Usage::of(&stat), is_directory: is_directory(&stat) })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(FsError::at(target.as_str(), errno)),
        }
    }
}

/// What is at a file's place now.
struct Old {
    usage: Usage,
    is_directory: bool,
}

// === impl Incoming ===

impl Incoming {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// The volume is full or fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| match error.raw_os_error() {
            Some(errno) => Errno::from_raw(errno).into(),
            None => FsError::Io(error),
        })
    }

    /// What it would add to the folder if it ended here, as things were when it began.
    #[must_use]
    pub fn change(&self) -> Usage {
        of_size(self.size).minus(self.old)
    }

    /// The file is whole: waits until it is on disk.
    ///
    /// # Errors
    /// The volume fails.
    pub fn finish(self) -> Result<Staged, FsError> {
        self.file.sync_data().map_err(FsError::Io)?;
        let inode = self.file.metadata().map_err(FsError::Io)?.ino();
        let Incoming { folder, temp, target, size, .. } = self;
        Ok(Staged { folder, temp, target, size, inode, room: None, placed: None })
    }
}

// === impl Staged ===

impl Staged {
    /// What must be counted before it is placed.
    #[must_use]
    pub fn usage(&self) -> Usage {
        of_size(self.size)
    }

    /// Takes away what is at its place, for a folder that cannot hold both; what that was. [`Staged::take_back`]
    /// puts it back.
    ///
    /// # Errors
    /// A directory is there, the place is outside, or the volume refuses.
    pub fn make_room(&mut self) -> Result<Usage, FsError> {
        let parent = match self.folder.directory(self.target.parent()) {
            Err(FsError::NotFound(_)) => return Ok(Usage::default()),
            parent => parent?,
        };
        if is_directory_now(&parent, self.target.name()) {
            return Err(FsError::IsADirectory(self.target.to_string()));
        }
        let name = upload_name();
        match renameat(&parent, self.target.name(), self.folder.root(), name.as_str()) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Ok(Usage::default()),
            Err(errno) => return Err(FsError::at(self.target.as_str(), errno)),
        }
        let room = self.room.insert(Temp::new(&self.folder.root, name));
        Ok(room.usage())
    }

    /// Moves it to its place, in the stead of a file that may be there. Directories on the way are made.
    ///
    /// # Errors
    /// A directory is there, the place is outside, or the volume refuses.
    pub fn place(&mut self) -> Result<(), FsError> {
        self.place_by(true)
    }

    /// `exchange`: whether to ask the volume for renames that never lose what is there (NFS has none).
    pub(super) fn place_by(&mut self, exchange: bool) -> Result<(), FsError> {
        let parent = match self.target.parent() {
            Some(parent) => self.folder.ensure_directory(parent)?,
            None => self.folder.directory(None)?,
        };
        let swapped = if exchange { self.swap_in(&parent) } else { Err(Errno::EINVAL) };
        let replaced = match swapped {
            Err(Errno::EINVAL | Errno::ENOSYS) => self.rename_over(&parent),
            other => other,
        };
        let replaced = replaced.map_err(|errno| FsError::at(self.target.as_str(), errno))?;
        self.placed = Some(Placed { parent, replaced });
        Ok(())
    }

    /// Puts back what was at its place before, as far as nobody else has been there since.
    pub fn take_back(&mut self) {
        if let Some(placed) = self.placed.take() {
            self.undo(placed);
        }
        let Some(mut room) = self.room.take() else { return };
        let Ok(parent) = self.folder.directory(self.target.parent()) else { return self.room = Some(room) };
        match rename_new(room.root(), room.name(), &parent, self.target.name()) {
            Ok(()) => room.disarm(),
            Err(_) => self.room = Some(room),
        }
    }

    /// The end: what of all that was counted is not in the folder any more.
    #[must_use]
    pub fn end(self) -> Usage {
        let lost = match self.placed {
            Some(Placed { replaced: Replaced::Lost(old), .. }) => old,
            _ => Usage::default(),
        };
        let room = self.room.as_ref().map_or(Usage::default(), Temp::usage);
        self.temp.usage().plus(room).plus(lost)
    }

    fn swap_in(&self, parent: &OwnedFd) -> nix::Result<Replaced> {
        let (root, temp, name) = (self.folder.root(), self.temp.name(), self.target.name());
        for _ in 0..ATTEMPTS {
            match renameat2(root, temp, parent, name, RenameFlags::RENAME_NOREPLACE) {
                Ok(()) => return Ok(Replaced::Nothing),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            if is_directory_now(parent, name) {
                return Err(Errno::EISDIR);
            }
            match renameat2(root, temp, parent, name, RenameFlags::RENAME_EXCHANGE) {
                Ok(()) => {}
                Err(Errno::ENOENT) => continue, // removed in between
                Err(errno) => return Err(errno),
            }
            if is_directory(&beneath::look(root, temp)?) {
                // It came in between: back to its place.
                renameat2(root, temp, parent, name, RenameFlags::RENAME_EXCHANGE)?;
                return Err(Errno::EISDIR);
            }
            return Ok(Replaced::Aside);
        }
        Err(Errno::EBUSY)
    }

    fn rename_over(&self, parent: &OwnedFd) -> nix::Result<Replaced> {
        let old = match beneath::look(parent, self.target.name()) {
            Ok(stat) => Some(Usage::of(&stat)),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        renameat(self.folder.root(), self.temp.name(), parent, self.target.name())?;
        Ok(old.map_or(Replaced::Nothing, Replaced::Lost))
    }

    fn undo(&mut self, placed: Placed) {
        let (root, temp, parent, name) = (self.folder.root(), self.temp.name(), &placed.parent, self.target.name());
        let ours = |stat: &FileStat| stat.st_ino == self.inode;
        match placed.replaced {
            Replaced::Lost(_) => self.placed = Some(placed),
            Replaced::Aside => {
                let swap = || renameat2(root, temp, parent, name, RenameFlags::RENAME_EXCHANGE);
                if swap().is_ok() && !beneath::look(root, temp).is_ok_and(|it| ours(&it)) {
                    // Somebody has replaced ours: theirs stays.
                    let _ = swap();
                }
            }
            Replaced::Nothing => {
                let back = beneath::look(parent, name).is_ok_and(|it| ours(&it))
                    && rename_new(parent.as_fd(), name, root, temp).is_ok();
                if back && !beneath::look(root, temp).is_ok_and(|it| ours(&it)) {
                    let _ = rename_new(root, temp, parent, name);
                }
            }
        }
    }
}

/// Renames to a name that is free; on a volume that cannot make sure, to one that was free a moment before.
fn rename_new(from: BorrowedFd<'_>, name: &str, to: impl AsFd, new: &str) -> nix::Result<()> {
    match renameat2(from, name, to.as_fd(), new, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS) if beneath::look(to.as_fd(), new) == Err(Errno::ENOENT) => {
            renameat(from, name, to.as_fd(), new)
        }
        other => other,
    }
}

fn is_directory_now(parent: &OwnedFd, name: &str) -> bool {
    beneath::look(parent, name).is_ok_and(|stat| is_directory(&stat))
}

fn of_size(bytes: u64) -> Usage {
    Usage { files: 1, kib: kib(bytes) }
}
