//! `session`: what runs, what ran, and how it is ended.

mod destroy;
mod ending;

use clap::Subcommand;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    CliError, Out, database,
    listing::{Listing, Output},
    rows::{Page, Rows},
};
use crate::config::Connections;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List sessions; only live ones unless told otherwise
    List {
        /// Also those that have ended
        #[arg(long, conflicts_with = "status")]
        all: bool,
        /// Only those in this state
        #[arg(long, value_name = "STATE", ignore_case = true, value_parser = STATES)]
        status: Option<String>,
        /// Only those of this key
        #[arg(long, value_name = "KEY")]
        access_key: Option<String>,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Output,
    },
    /// Show everything about a session
    Show {
        /// Its name (live ones of that name, or else the one that ended last) or its kernel's id
        #[arg(value_name = "NAME|ID")]
        session: String,
        #[command(flatten)]
        output: Output,
    },
    /// End sessions, whoever made them
    Destroy(destroy::Args),
}

/// The enum type `kernelstatus`.
const STATES: [&str; 9] =
    ["PREPARING", "BUILDING", "RUNNING", "RESTARTING", "RESIZING", "SUSPENDED", "TERMINATING", "TERMINATED", "ERROR"];

const COLUMNS: [&str; 8] = ["sess_id", "id", "access_key", "lang", "status", "status_info", "agent", "created_at"];

const DETAILS: [&str; 27] = [
    "sess_id",
    "id",
    "role",
    "access_key",
    "lang",
    "status",
    "status_info",
    "created_at",
    "terminated_at",
    "agent",
    "agent_addr",
    "container_id",
    "mem_slot",
    "cpu_slot",
    "gpu_slot",
    "repl_in_port",
    "repl_out_port",
    "stdin_port",
    "stdout_port",
    "num_queries",
    "cpu_used",
    "mem_max_bytes",
    "net_rx_bytes",
    "net_tx_bytes",
    "io_read_bytes",
    "io_write_bytes",
    "io_max_scratch_size",
];

/// The values of `environ` are left out: users put secrets there.
const FOUND: &str = "FROM (SELECT *, status NOT IN ('TERMINATED', 'ERROR') AS live, \
                     row_number() OVER (ORDER BY created_at DESC) AS age, \
                     bool_or(status NOT IN ('TERMINATED', 'ERROR')) OVER () AS any_live \
                     FROM kernels WHERE id = $2 OR (sess_id = $1 AND role = 'master')) k \
                     WHERE live OR (age = 1 AND NOT any_live) ORDER BY created_at DESC";

/// Newest first; those of one moment in the order of their ids, so that pages never repeat one.
const LISTED: &str = "FROM kernels WHERE role = 'master' AND ($1::text IS NULL OR access_key = $1) AND \
                      CASE WHEN $2::text IS NOT NULL THEN status::text = upper($2) \
                      ELSE $3 OR status NOT IN ('TERMINATED', 'ERROR') END ORDER BY created_at DESC, id";

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    match command {
        Command::List { all, status, access_key, page, output } => {
            let mut client = database(to).await?;
            let params: [&(dyn ToSql + Sync); 3] = [&access_key, &status, &all];
            Rows::select(&mut client, &COLUMNS, LISTED, &params, page).await?.write(output, out).await
        }
        Command::Show { session, output } => {
            let id = Uuid::try_parse(&session).ok();
            let rows = Listing::select(&database(to).await?, &DETAILS, FOUND, &[&session, &id]).await?;
            match rows.is_empty() {
                true => Err(CliError::Refused(format!("there is no session {session}"))),
                false => rows.write_blocks(output, out),
            }
        }
        Command::Destroy(args) => destroy::run(&args, to, out).await,
    }
}
