//! Names in a folder that are this program's own.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use nix::unistd::{UnlinkatFlags, unlinkat};
use uuid::Uuid;

use super::{Usage, beneath};
use crate::vfolder::path::RESERVED;

/// The name of a file that is being uploaded or was replaced, in a folder's own directory. Dropping it removes what
/// has that name, if anything.
#[derive(Debug)]
pub(super) struct Temp {
    root: Arc<OwnedFd>,
    name: String,
    armed: bool,
}

/// A name for what is being uploaded.
pub(super) fn upload_name() -> String {
    format!("{RESERVED}upload-{}", Uuid::new_v4().simple())
}

/// A name for what is being removed.
pub(super) fn removal_name() -> String {
    format!("{RESERVED}removed-{}", Uuid::new_v4().simple())
}

/// Whether a name is one of ours.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(RESERVED.as_bytes())
}

// === impl Temp ===

impl Temp {
    /// Of a file that exists already.
    pub fn new(root: &Arc<OwnedFd>, name: String) -> Temp {
        Temp { root: root.clone(), name, armed: true }
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What has that name now.
    pub fn usage(&self) -> Usage {
        beneath::look(&self.root, self.name.as_str()).map_or(Usage::default(), |stat| Usage::of(&stat))
    }

    /// There is nothing of this name any more.
    pub fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.armed {
            // What cannot be removed now is cleared away by a later walk.
            let _ = unlinkat(&self.root, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
