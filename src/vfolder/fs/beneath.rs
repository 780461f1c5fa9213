//! The one call by which a path becomes a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{FileStat, fstatat},
};

/// The kernel gives up (EAGAIN) when something was renamed while it resolved a `..` in a link; then it is asked
/// again, but not for ever.
const ATTEMPTS: usize = 64;

/// Opens a path beneath a directory. Links that stay inside are followed.
///
/// # Errors
/// `EXDEV` if it leads outside.
pub(super) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// Opens a plain name in a directory, without following a link.
///
/// # Errors
/// `ELOOP` if it is a link.
pub(super) fn open_plain<P: ?Sized + nix::NixPath>(
    directory: BorrowedFd<'_>,
    name: &P,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    resolve(directory, name, flags, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

/// What a plain name in a directory is, without following a link.
pub(super) fn look<P: ?Sized + nix::NixPath>(directory: impl AsFd, name: &P) -> nix::Result<FileStat> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The names in a directory but `.` and `..`, read from its beginning.
pub(super) fn names(directory: OwnedFd) -> nix::Result<impl Iterator<Item = nix::Result<nix::dir::Entry>>> {
    let entries = Dir::from_fd(directory)?.into_iter();
    Ok(entries.filter(|entry| !entry.as_ref().is_ok_and(|it| matches!(it.file_name().to_bytes(), b"." | b".."))))
}

fn resolve<P: ?Sized + nix::NixPath>(
    directory: BorrowedFd<'_>,
    path: &P,
    flags: OFlag,
    resolve: ResolveFlag,
) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for _ in 0..ATTEMPTS {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => std::thread::yield_now(),
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}
