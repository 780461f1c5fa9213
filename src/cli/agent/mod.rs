//! `agent`: the compute nodes as the database knows them, and how sessions are kept away from them.

mod cordon;
mod drain;

use clap::Subcommand;

use super::{
    CliError, Out, database,
    listing::{Listing, Output},
    rows::{Page, Rows},
};
use crate::config::Connections;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List agents with their slots: memory in MiB, CPU cores, GPU devices
    List {
        #[command(flatten)]
        page: Page,
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
    /// Let agents get no new sessions; those they have go on
    Cordon {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        agents: Vec<String>,
    },
    /// Let agents get new sessions again, and end no more of a drained agent's
    Uncordon {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        agents: Vec<String>,
    },
    /// Let an agent get no new sessions, and end those it has
    Drain(drain::Args),
}

const COLUMNS: [&str; 12] = [
    "id",
    "status",
    "schedulable",
    "region",
    "used_mem_slots",
    "mem_slots",
    "used_cpu_slots",
    "cpu_slots",
    "used_gpu_slots",
    "gpu_slots",
    "addr",
    "drain_at",
];

const DETAILS: [&str; 15] = [
    "id",
    "status",
    "schedulable",
    "drain_at",
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
    let mut client = database(to).await?;
    match command {
        Command::List { page, output } => {
            Rows::select(&mut client, &COLUMNS, "FROM agents ORDER BY id", &[], page).await?.write(output, out).await
        }
        Command::Show { agent, output } => {
            let rows = Listing::select(&client, &DETAILS, "FROM agents WHERE id = $1", &[&agent]).await?;
            match rows.is_empty() {
                true => Err(no_agent(&agent)),
                false => rows.write_blocks(output, out),
            }
        }
        Command::Cordon { agents } => cordon::set(&client, &agents, cordon::CORDON, out).await,
        Command::Uncordon { agents } => cordon::set(&client, &agents, cordon::UNCORDON, out).await,
        Command::Drain(args) => drain::run(&args, &client, to, out).await,
    }
}

fn no_agent(agent: &str) -> CliError {
    CliError::Refused(format!("there is no agent {agent}"))
}
