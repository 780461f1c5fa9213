//! `agent`: the compute nodes as the database knows them.

use clap::Subcommand;

use super::{
    CliError, Out, database,
    listing::{Listing, Output},
};
use crate::config::Connections;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List agents with their slots: memory in MiB, CPU cores, GPU devices
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show everything about an agent
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        agent: String,
        #[command(flatten)]
        output: Output,
    },
}

const COLUMNS: [&str; 10] = [
    "id",
    "status",
    "region",
    "used_mem_slots",
    "mem_slots",
    "used_cpu_slots",
    "cpu_slots",
    "used_gpu_slots",
    "gpu_slots",
    "addr",
];

const DETAILS: [&str; 13] = [
    "id",
    "status",
    "region",
    "addr",
    "used_mem_slots",
    "mem_slots",
    "used_cpu_slots",
    "cpu_slots",
    "used_gpu_slots",
    "gpu_slots",
    "first_contact",
    "lost_at",
    "(SELECT count(*) FROM kernels WHERE agent = agents.id AND status NOT IN ('TERMINATED', 'ERROR')) AS live_kernels",
];

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let client = database(to).await?;
    match command {
        Command::List { output } => {
            Listing::select(&client, &COLUMNS, "FROM agents ORDER BY id", &[]).await?.write(output, out)
        }
        Command::Show { agent, output } => {
            let rows = Listing::select(&client, &DETAILS, "FROM agents WHERE id = $1", &[&agent]).await?;
            match rows.is_empty() {
                true => Err(CliError::Refused(format!("there is no agent {agent}"))),
                false => rows.write_blocks(output, out),
            }
        }
    }
}
