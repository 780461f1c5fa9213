//! `keypair`: the users' keys. Secrets are shown once, when they are made, and never listed.

use std::{io::Read, path::PathBuf};

use clap::Subcommand;
use tokio_postgres::{Client, error::SqlState};

use super::{
    CliError, Out, access_key, database,
    listing::{Listing, Output, Row},
    secret_key,
};
use crate::config::Connections;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new key pair and print it; its secret is not shown again
    Generate {
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        output: Output,
    },
    /// Add a key pair that exists elsewhere
    Add {
        /// The access key, at most 20 characters
        #[arg(value_name = "ACCESS_KEY", value_parser = fits::<20>)]
        access_key: String,
        /// A file whose first line is the secret key; `-` for standard input
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        #[command(flatten)]
        owner: Owner,
    },
    /// List key pairs, without their secrets
    List {
        /// Only the key pairs of this user
        #[arg(long, value_name = "ID")]
        user_id: Option<i32>,
        #[command(flatten)]
        output: Output,
    },
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

/// Whose key pair it is and what it may do.
#[derive(Debug, clap::Args)]
pub struct Owner {
    /// The user it belongs to
    #[arg(long, value_name = "ID")]
    user_id: i32,
    /// Let it use the administrators' API
    #[arg(long)]
    admin: bool,
    /// Keep it from being used until `keypair activate`
    #[arg(long)]
    inactive: bool,
    /// How many sessions it may have at once
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(i32).range(0..))]
    concurrency_limit: i32,
    /// How many requests it may send in 15 minutes
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(i32).range(0..))]
    rate_limit: i32,
    /// The name of its resource policy
    #[arg(long, value_name = "NAME")]
    resource_policy: Option<String>,
}

const COLUMNS: [&str; 10] = [
    "user_id",
    "access_key",
    "is_active",
    "is_admin",
    "concurrency_used",
    "concurrency_limit",
    "rate_limit",
    "num_queries",
    "created_at",
    "last_used",
];

const INSERT: &str = "INSERT INTO keypairs (access_key, secret_key, user_id, is_active, is_admin, concurrency_limit, \
                      concurrency_used, rate_limit, resource_policy) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)";

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    match command {
        Command::Generate { owner, output } => generate(&database(to).await?, &owner, output, out).await,
        Command::Add { access_key, secret_file, owner } => {
            let secret = read_secret(&secret_file)?;
            insert(&database(to).await?, &access_key, &secret, &owner).await?;
            Ok(writeln!(out, "added {access_key}")?)
        }
        Command::List { user_id, output } => {
            let rest = "FROM keypairs WHERE $1::int IS NULL OR user_id = $1 ORDER BY user_id, access_key";
            Listing::select(&database(to).await?, &COLUMNS, rest, &[&user_id]).await?.write(output, out)
        }
        Command::Activate { access_key } => set_active(&database(to).await?, &access_key, true, out).await,
        Command::Deactivate { access_key } => set_active(&database(to).await?, &access_key, false, out).await,
    }
}

async fn generate(client: &Client, owner: &Owner, output: Output, out: Out<'_>) -> Result<(), CliError> {
    let (access, secret) = (access_key()?, secret_key()?);
    insert(client, &access, &secret, owner).await?;
    let row = Row::from_iter([("access_key".into(), access.into()), ("secret_key".into(), secret.into())]);
    Listing::new(&["access_key", "secret_key"], vec![row]).write_blocks(output, out)
}

async fn insert(client: &Client, access: &str, secret: &str, owner: &Owner) -> Result<(), CliError> {
    let Owner { user_id, admin, inactive, concurrency_limit, rate_limit, resource_policy } = owner;
    let result = client
        .execute(
            INSERT,
            &[&access, &secret, user_id, &!inactive, admin, concurrency_limit, rate_limit, resource_policy],
        )
        .await;
    match result {
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            Err(CliError::Refused(format!("there is a key pair {access} already")))
        }
        other => Ok(other.map(|_| ())?),
    }
}

async fn set_active(client: &Client, access: &str, active: bool, out: Out<'_>) -> Result<(), CliError> {
    let sql = "UPDATE keypairs SET is_active = $2 WHERE access_key = $1";
    match client.execute(sql, &[&access, &active]).await? {
        0 => Err(CliError::Refused(format!("there is no key pair {access}"))),
        _ => Ok(writeln!(out, "{access} is {}", if active { "active" } else { "inactive" })?),
    }
}

fn read_secret(path: &PathBuf) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(|_| ()),
        false => std::fs::read_to_string(path).map(|it| text = it),
    };
    read.map_err(|error| CliError::Read { path: path.clone(), error })?;
    let secret = text.lines().next().unwrap_or_default();
    let wrong = |what| CliError::Content { file: format!("{}:1", path.display()), what };
    match secret.is_empty() {
        true => Err(wrong("there is no secret key".into())),
        false => fits::<40>(secret).map_err(wrong),
    }
}

/// A text that fits its column.
fn fits<const MAX: usize>(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("it is empty".into()),
        count if count > MAX => Err(format!("it has {count} characters, at most {MAX} fit")),
        _ => Ok(text.to_owned()),
    }
}
