//! What can go wrong with a command, each in one line.

use std::{io, path::PathBuf, process::ExitCode};

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
    /// It would change things, and nobody is there who could be asked.
    #[error("{0}")]
    Unasked(String),
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

impl CliError {
    /// Whether only the reader of our output has gone, as `head` does.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// 1; or 2 where the command line lacks something, as with every bad command line.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if matches!(self, CliError::Unasked(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
    }
}
