//! Virtual folders in a kernel's work folder.
//!
//! Where the machine allows it, a kernel that has some gets a mount namespace of its own ([`enter`]), in which each is
//! bound to a directory of the work folder, read-only where it may only be read. Such a namespace ends with the last of
//! the kernel's processes, whatever became of the agent: nothing has to be unmounted, and who removes the work folder
//! finds an empty directory in it. Root may have one as it is, a plain user within a user namespace.
//!
//! Elsewhere ([`Way::Links`]) they are symbolic links, which cannot be read-only; a kernel that has one to be mounted
//! so is refused.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        stat::Mode,
        statvfs::{FsFlags, fstatvfs},
    },
    unistd::{getgid, getuid},
};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

use crate::exception::{self, Exception};

/// The role that tries whether kernels can have mounts of their own. Argument: a folder for that.
const TRY_ROLE: &str = "kernel-mounts";

/// A virtual folder of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Its place in the work folder.
    pub name: String,
    /// Where this machine has it.
    pub source: PathBuf,
    /// Whether it may only be read.
    pub read_only: bool,
}

/// How this machine shows folders to kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Bound, in a mount namespace of the kernel's own.
    Namespace,
    /// By symbolic links.
    Links,
}

/// A path of a client, below one of a kernel's folders.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The mount that it is in; none: the work folder.
    pub mount: Option<&'a Mount>,
    /// The path below that folder.
    pub below: PathBuf,
}

// === impl Way ===

impl Way {
    /// What this machine allows, found by trying it in this folder. It is told once if that is little.
    pub fn of_machine(root: &Path) -> Way {
        match try_out(&root.join(".mounts")) {
            Ok(()) => Way::Namespace,
            Err(why) => {
                tracing::warn!(
                    why,
                    "kernels cannot have mounts of their own here: folders are links in them, and none is mounted \
                     read-only (root, or unprivileged user namespaces, would mend that)"
                );
                Way::Links
            }
        }
    }

    /// Makes the places of a kernel's folders, instead of those of `before`.
    ///
    /// # Errors
    /// One is not on this machine, its place is taken, or it is to be read-only and cannot be.
    pub fn show(self, work: &Path, before: &[Mount], now: &[Mount]) -> Result<(), Exception> {
        for mount in now {
            if self == Way::Links && mount.read_only {
                return Err(exception::assertion(format!("this agent cannot mount {} read-only", mount.name)));
            }
            if !mount.source.is_dir() {
                return Err(exception::errno(Errno::ENOENT));
            }
        }
        for mount in before {
            // What is there instead was put there by the user, and is in the way only if it is needed.
            let _ = mount.leave(work);
        }
        now.iter().try_for_each(|mount| self.place(mount, work)).map_err(|error| exception::io(&error))
    }

    fn place(self, mount: &Mount, work: &Path) -> io::Result<()> {
        let place = work.join(&mount.name);
        match self {
            Way::Links => std::os::unix::fs::symlink(&mount.source, place),
            Way::Namespace => std::fs::create_dir(place),
        }
    }

    /// The mounts that a kernel's first process has to make.
    pub fn to_make(self, mounts: &[Mount]) -> Vec<Mount> {
        match self {
            Way::Namespace => mounts.to_vec(),
            Way::Links => Vec::new(),
        }
    }
}

/// Has a process of its own try it: a namespace cannot be left again.
fn try_out(folder: &Path) -> Result<(), String> {
    let made = ["source", "work/mount"].into_iter().try_for_each(|it| std::fs::create_dir_all(folder.join(it)));
    let tried =
        made.and_then(|()| Command::new("/proc/self/exe").arg(TRY_ROLE).arg(folder).stdin(Stdio::null()).output());
    let _ = std::fs::remove_dir_all(folder); // what stays is met again at the next start
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs that role if the program was started as it.
pub fn run_role(args: &[String]) -> Option<ExitCode> {
    let [_, role, folder] = args else { return None };
    (role == TRY_ROLE).then(|| match try_in(Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn try_in(folder: &Path) -> io::Result<()> {
    let (source, work) = (folder.join("source"), folder.join("work"));
    enter(&[Mount { name: "mount".to_owned(), source: source.clone(), read_only: true }], &work)?;
    for file in [work.join("mount/file"), source.join("file")] {
        match std::fs::write(&file, "") {
            Err(error) if error.raw_os_error() == Some(Errno::EROFS as i32) => {}
            other => return Err(io::Error::other(format!("a read-only mount can be written: {other:?}"))),
        }
    }
    Ok(())
}

// === impl Mount ===

impl Mount {
    /// Removes its place, if it is still that.
    fn leave(&self, work: &Path) -> io::Result<()> {
        let place = work.join(&self.name);
        match std::fs::read_link(&place) {
            Ok(target) if target == self.source => std::fs::remove_file(place),
            Ok(_) => Ok(()),
            Err(_) => std::fs::remove_dir(place),
        }
    }

    fn bind(&self, work: &OwnedFd) -> nix::Result<()> {
        let source = || folder(AT_FDCWD, &self.source);
        if self.read_only {
            // Also where it comes from, which is no secret.
            bind(&source()?, &source()?)?;
            restrict(&source()?, true)?;
        }
        bind(&source()?, &folder(work, Path::new(&self.name))?)?;
        restrict(&folder(work, Path::new(&self.name))?, self.read_only)
    }
}

/// Which folder of a kernel a client means by a path.
pub fn place<'a>(mounts: &'a [Mount], path: &str) -> Place<'a> {
    let mut parts = Path::new(path).components().peekable();
    while parts.next_if_eq(&Component::CurDir).is_some() {}
    let first = parts.peek().and_then(|part| part.as_os_str().to_str());
    let mount = first.and_then(|name| mounts.iter().find(|mount| mount.name == name));
    match mount {
        None => Place { mount, below: path.into() },
        Some(_) => {
            let below: PathBuf = parts.skip(1).collect();
            Place { mount, below: if below.as_os_str().is_empty() { ".".into() } else { below } }
        }
    }
}

// === In the kernel's process ===

/// Gives this process a mount namespace of its own with these folders in the work folder. What it becomes cannot undo
/// that, as root neither: it has lost the capabilities for it. To be called before there are threads.
///
/// # Errors
/// The machine does not allow it, or a folder is not there.
pub fn enter(mounts: &[Mount], work: &Path) -> io::Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    let explain = |what: String| move |error: Errno| io::Error::other(format!("{what}: {}", error.desc()));
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => own_user_namespace()?,
        other => other.map_err(explain("a mount namespace".to_owned()))?,
    }
    // Mounts that the operator makes or ends meanwhile come through, ours do not go back.
    let slave = mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>);
    slave.map_err(explain("mounts of one's own".to_owned()))?;
    let work = folder(AT_FDCWD, work).map_err(explain("the work folder".to_owned()))?;
    for mount in mounts {
        mount.bind(&work).map_err(explain(format!("mounting {}", mount.name)))?;
    }
    give_up_capabilities()
}

/// A user namespace, in which this user is who it is, with a mount namespace.
fn own_user_namespace() -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(|error| io::Error::other(format!("a user namespace: {}", error.desc())))?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// What mounts can be changed with, and other processes' namespaces reached.
fn give_up_capabilities() -> io::Result<()> {
    let given_up = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE;
    for one in given_up.iter() {
        remove_capability_from_bounding_set(one)?;
    }
    // Root's programs get those that are inheritable as well.
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable.remove(given_up);
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Opens a folder, which must not be a link.
fn folder(at: impl std::os::fd::AsFd, path: &Path) -> nix::Result<OwnedFd> {
    openat(at, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn bind(source: &OwnedFd, target: &OwnedFd) -> nix::Result<()> {
    let (source, target) = (by_descriptor(source), by_descriptor(target));
    mount(Some(&source), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

/// Sets the flags of a mount that was just made. What the file system forbids stays forbidden.
fn restrict(mounted: &OwnedFd, read_only: bool) -> nix::Result<()> {
    let has = fstatvfs(mounted)?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    flags.set(MsFlags::MS_RDONLY, read_only || has.contains(FsFlags::ST_RDONLY));
    flags.set(MsFlags::MS_NOEXEC, has.contains(FsFlags::ST_NOEXEC));
    mount(None::<&str>, &by_descriptor(mounted), None::<&str>, flags, None::<&str>)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(name: &str, read_only: bool) -> Mount {
        Mount { name: name.into(), source: Path::new("/vol/local").join(name), read_only }
    }

    #[test]
    fn a_path_is_in_the_mount_that_its_first_part_names() {
        let mounts = [mount("data", false), mount("read", true)];
        let find = |path: &str| {
            let place = place(&mounts, path);
            (place.mount.map(|mount| mount.name.clone()), place.below.display().to_string())
        };
        let inside = |name: &str, below: &str| (Some(name.to_owned()), below.to_owned());
        assert_eq!(find("data"), inside("data", "."));
        assert_eq!(find("./data/"), inside("data", "."));
        assert_eq!(find("././read/a/./b"), inside("read", "a/b"));
        for path in ["datax/a", "a/data", "", ".", "../data", "/data", "a/../data/x"] {
            assert_eq!(find(path), (None, path.to_owned()), "{path}");
        }
        assert_eq!(find("data/../x"), inside("data", "../x"));
    }

    #[test]
    fn links_are_made_renewed_and_removed_and_never_read_only() {
        let root = tempfile::tempdir().unwrap();
        let work = root.path().join("work");
        let at = |name: &str| Mount { name: name.into(), source: root.path().join(name), read_only: false };
        for name in ["work", "a", "b"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        Way::Links.show(&work, &[], &[at("a"), at("b")]).unwrap();
        Way::Links.show(&work, &[at("a"), at("b")], &[at("a")]).unwrap();
        assert_eq!(std::fs::read_link(work.join("a")).unwrap(), root.path().join("a"));
        assert!(!work.join("b").exists() && root.path().join("b").exists());
        let read_only = Mount { read_only: true, ..at("b") };
        assert_eq!(Way::Links.show(&work, &[], &[read_only]).unwrap_err().kind, "builtins.AssertionError");
        assert_eq!(Way::Links.show(&work, &[], &[at("gone")]).unwrap_err().kind, "builtins.FileNotFoundError");
        // The machine has learnt it meanwhile.
        Way::Namespace.show(&work, &[at("a")], &[at("a")]).unwrap();
        assert!(work.join("a").symlink_metadata().unwrap().is_dir());
    }

    #[test]
    fn what_a_user_put_in_a_mounts_place_is_kept_and_the_mount_refused() {
        let root = tempfile::tempdir().unwrap();
        let work = root.path().join("work");
        std::fs::create_dir(&work).unwrap();
        std::fs::write(work.join("a"), "mine").unwrap();
        let mount = Mount { name: "a".into(), source: root.path().into(), read_only: true };
        Way::Namespace.show(&work, std::slice::from_ref(&mount), std::slice::from_ref(&mount)).unwrap_err();
        assert_eq!(std::fs::read(work.join("a")).unwrap(), b"mine");
    }
}
