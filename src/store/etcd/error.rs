//! What can go wrong with etcd, each in one line that names the endpoint.

use crate::config::HostPort;

/// Why etcd could not be asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The list of endpoints is empty.
    #[error("no etcd endpoint is given")]
    NoEndpoint,
    /// Too much is asked for at once, or the thread is ending.
    #[error("too many changes wait for etcd")]
    Busy,
    /// None of several endpoints answers.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("etcd at {endpoint} does not answer")]
    Silent {
        /// Whom we asked.
        endpoint: HostPort,
    },
    /// The connection failed, or etcd refused.
    #[error("etcd at {endpoint}: {reason}")]
    Failed {
        /// Whom we asked.
        endpoint: HostPort,
        /// What the client library or etcd says.
        reason: String,
    },
    /// The watch was cancelled because what it should begin with is compacted away, or for another reason.
    #[error("etcd at {endpoint} ended the watch: {reason}")]
    WatchEnded {
        /// Whom we watched.
        endpoint: HostPort,
        /// etcd's reason.
        reason: String,
    },
}

/// A library error in one line: etcd's own words, and the cause at the bottom (as `Connection refused`).
pub(super) fn explain(error: &etcd_client::Error) -> String {
    let (text, bottom) = match error {
        etcd_client::Error::GRpcStatus(status) => (status.message().to_owned(), bottom(status)),
        other => (other.to_string(), None),
    };
    match bottom {
        Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
        _ => text,
    }
}

fn bottom(error: &dyn std::error::Error) -> Option<String> {
    std::iter::successors(error.source(), |cause| cause.source()).last().map(ToString::to_string)
}
