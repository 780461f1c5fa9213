//! From what went wrong with a session to what the client is told.

use crate::{
    agents::CallError,
    http::{Kind, Problem, problem::AgentFault},
    registry::{AgentOp, Error},
};

/// The problem for an error of the registry. An error that a client cannot mend is logged here.
pub fn to_problem(error: Error) -> Problem {
    match error {
        Error::ImageNotFound(name) => Kind::ImageNotFound.because(name),
        Error::ImagesUnknown => Kind::ServiceUnavailable.because("images are not known yet").retry_after(1),
        Error::SessionNotFound => Kind::KernelNotFound.into(),
        Error::SessionExists => Kind::KernelAlreadyExists.into(),
        Error::Quota => Kind::QuotaExceeded.into(),
        Error::KeyInactive => Kind::AuthFailed.into(),
        Error::NoAgent => Kind::InstanceNotAvailable.into(),
        Error::NoReadOnlyAgent(_) => Kind::InstanceNotAvailable.because(error.to_string()),
        Error::FolderNotFound(name) => Kind::FolderNotFound.because(name),
        Error::Agent(op, error) => of_agent(op, &error),
        Error::Postgres(error) => {
            tracing::warn!(%error, "a request could not be served");
            Kind::ServiceUnavailable.because("the database is away").retry_after(1)
        }
        Error::Ending => Kind::ServiceUnavailable.because("the worker is ending").retry_after(1),
    }
}

fn of_agent(op: AgentOp, error: &CallError) -> Problem {
    tracing::warn!(%error, ?op, "an agent failed");
    let fault = match error {
        CallError::Timeout => AgentFault::Timeout,
        CallError::Unreachable(why) => AgentFault::Failure(format!("ConnectionError('{why}')")),
        CallError::Lost => AgentFault::Failure("ConnectionError('the connection to the agent was lost')".into()),
        // A method that the agent does not know: an older release.
        remote if remote.is_method_not_found() => return Kind::NotImplemented.into(),
        CallError::Remote { .. } => AgentFault::Failure(error.exception().unwrap_or_default()),
        CallError::Malformed(why) => AgentFault::InvalidInput(format!("ValueError('{why}')")),
    };
    let kind = match op {
        AgentOp::Create => Kind::KernelCreationFailed,
        AgentOp::Destroy => Kind::KernelDestructionFailed,
        AgentOp::Restart => Kind::KernelRestartFailed,
        AgentOp::Execute => Kind::KernelExecutionFailed,
    };
    kind.of_agent(&fault)
}
