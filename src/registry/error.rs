//! What can go wrong with a session.

use crate::{agents::CallError, store::postgres::PgError};

/// The call to an agent that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentOp {
    /// `create_kernel`.
    Create,
    /// `destroy_kernel`.
    Destroy,
    /// `restart_kernel`.
    Restart,
    /// `execute`, and every other call about a kernel that runs.
    Execute,
}

/// Why the registry could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such image.
    #[error("no such image: {0}")]
    ImageNotFound(String),
    /// etcd has not answered since this worker began.
    #[error("images are not known yet")]
    ImagesUnknown,
    /// No live session of that name.
    #[error("no such session")]
    SessionNotFound,
    /// There is one, of another image, or where none was wanted.
    #[error("the session exists")]
    SessionExists,
    /// The key has as many sessions as it may.
    #[error("the key has as many sessions as it may")]
    Quota,
    /// The key was switched off meanwhile.
    #[error("the key is inactive")]
    KeyInactive,
    /// No agent has room.
    #[error("no agent has room")]
    NoAgent,
    /// A folder is to be mounted read-only, and no agent, or not the session's, can do that.
    #[error("no agent that has room can mount a folder read-only, as {0} must be")]
    NoReadOnlyAgent(String),
    /// No virtual folder of that name.
    #[error("no such folder: {0}")]
    FolderNotFound(String),
    /// The agent failed.
    #[error("{0:?} failed at the agent: {1}")]
    Agent(AgentOp, #[source] CallError),
    /// A store is away.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// Broken off with the worker.
    #[error("the worker is ending")]
    Ending,
}
