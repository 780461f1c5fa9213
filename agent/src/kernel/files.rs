//! Files of a kernel's work folder, for the agent. The user owns that folder and may put anything
//! there at any moment, so no path is ever checked first and used later: the kernel's `openat2` walks
//! it below the folder (RESOLVE_BENEATH), whatever links and renames happen on the way.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat},
};

use super::{mounts::Mount, tar::Tar};
use crate::exception::{self, Exception};

/// Most bytes of an archive: what fits into one frame with room to spare.
const ARCHIVE_LIMIT: usize = 48 << 20;
/// Most entries that a listing or an archive visits.
const ENTRIES_LIMIT: usize = 10_000;
/// Deepest nesting visited.
const DEPTH_LIMIT: usize = 64;

/// A work folder, or a virtual folder in one.
pub struct WorkFolder {
    fd: OwnedFd,
    /// Where the kernel has it.
    path: PathBuf,
    /// Its name in archives.
    label: String,
    read_only: bool,
}

/// An output file and what tells whether it was written since.
pub type Output = (String, (SystemTime, u64));

// === impl WorkFolder ===

impl WorkFolder {
    /// Opens the folder at this path, which is the agent's to choose.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(path: &Path) -> Result<WorkFolder, Exception> {
        let fd = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let fd = fd.map_err(exception::errno)?;
        Ok(WorkFolder { fd, path: path.to_owned(), label: ".".to_owned(), read_only: false })
    }

    /// Opens the folder of a mount in the work folder at this path. What is mounted for the kernel alone is not there
    /// for the agent, so it is opened where the machine has it.
    ///
    /// # Errors
    /// It is not there.
    pub fn open_mount(work: &Path, mount: &Mount) -> Result<WorkFolder, Exception> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = open(&mount.source, flags, Mode::empty()).map_err(exception::errno)?;
        let (path, label) = (work.join(&mount.name), mount.name.clone());
        Ok(WorkFolder { fd, path, label, read_only: mount.read_only })
    }

    fn open_below(&self, path: &Path, flags: OFlag, mode: u32) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(mode))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            match openat2(self.fd.as_fd(), path, how) {
                Err(Errno::EAGAIN) => {} // a rename came between; the walk starts anew
                other => return other,
            }
        }
    }

    /// Writes a file, making the folders above it.
    ///
    /// # Errors
    /// The name is no plain relative path, leads out of the folder, or cannot be written.
    pub fn upload(&self, name: &str, content: &[u8]) -> Result<(), Exception> {
        let path = relative(name)?;
        if self.read_only {
            return Err(exception::errno(Errno::EROFS));
        }
        self.make_parents(path).map_err(outside_or)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = self.open_below(path, flags, 0o644).map_err(outside_or)?;
        regular(&fd)?;
        let mut file = File::from(fd);
        file.set_len(0).and_then(|()| file.write_all(content)).map_err(|error| exception::io(&error))
    }

    fn make_parents(&self, path: &Path) -> nix::Result<()> {
        let folder = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mut above = PathBuf::from(".");
        for name in path.parent().into_iter().flat_map(Path::components) {
            let parent = self.open_below(&above, folder, 0)?;
            above.push(name);
            match mkdirat(parent.as_fd(), name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        self.open_below(&above, folder, 0).map(drop)
    }

    /// A file, or a folder with all below it, as a tar archive.
    ///
    /// # Errors
    /// It is not there, leads out of the folder, or is too large for one answer.
    pub fn archive(&self, name: &str) -> Result<Vec<u8>, Exception> {
        let path = relative(name)?;
        let mut archive = Archive { tar: Tar::default(), entries: 0 };
        let label = path.file_name().map_or_else(|| self.label.clone(), |name| name.to_string_lossy().into_owned());
        let fd = self.open_below(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, 0).map_err(outside_or)?;
        archive.add(fd, &label, 0)?;
        Ok(archive.tar.finish())
    }

    /// The entries of a folder as JSON text, and its path.
    ///
    /// # Errors
    /// It is not there, or leads out of the folder.
    pub fn list(&self, name: &str) -> Result<(String, String), Exception> {
        let path = relative(name)?;
        let fd = self.open_below(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0).map_err(outside_or)?;
        let entries: Vec<serde_json::Value> = names(&fd)?
            .into_iter()
            .filter_map(|name| {
                let stat = fstatat(fd.as_fd(), name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
                Some(describe(&name, &stat))
            })
            .collect();
        let absolute = if path == Path::new(".") { self.path.clone() } else { self.path.join(path) };
        Ok((serde_json::Value::from(entries).to_string(), absolute.display().to_string()))
    }
}

/// What `.output` of a work folder holds: regular files by their paths below it. Links are not
/// followed.
pub fn outputs(work: &Path) -> Vec<Output> {
    let root = work.join(".output");
    let (mut found, mut open, mut visited) = (Vec::new(), vec![root.clone()], 0);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            visited += 1;
            let (Ok(metadata), true) = (entry.metadata(), visited <= ENTRIES_LIMIT) else { continue };
            let path = entry.path();
            if metadata.is_dir() {
                open.push(path);
            } else if let (true, Ok(below)) = (metadata.is_file(), path.strip_prefix(&root)) {
                let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push((below.to_string_lossy().into_owned(), (changed, metadata.len())));
            }
        }
    }
    found.sort();
    found
}

/// The bytes of all files in a folder, as far as [`ENTRIES_LIMIT`] entries go. Links are not followed.
pub fn size_of(folder: &Path) -> u64 {
    let (mut size, mut open, mut visited) = (0, vec![folder.to_owned()], 0);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            visited += 1;
            let (Ok(metadata), true) = (entry.metadata(), visited <= ENTRIES_LIMIT) else { continue };
            match metadata.is_dir() {
                true => open.push(entry.path()),
                false => size += metadata.size(),
            }
        }
    }
    size
}

/// A name from a client as a path: relative, without `..` and NUL, not empty.
fn relative(name: &str) -> Result<&Path, Exception> {
    let path = Path::new(name);
    let plain =
        path.components().all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if name.is_empty() || name.contains('\0') || !plain {
        return Err(exception::assertion("malformed upload filename and path."));
    }
    Ok(path)
}

/// `EXDEV` is how `openat2` says that a path leads out.
fn outside_or(error: Errno) -> Exception {
    match error {
        Errno::EXDEV | Errno::ELOOP => exception::assertion("the path leads out of the kernel's folder."),
        Errno::ENXIO => exception::assertion("the path is no regular file."),
        error => exception::errno(error),
    }
}

fn regular(fd: &OwnedFd) -> Result<FileStat, Exception> {
    let stat = fstat(fd).map_err(exception::errno)?;
    match kind(&stat) == SFlag::S_IFREG {
        true => Ok(stat),
        false => Err(exception::assertion("the path is no regular file.")),
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// The names in an open folder.
fn names(folder: &OwnedFd) -> Result<Vec<String>, Exception> {
    let entries = std::fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let entries = entries.map_err(|error| exception::io(&error))?;
    let mut names: Vec<String> =
        entries.flatten().take(ENTRIES_LIMIT).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn describe(name: &str, stat: &FileStat) -> serde_json::Value {
    serde_json::json!({
        "mode": mode_text(stat),
        "size": stat.st_size,
        "ctime": stat.st_ctime as f64 + stat.st_ctime_nsec as f64 / 1e9,
        "mtime": stat.st_mtime as f64 + stat.st_mtime_nsec as f64 / 1e9,
        "atime": stat.st_atime as f64 + stat.st_atime_nsec as f64 / 1e9,
        "filename": name,
    })
}

/// The mode as `ls -l` shows it, without the set-id and sticky bits.
fn mode_text(stat: &FileStat) -> String {
    let kind = match kind(stat) {
        SFlag::S_IFDIR => 'd',
        SFlag::S_IFLNK => 'l',
        SFlag::S_IFIFO => 'p',
        SFlag::S_IFSOCK => 's',
        SFlag::S_IFBLK => 'b',
        SFlag::S_IFCHR => 'c',
        _ => '-',
    };
    let bits = "rwxrwxrwx".chars().enumerate();
    std::iter::once(kind)
        .chain(bits.map(|(at, letter)| if stat.st_mode >> (8 - at) & 1 == 1 { letter } else { '-' }))
        .collect()
}

struct Archive {
    tar: Tar,
    entries: usize,
}

impl Archive {
    /// Adds what is open as `fd` under this name, without following links below it.
    fn add(&mut self, fd: OwnedFd, name: &str, depth: usize) -> Result<(), Exception> {
        self.entries += 1;
        if self.entries > ENTRIES_LIMIT || depth > DEPTH_LIMIT {
            return Err(exception::value("too many files for one archive"));
        }
        let stat = fstat(&fd).map_err(exception::errno)?;
        match kind(&stat) {
            SFlag::S_IFDIR => self.add_folder(&fd, name, &stat, depth),
            SFlag::S_IFREG => self.add_file(fd, name, &stat),
            _ => Ok(()),
        }
    }

    fn add_folder(&mut self, fd: &OwnedFd, name: &str, stat: &FileStat, depth: usize) -> Result<(), Exception> {
        self.tar.folder(name, stat.st_mode, stat.st_mtime);
        for entry in names(fd)? {
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match nix::fcntl::openat(fd.as_fd(), entry.as_str(), flags, Mode::empty()) {
                Ok(below) => self.add(below, &format!("{name}/{entry}"), depth + 1)?,
                Err(Errno::ELOOP | Errno::ENXIO | Errno::ENOENT) => {} // a link, a socket, or gone
                Err(error) => return Err(exception::errno(error)),
            }
        }
        Ok(())
    }

    fn add_file(&mut self, fd: OwnedFd, name: &str, stat: &FileStat) -> Result<(), Exception> {
        let room = ARCHIVE_LIMIT.saturating_sub(self.tar.len());
        let mut content = Vec::new();
        let read = File::from(fd).take(room as u64 + 1).read_to_end(&mut content);
        read.map_err(|error| exception::io(&error))?;
        if content.len() > room {
            return Err(exception::value("too large for one archive (48 MiB)"));
        }
        self.tar.file(name, stat.st_mode, stat.st_mtime, &content);
        Ok(())
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
