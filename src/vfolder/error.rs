//! What can go wrong with a folder.

use super::{BadName, BadPath, Permission, fs::FsError};
use crate::store::postgres::PgError;

/// Why a folder could not be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key has no folder of that name.
    #[error("no such folder")]
    NotFound,
    /// The key has, or was let into, a folder of that name.
    #[error("there is a folder of that name")]
    AlreadyExists,
    /// The key may not do this with the folder.
    #[error("this takes the permission {0}")]
    NotPermitted(Permission),
    /// Only the folder's owner may do this.
    #[error("only the owner of the folder may do this")]
    NotOwner,
    /// A live session has it mounted.
    #[error("a session has the folder mounted")]
    InUse,
    /// The folder would hold too much.
    #[error("the folder may hold no more {0}")]
    QuotaExceeded(Limit),
    /// No invitation of that id waits for this user.
    #[error("no such invitation")]
    NoInvitation,
    /// An invitation can be accepted for the user's own active keys.
    #[error("the access key is not one of yours")]
    NotYourKey,
    /// A text is no name of a folder.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// A text is no path inside a folder.
    #[error(transparent)]
    BadPath(#[from] BadPath),
    /// More files at once than one request may name.
    #[error("at most {0} files at once")]
    TooManyFiles(usize),
    /// There is no volume of that name.
    #[error("no such volume: {0:?}")]
    BadHost(String),
    /// No volume is configured for folders.
    #[error("no volume is configured for virtual folders")]
    NoHost,
    /// The key was switched off meanwhile.
    #[error("the key is inactive")]
    KeyInactive,
    /// Files: a path of the request, or the volume; [`Error::is_clients`] tells which.
    #[error(transparent)]
    Files(#[from] FsError),
    /// PostgreSQL is away or refuses.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// Broken off with the worker.
    #[error("the worker is ending")]
    Ending,
}

/// What a folder may hold no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Files (`max_files`).
    Files,
    /// KiB (`max_size`).
    Size,
}

// === impl Error ===

impl Error {
    /// Whether the request is to blame, so that its text is for the client. Else something of ours is away or fails,
    /// and the text, which may hold paths of the machine, is for the log.
    #[must_use]
    pub fn is_clients(&self) -> bool {
        match self {
            Error::Files(error) => !matches!(error, FsError::Volume(..) | FsError::Io(_) | FsError::Shrunk(_)),
            Error::Postgres(_) | Error::Ending | Error::NoHost => false,
            _ => true,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Files => "files",
            Limit::Size => "bytes",
        })
    }
}
