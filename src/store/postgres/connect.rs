//! A connection for tools that run on tokio. Workers connect over the engine's streams instead, with the same
//! [`settings`] and the same words for what goes wrong ([`ConnectError::refused`]).

use std::{io, path::PathBuf, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use tokio_postgres::{Client, Config, NoTls, error::SqlState};

use super::explain;
use crate::config::{Connections, HostPort};

/// How long reaching the server and logging in may take.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no connection, in one line that an operator can act on. Never tells the password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("cannot reach PostgreSQL at {addr}: {why}")]
    Unreachable {
        /// Where it should be.
        addr: HostPort,
        /// What the system said.
        why: String,
    },
    /// The user or the password is wrong; servers do not tell which.
    #[error("PostgreSQL at {addr} refuses the password of user \"{user}\" (--db-user, --db-password)")]
    WrongPassword {
        /// Where the server is.
        addr: HostPort,
        /// Who wanted in.
        user: String,
    },
    /// The server asks for a password, and none was given.
    #[error("PostgreSQL at {addr} asks for a password of user \"{user}\": give --db-password or --db-password-file")]
    NoPassword {
        /// Where the server is.
        addr: HostPort,
        /// Who wanted in.
        user: String,
    },
    /// The database does not exist.
    #[error("PostgreSQL at {addr} has no database \"{name}\": create it, or name another with --db-name")]
    NoDatabase {
        /// Where the server is.
        addr: HostPort,
        /// The database that was asked for.
        name: String,
    },
    /// The server does not let this client in now.
    #[error("PostgreSQL at {addr} refuses the connection: {why}")]
    Refused {
        /// Where the server is.
        addr: HostPort,
        /// What the server said.
        why: String,
    },
    /// The password's file cannot be read.
    #[error("cannot read the password file {}: {error}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Connects and logs in within [`CONNECT_LIMIT`]. The connection ends when the client is dropped. `program` is
/// what `pg_stat_activity` shows as the application.
///
/// # Errors
/// The server cannot be reached or does not let us in.
pub async fn connect(to: &Connections, program: &str) -> Result<Client, ConnectError> {
    let settings = settings(to, program)?;
    let too_slow = |_| unreachable(to, "it does not answer in time");
    let session = async {
        let stream = reach(&to.db_addr).await.map_err(|it| unreachable(to, &it.to_string()))?;
        settings.connect_raw(stream, NoTls).await.map_err(|it| ConnectError::refused(to, &it))
    };
    let (client, connection) = timeout(CONNECT_LIMIT, session).await.map_err(too_slow)??;
    // Whoever uses the client meanwhile gets the error too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// User, password and database for `tokio_postgres`, without an address: the stream is made by the caller.
///
/// # Errors
/// The password's file cannot be read.
pub fn settings(to: &Connections, program: &str) -> Result<Config, ConnectError> {
    let mut settings = Config::new();
    settings.user(&to.db_user).dbname(&to.db_name).application_name(program);
    let password = to.password().map_err(|error| {
        let path = to.db_password_file.clone().unwrap_or_default();
        ConnectError::PasswordFile { path, error }
    })?;
    if let Some(password) = password {
        settings.password(password.reveal());
    }
    Ok(settings)
}

async fn reach(addr: &HostPort) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((addr.host.as_str(), addr.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn unreachable(to: &Connections, why: &str) -> ConnectError {
    ConnectError::Unreachable { addr: to.db_addr.clone(), why: why.to_owned() }
}

// === impl ConnectError ===

impl ConnectError {
    /// What a failed login means.
    #[must_use]
    pub fn refused(to: &Connections, error: &tokio_postgres::Error) -> Self {
        let addr = to.db_addr.clone();
        let user = to.db_user.clone();
        match error.code() {
            Some(code) if *code == SqlState::INVALID_PASSWORD => ConnectError::WrongPassword { addr, user },
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                ConnectError::NoDatabase { addr, name: to.db_name.clone() }
            }
            None if explain(error).contains("password missing") => ConnectError::NoPassword { addr, user },
            None => ConnectError::Unreachable { addr, why: explain(error) },
            Some(_) => ConnectError::Refused { addr, why: explain(error) },
        }
    }
}
