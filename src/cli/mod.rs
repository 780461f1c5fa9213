//! The commands of `backendai-manager`.
//!
//! Options are declared once, as types, and parsing, `--help` and completions come from these. A command takes
//! parsed options and a writer, so that tests call it as the program does. What goes wrong is one line on
//! standard error and exit code 1; a command line that cannot be understood is one line and exit code 2.
//!
//! What changes something is noted in the audit log before it is done, and what cannot be undone asks first.

mod agent;
mod alias;
mod amount;
mod audit;
mod audit_log;
mod complete;
mod confirm;
mod dbshell;
mod doctor;
mod error;
mod etcd;
mod fixture;
mod gateway;
mod gql_schema;
mod image;
mod keypair;
mod leading;
mod listing;
mod man;
mod progress;
mod rows;
mod schema;
mod screen;
mod session;
mod status;
mod table;
mod top;
mod usage;
mod width;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io::{BufWriter, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio_postgres::Client;

pub use crate::keygen::{access_key, secret_key};
pub use error::CliError;
pub use listing::Format;
pub use screen::{Screen, Sink};

use crate::{
    config::{Connections, line_first},
    store::postgres::{
        connect::connect,
        migrate::{SchemaError, standing},
    },
};

/// Where a command writes what it was asked for.
pub type Out<'a> = &'a mut dyn Sink;

/// How the program appears in the servers' lists of connections.
const PROGRAM: &str = "backendai-manager";

/// Operate a Backend.AI cluster: its database, its configuration, its key pairs
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    connections: Connections,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make, upgrade or show the database schema
    #[command(subcommand)]
    Schema(schema::Command),
    /// Open psql on the database
    Dbshell(dbshell::Args),
    /// Load ready-made rows into the database
    Fixture(fixture::Args),
    /// Read and write the cluster's configuration in etcd
    #[command(subcommand)]
    Etcd(etcd::Command),
    /// Make and manage users' key pairs
    #[command(subcommand)]
    Keypair(keypair::Command),
    /// List, show and end compute sessions
    #[command(subcommand)]
    Session(session::Command),
    /// List and show compute nodes, and keep sessions away from them
    #[command(subcommand)]
    Agent(agent::Command),
    /// List, add and remove the images that sessions can have
    #[command(subcommand)]
    Image(image::Command),
    /// List, add and remove other names of images
    #[command(subcommand)]
    Alias(alias::Command),
    /// Read the audit log: who changed what, and how it went
    #[command(subcommand)]
    Audit(audit_log::Command),
    /// Show the gateway on this machine: its workers, and the stores that it misses
    Status(status::Args),
    /// Watch workers, agents and sessions live in the terminal
    Top(top::Args),
    /// Look at everything that the cluster stands on; say what is wrong and what mends it
    Doctor(doctor::Args),
    /// Print the description of the REST API (OpenAPI 3.1)
    Openapi,
    /// Print a schema of the admin API (GraphQL)
    GqlSchema(gql_schema::Args),
    /// Print a completion script for a shell
    Completions(complete::Args),
    /// Print the manual page, or write one for each command
    Man(man::Args),
}

/// Runs the program with these arguments, the first being its name.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Standard output by itself writes each line apart, and lists can be long.
    let mut out = BufWriter::new(std::io::stdout());
    let result = runtime.map_err(CliError::Output).and_then(|it| it.block_on(execute(cli, &mut out)));
    // What was done comes before what went wrong.
    let result = result.and(out.flush().map_err(CliError::Output));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{PROGRAM}: {error}");
            error.exit_code()
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = line_first(Cli::command(), &args);
    let matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Runs one command.
///
/// # Errors
/// What went wrong, in words for an operator.
pub async fn execute(cli: Cli, out: Out<'_>) -> Result<(), CliError> {
    let to = &cli.connections;
    match cli.command {
        Command::Schema(command) => schema::run(command, to, out).await,
        Command::Dbshell(args) => dbshell::run(&args, to),
        Command::Fixture(args) => fixture::run(args, to, out).await,
        Command::Etcd(command) => etcd::run(command, to, out).await,
        Command::Keypair(command) => keypair::run(command, to, out).await,
        Command::Session(command) => session::run(command, to, out).await,
        Command::Agent(command) => agent::run(command, to, out).await,
        Command::Image(command) => image::run(command, to, out).await,
        Command::Alias(command) => alias::run(command, to, out).await,
        Command::Audit(command) => audit_log::run(command, to, out).await,
        Command::Status(args) => status::run(&args, out).await,
        Command::Top(args) => top::run(&args, to, out).await,
        Command::Doctor(args) => doctor::run(&args, to, out).await,
        Command::Openapi => out.write_all(crate::api::openapi::text().as_bytes()).map_err(CliError::Output),
        Command::GqlSchema(args) => gql_schema::run(&args, out),
        Command::Completions(args) => complete::run(args, out),
        Command::Man(args) => man::run(&args, out),
    }?;
    out.flush().map_err(CliError::Output)
}

/// A database that has tables: this release's or an older one's.
async fn database(to: &Connections) -> Result<Client, CliError> {
    let client = connect(to, PROGRAM).await?;
    match standing(&client).await?.version {
        0 => Err(SchemaError::Empty.into()),
        _ => Ok(client),
    }
}
