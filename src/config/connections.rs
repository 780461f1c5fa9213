//! Where the three stores are: the options that gateway, manager and agent share.

use std::{fmt, path::PathBuf};

use super::HostPort;

/// A value that is never shown: not in logs, not by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

/// Namespace and addresses of the stores.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub struct Connections {
    /// The cluster's name: gateways, agents and databases of one namespace belong together
    #[arg(long, env = "BACKEND_NAMESPACE", default_value = "local", value_name = "NAME", global = true)]
    pub namespace: String,

    /// An etcd endpoint; repeatable, or several separated by commas
    #[arg(
        long,
        env = "BACKEND_ETCD_ADDR",
        default_value = "127.0.0.1:2379",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        global = true
    )]
    pub etcd_addr: Vec<HostPort>,

    /// The Redis server
    #[arg(long, env = "BACKEND_REDIS_ADDR", default_value = "127.0.0.1:6379", value_name = "HOST:PORT", global = true)]
    pub redis_addr: HostPort,

    /// The PostgreSQL server
    #[arg(long, env = "BACKEND_DB_ADDR", default_value = "127.0.0.1:5432", value_name = "HOST:PORT", global = true)]
    pub db_addr: HostPort,

    /// The database
    #[arg(long, env = "BACKEND_DB_NAME", default_value = "backend", value_name = "NAME", global = true)]
    pub db_name: String,

    /// The database's user
    #[arg(long, env = "BACKEND_DB_USER", default_value = "postgres", value_name = "NAME", global = true)]
    pub db_user: String,

    /// The database user's password
    #[arg(long, env = "BACKEND_DB_PASSWORD", value_name = "TEXT", hide_env_values = true, global = true)]
    pub db_password: Option<Secret>,

    /// A file whose first line is the database user's password
    #[arg(long, env = "BACKEND_DB_PASSWORD_FILE", value_name = "FILE", conflicts_with = "db_password", global = true)]
    pub db_password_file: Option<PathBuf>,
}

impl Connections {
    /// The database user's password: as given, or the first line of the file that was named.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn password(&self) -> std::io::Result<Option<Secret>> {
        match &self.db_password_file {
            None => Ok(self.db_password.clone()),
            Some(path) => {
                let text = std::fs::read_to_string(path)?;
                Ok(Some(Secret::new(text.lines().next().unwrap_or_default())))
            }
        }
    }
}
