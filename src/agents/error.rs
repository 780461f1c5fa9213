//! Why a call of an agent gave no result.

use rmpv::Value;

use crate::{telemetry::Counter, wire::rpc::RemoteError};

/// Why a call of an agent gave no result. Unless it is [`CallError::Unreachable`], the agent may have
/// done what was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// No answer came in time.
    #[error("the agent did not answer in time")]
    Timeout,
    /// No connection came about, for this reason; the call was not sent.
    #[error("the agent is unreachable: {0}")]
    Unreachable(String),
    /// The connection was lost while the call was in flight.
    #[error("the connection to the agent was lost")]
    Lost,
    /// The agent raised an exception.
    #[error("the agent raised {}", RemoteError::text(kind, args, repr))]
    Remote {
        /// The exception's type with its module, such as `builtins.RuntimeError`.
        kind: String,
        /// The arguments it was raised with.
        args: Vec<Value>,
        /// Python's `repr` of it, as the agent made it.
        repr: String,
    },
    /// The answer is not what an agent may send, for this reason.
    #[error("the agent's answer is malformed: {0}")]
    Malformed(String),
}

// === impl CallError ===

impl CallError {
    /// The exception as problem documents show it, `RuntimeError('boom', 1)`, if the agent raised one.
    pub fn exception(&self) -> Option<String> {
        match self {
            CallError::Remote { kind, args, repr } => Some(RemoteError::text(kind, args, repr)),
            _ => None,
        }
    }

    /// What counts errors of this kind.
    pub(super) fn counter(&self) -> Counter {
        match self {
            CallError::Timeout => Counter::AgentTimeouts,
            CallError::Unreachable(_) => Counter::AgentUnreachable,
            CallError::Lost => Counter::AgentLost,
            CallError::Remote { .. } => Counter::AgentRemote,
            CallError::Malformed(_) => Counter::AgentMalformed,
        }
    }

    /// Whether the agent raised Python's `OSError` for EROFS: what was to be written may only be read.
    pub fn is_read_only(&self) -> bool {
        let erofs = Value::from(nix::errno::Errno::EROFS as i32);
        matches!(self, CallError::Remote { kind, args, .. } if kind == "builtins.OSError" && args.first() == Some(&erofs))
    }

    /// Whether the agent does not have the method (it is of an older release).
    pub fn is_method_not_found(&self) -> bool {
        matches!(self, CallError::Remote { kind, .. } if kind == RemoteError::METHOD_NOT_FOUND)
    }
}

impl From<RemoteError> for CallError {
    fn from(RemoteError { kind, args, repr }: RemoteError) -> CallError {
        CallError::Remote { kind, args, repr }
    }
}
