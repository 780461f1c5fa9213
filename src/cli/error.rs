//! What can go wrong with a command, each in one line.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use crate::store::postgres::{connect::ConnectError, explain, migrate::SchemaError};

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// There is no connection to the database.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is missing, unknown, or could not be migrated.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// PostgreSQL refused a statement or went away.
    #[error("PostgreSQL: {}", explain(.0))]
    Database(#[from] tokio_postgres::Error),
    /// etcd cannot be reached or refused a request.
    #[error("etcd at {addr}: {why}")]
    Etcd {
        /// The endpoints, as they were given.
        addr: String,
        /// What the client library said.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The gateway on this machine does not run, or listens elsewhere.
    #[error("no gateway answers at {addr} ({why}): start backendai-gateway, or look at --admin-ip and --admin-port")]
    Gateway {
        /// Where its operator's routes should be.
        addr: SocketAddr,
        /// What went wrong.
        why: String,
    },
    /// There is no terminal to draw on.
    #[error("`top` needs a terminal: use `top --once` for one frame as text")]
    NoTerminal,
    /// A file's contents are wrong; nothing was changed.
    #[error("{file}: {what}")]
    Content {
        /// The file, and the line if it is known: `images.yml:12`.
        file: String,
        /// What is wrong there.
        what: String,
    },
    /// What was asked for does not exist, or exists already.
    #[error("{0}")]
    Refused(String),
    /// A destructive command where nobody can be asked.
    #[error("{what}: nobody can be asked here, so it needs --yes; nothing was changed")]
    Unconfirmed {
        /// What would be done.
        what: String,
    },
    /// The operator was asked, and did not say yes.
    #[error("nothing was changed")]
    Declined,
    /// It was begun, and is not done yet or went wrong for some.
    #[error("{0}")]
    Unfinished(String),
    /// The audit log cannot be reached, and what cannot be noted is not done.
    #[error("nothing was changed, since it cannot be noted in the audit log: {0} (--db-addr)")]
    Unnoted(ConnectError),
    /// The audit log went away meanwhile.
    #[error("{action} was done, but the audit log does not say so: {}", explain(.error))]
    NotEntered {
        /// The command.
        action: String,
        /// What PostgreSQL said.
        error: tokio_postgres::Error,
    },
    /// Another program cannot be started.
    #[error("cannot run {program}: {error}")]
    Start {
        /// The program.
        program: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The result cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

// === impl CliError ===

impl CliError {
    /// 2 where the command line lacks something, or asks for what cannot be had here; otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Unconfirmed { .. } | CliError::NoTerminal => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether only the reader of our output has gone, as `head` does.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
