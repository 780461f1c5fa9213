//! `keypair generate`, `keypair add`: key pairs that come.

use std::{io::Read, path::PathBuf};

use serde_json::{Value, json};
use tokio_postgres::{Client, error::SqlState};

use super::show;
use crate::{
    cli::{CliError, Out, access_key, audit::noted, database, listing::Output, secret_key},
    config::Connections,
};

/// What `keypair add` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The access key, at most 20 characters
    #[arg(value_name = "ACCESS_KEY", value_parser = fits::<20>)]
    access_key: String,
    /// A file whose first line is the secret key; `-` for standard input
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    #[command(flatten)]
    owner: Owner,
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

const INSERT: &str = "INSERT INTO keypairs (access_key, secret_key, user_id, is_active, is_admin, concurrency_limit, \
                      concurrency_used, rate_limit, resource_policy) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)";

pub async fn generate(client: &Client, owner: &Owner, output: Output, out: Out<'_>) -> Result<(), CliError> {
    let (access, secret) = (access_key()?, secret_key()?);
    let work = insert(client, &access, &secret, owner);
    noted(client, "keypair generate", "keypair", &access, &owner.detail(), work).await?;
    show(access, secret, output, out)
}

pub async fn add(args: Args, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let Args { access_key, secret_file, owner } = args;
    let secret = read_secret(&secret_file)?;
    let client = database(to).await?;
    let work = insert(&client, &access_key, &secret, &owner);
    noted(&client, "keypair add", "keypair", &access_key, &owner.detail(), work).await?;
    Ok(writeln!(out, "added {access_key}")?)
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

// === impl Owner ===

impl Owner {
    /// What the audit log says of it.
    fn detail(&self) -> Value {
        let Owner { user_id, admin, inactive, concurrency_limit, rate_limit, resource_policy } = self;
        json!({
            "user_id": user_id,
            "is_admin": admin,
            "is_active": !inactive,
            "concurrency_limit": concurrency_limit,
            "rate_limit": rate_limit,
            "resource_policy": resource_policy,
        })
    }
}
