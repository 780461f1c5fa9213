//! `schema`: where the database stands, and how it becomes current.

use clap::Subcommand;
use tokio_postgres::Client;

use super::{CliError, Out, PROGRAM};
use crate::{
    config::Connections,
    store::postgres::{
        connect::connect,
        migrate::{self, Migration},
    },
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an empty database current in one go
    Oneshot {
        /// What to make it; only `head`, the newest schema
        #[arg(value_parser = ["head"])]
        target: String,
    },
    /// Apply what is pending, to a database of any earlier release too; every row is kept
    Upgrade,
    /// Show which migrations the database has and which are pending
    Show,
}

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let mut client = connect(to, PROGRAM).await?;
    match command {
        Command::Oneshot { .. } => oneshot(&mut client, out).await,
        Command::Upgrade => upgrade(&mut client, out).await,
        Command::Show => show(&client, out).await,
    }
}

async fn oneshot(client: &mut Client, out: Out<'_>) -> Result<(), CliError> {
    let mut done = Vec::new();
    let result = migrate::oneshot_head(client, |it| done.push(it)).await;
    report(&done, out)?;
    Ok(result?)
}

async fn upgrade(client: &mut Client, out: Out<'_>) -> Result<(), CliError> {
    let mut done = Vec::new();
    let result = migrate::upgrade(client, |it| done.push(it)).await;
    report(&done, out)?;
    Ok(result?)
}

/// What was done, also when a later migration failed.
fn report(done: &[&Migration], out: Out<'_>) -> Result<(), CliError> {
    for migration in done {
        writeln!(out, "applied {}", migration.name)?;
    }
    if done.is_empty() {
        writeln!(out, "nothing to apply")?;
    }
    Ok(())
}

async fn show(client: &Client, out: Out<'_>) -> Result<(), CliError> {
    let standing = migrate::standing(client).await?;
    let applied = migrate::applied(client).await?;
    writeln!(out, "schema: {} (this release: {})", standing.version, migrate::newest())?;
    writeln!(out, "alembic_version: {}", standing.alembic.as_deref().unwrap_or("-"))?;
    for it in &applied {
        writeln!(out, "applied  {}  {:.0}", it.name, it.applied_at)?;
    }
    for it in standing.pending() {
        writeln!(out, "pending  {}", it.name)?;
    }
    Ok(())
}
