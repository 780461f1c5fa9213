//! `dbshell`: becomes `psql`, connected to the cluster's database.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use super::{CliError, PROGRAM};
use crate::{config::Connections, store::postgres::connect::ConnectError};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// More arguments for psql, after `--`: `dbshell -- -c 'SELECT 1'`
    #[arg(last = true, value_name = "ARG")]
    args: Vec<OsString>,
}

/// Returns only if psql cannot be started. The password goes through the environment, not the command line.
pub fn run(args: &Args, to: &Connections) -> Result<(), CliError> {
    let mut psql = command(args, to)?;
    Err(CliError::Start { program: "psql", error: psql.exec() })
}

fn command(args: &Args, to: &Connections) -> Result<Command, CliError> {
    let mut psql = Command::new("psql");
    psql.args(&args.args);
    psql.env("PGHOST", &to.db_addr.host).env("PGPORT", to.db_addr.port.to_string());
    psql.env("PGUSER", &to.db_user).env("PGDATABASE", &to.db_name).env("PGAPPNAME", PROGRAM);
    let password = to.password().map_err(|error| {
        let path = to.db_password_file.clone().unwrap_or_default();
        ConnectError::PasswordFile { path, error }
    })?;
    if let Some(password) = password {
        psql.env("PGPASSWORD", password.reveal());
    }
    Ok(psql)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Postgres;

    #[test]
    fn psql_reaches_the_database_that_the_options_name() {
        let postgres = Postgres::shared();
        let name = postgres.new_database();
        let args = Args { args: ["-XAtc", "SELECT current_database()"].map(OsString::from).to_vec() };
        let output = command(&args, &postgres.connections(&name)).unwrap().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), name);
    }
}
