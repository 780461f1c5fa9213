//! Through all that is in a folder: counting it, and clearing away what killed processes left.

use std::{
    ffi::CStr,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    dir::{Entry, Type},
    errno::Errno,
    fcntl::OFlag,
    sys::stat::FileStat,
};

use super::{Folder, FsError, Removal, Usage, beneath, list::is_directory, temp::is_reserved};

/// How old a temporary file is when nobody can still be working on it.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A walk through a folder, a step at a time. Links are not followed. Directories whose path is longer than Linux
/// takes at once are left out: no call of the API can make or reach them.
#[derive(Debug)]
pub struct Walk {
    folder: Folder,
    pending: Vec<Vec<u8>>,
    counted: Usage,
    stale: Vec<Removal>,
    now: SystemTime,
}

// === impl Folder ===

impl Folder {
    /// Begins a walk. `now` tells what is stale.
    #[must_use]
    pub fn walk(&self, now: SystemTime) -> Walk {
        Walk { folder: self.clone(), pending: vec![b".".to_vec()], counted: Usage::default(), stale: Vec::new(), now }
    }
}

// === impl Walk ===

impl Walk {
    /// Looks at about `budget` things, and at least at one directory; whether the walk is done.
    ///
    /// # Errors
    /// The volume fails.
    pub fn step(&mut self, budget: usize) -> Result<bool, FsError> {
        let mut seen = 0;
        while seen < budget {
            let Some(path) = self.pending.pop() else { return self.clear_away(budget) };
            match self.directory(&path) {
                Ok(count) => seen += count + 1,
                // Gone or swapped meanwhile, or too deep.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => seen += 1,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(false)
    }

    /// What was counted so far; temporary files are not.
    #[must_use]
    pub fn counted(&self) -> Usage {
        self.counted
    }

    fn clear_away(&mut self, budget: usize) -> Result<bool, FsError> {
        let Some(stale) = self.stale.last_mut() else { return Ok(true) };
        if stale.step(budget)? {
            self.stale.pop();
        }
        Ok(self.stale.is_empty())
    }

    fn directory(&mut self, path: &[u8]) -> nix::Result<usize> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let directory = beneath::open_plain(self.folder.root(), path, flags)?;
        let again = beneath::open_plain(directory.as_fd(), ".", flags)?;
        let mut seen = 0;
        for entry in beneath::names(again)? {
            self.entry(path, &directory, &entry?)?;
            seen += 1;
        }
        Ok(seen)
    }

    fn entry(&mut self, path: &[u8], directory: &OwnedFd, entry: &Entry) -> nix::Result<()> {
        let name = entry.file_name();
        let reserved = path == b"." && is_reserved(name.to_bytes());
        if entry.file_type() == Some(Type::Directory) && !reserved {
            self.push(path, name);
            return Ok(());
        }
        let stat = match beneath::look(directory, name) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        match (reserved, is_directory(&stat)) {
            (true, _) if self.is_stale(&stat) => self.stale.push(Removal::new(&self.folder.root, name.to_owned())),
            (true, _) => {}
            (false, true) => self.push(path, name), // a volume that does not tell types in directories
            (false, false) => self.counted = self.counted.plus(Usage::of(&stat)),
        }
        Ok(())
    }

    fn push(&mut self, path: &[u8], name: &CStr) {
        self.pending.push([path, b"/", name.to_bytes()].concat());
    }

    /// By the time of the last change of the inode, which nobody can set.
    fn is_stale(&self, stat: &FileStat) -> bool {
        let changed = UNIX_EPOCH + Duration::from_secs(stat.st_ctime.max(0).unsigned_abs());
        self.now.duration_since(changed).is_ok_and(|age| age > STALE)
    }
}
