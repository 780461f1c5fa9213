//! `keypair`: the users' keys. Secrets are shown once, when they are made, and never listed.

mod change;
mod new;

use clap::Subcommand;
use tokio_postgres::types::ToSql;

use super::{
    CliError, Out, database,
    listing::{Listing, Output, Row},
    rows::{Page, Rows},
};
use crate::config::Connections;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new key pair and print it; its secret is not shown again
    Generate {
        #[command(flatten)]
        owner: new::Owner,
        #[command(flatten)]
        output: Output,
    },
    /// Add a key pair that exists elsewhere
    Add(new::Args),
    /// List key pairs, without their secrets
    List {
        /// Only the key pairs of this user
        #[arg(long, value_name = "ID")]
        user_id: Option<i32>,
        /// Only those that can be used
        #[arg(long)]
        active: bool,
        /// Only those that are refused
        #[arg(long, conflicts_with = "active")]
        inactive: bool,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Output,
    },
    /// Change what a key pair may do
    Modify(change::Args),
    /// Give a key pair a new secret and print it; the old one is refused from now on
    Rotate(change::Rotate),
    /// Let a key pair be used
    Activate {
        /// The access key
        #[arg(value_name = "ACCESS_KEY")]
        access_key: String,
    },
    /// Refuse a key pair from now on
    Deactivate {
        /// The access key
        #[arg(value_name = "ACCESS_KEY")]
        access_key: String,
    },
}

const COLUMNS: [&str; 11] = [
    "user_id",
    "access_key",
    "is_active",
    "is_admin",
    "concurrency_used",
    "concurrency_limit",
    "rate_limit",
    "resource_policy",
    "num_queries",
    "created_at",
    "last_used",
];

const LISTED: &str = "FROM keypairs WHERE ($1::int IS NULL OR user_id = $1) \
                      AND ($2::boolean IS NULL OR coalesce(is_active, false) = $2) ORDER BY user_id, access_key";

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    match command {
        Command::Generate { owner, output } => new::generate(&database(to).await?, &owner, output, out).await,
        Command::Add(args) => new::add(args, to, out).await,
        Command::List { user_id, active, inactive, page, output } => {
            let wanted = (active || inactive).then_some(active);
            let mut client = database(to).await?;
            let params: [&(dyn ToSql + Sync); 2] = [&user_id, &wanted];
            Rows::select(&mut client, &COLUMNS, LISTED, &params, page).await?.write(output, out).await
        }
        Command::Modify(args) => change::modify(&args, &database(to).await?, out).await,
        Command::Rotate(args) => change::rotate(args, &database(to).await?, out).await,
        Command::Activate { access_key } => change::set_active(&database(to).await?, &access_key, true, out).await,
        Command::Deactivate { access_key } => change::set_active(&database(to).await?, &access_key, false, out).await,
    }
}

/// Shows a secret, once.
fn show(access: String, secret: String, output: Output, out: Out<'_>) -> Result<(), CliError> {
    let row = Row::from_iter([("access_key".into(), access.into()), ("secret_key".into(), secret.into())]);
    Listing::new(&["access_key", "secret_key"], vec![row]).write_blocks(output, out)
}

fn no_key_pair(access: &str) -> CliError {
    CliError::Refused(format!("there is no key pair {access}"))
}
