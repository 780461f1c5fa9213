//! `keypair modify`, `rotate`, `activate`, `deactivate`: key pairs that change. A trigger tells running gateways, so
//! that they follow within a second.

use clap::ArgGroup;
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use super::{no_key_pair, show};
use crate::cli::{CliError, Out, audit::noted, confirm::Yes, listing::Output, secret_key};

/// What `keypair modify` takes; what is not given stays.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("change").args(CHANGES).required(true).multiple(true)))]
pub struct Args {
    /// The access key
    #[arg(value_name = "ACCESS_KEY")]
    access_key: String,
    /// Whether it may use the administrators' API
    #[arg(long, value_name = "true|false")]
    admin: Option<bool>,
    /// How many sessions it may have at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    concurrency_limit: Option<i32>,
    /// How many requests it may send in 15 minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    rate_limit: Option<i32>,
    /// The name of its resource policy
    #[arg(long, value_name = "NAME")]
    resource_policy: Option<String>,
    /// The user it belongs to
    #[arg(long, value_name = "ID")]
    user_id: Option<i32>,
}

/// At least one of these is given.
const CHANGES: [&str; 5] = ["admin", "concurrency_limit", "rate_limit", "resource_policy", "user_id"];

/// What `keypair rotate` takes.
#[derive(Debug, clap::Args)]
pub struct Rotate {
    /// The access key
    #[arg(value_name = "ACCESS_KEY")]
    access_key: String,
    #[command(flatten)]
    yes: Yes,
    #[command(flatten)]
    output: Output,
}

/// The old and the new values, of which only those that differ are told.
const MODIFY: &str = "UPDATE keypairs SET is_admin = coalesce($2, keypairs.is_admin), \
                      concurrency_limit = coalesce($3, keypairs.concurrency_limit), \
                      rate_limit = coalesce($4, keypairs.rate_limit), \
                      resource_policy = coalesce($5, keypairs.resource_policy), \
                      user_id = coalesce($6, keypairs.user_id) \
                      FROM (SELECT * FROM keypairs WHERE access_key = $1 FOR UPDATE) old \
                      WHERE keypairs.access_key = old.access_key RETURNING \
                      json_build_object('is_admin', old.is_admin, 'concurrency_limit', old.concurrency_limit, \
                      'rate_limit', old.rate_limit, 'resource_policy', old.resource_policy, 'user_id', old.user_id), \
                      json_build_object('is_admin', keypairs.is_admin, \
                      'concurrency_limit', keypairs.concurrency_limit, 'rate_limit', keypairs.rate_limit, \
                      'resource_policy', keypairs.resource_policy, 'user_id', keypairs.user_id)";

pub async fn modify(args: &Args, client: &Client, out: Out<'_>) -> Result<(), CliError> {
    let Args { access_key, admin, concurrency_limit, rate_limit, resource_policy, user_id } = args;
    let work = async {
        let row = client
            .query_opt(MODIFY, &[access_key, admin, concurrency_limit, rate_limit, resource_policy, user_id])
            .await?;
        row.map(|it| (it.get::<_, Value>(0), it.get::<_, Value>(1))).ok_or_else(|| no_key_pair(access_key))
    };
    let (old, new) = noted(client, "keypair modify", "keypair", access_key, &args.detail(), work).await?;
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Ok(()) };
    let changed: Vec<String> = new
        .iter()
        .filter_map(|(name, new)| {
            let old = old.get(name).unwrap_or(&Value::Null);
            (old != new).then(|| format!("{name} {} -> {}", plain(old), plain(new)))
        })
        .collect();
    let changed = if changed.is_empty() { "is so already".to_owned() } else { changed.join(", ") };
    Ok(writeln!(out, "{access_key}: {changed}")?)
}

pub async fn rotate(args: Rotate, client: &Client, out: Out<'_>) -> Result<(), CliError> {
    let Rotate { access_key, yes, output } = args;
    let known = client.query_opt("SELECT FROM keypairs WHERE access_key = $1", &[&access_key]).await?;
    known.ok_or_else(|| no_key_pair(&access_key))?;
    yes.ask(&format!("Replace the secret of {access_key}, which its users then need anew"))?;
    let secret = secret_key()?;
    let work = async {
        let sql = "UPDATE keypairs SET secret_key = $2 WHERE access_key = $1";
        match client.execute(sql, &[&access_key, &secret]).await? {
            0 => Err(no_key_pair(&access_key)),
            _ => Ok(()),
        }
    };
    noted(client, "keypair rotate", "keypair", &access_key, &json!({}), work).await?;
    show(access_key, secret, output, out)
}

pub async fn set_active(client: &Client, access: &str, active: bool, out: Out<'_>) -> Result<(), CliError> {
    let work = async {
        let sql = "UPDATE keypairs SET is_active = $2 WHERE access_key = $1";
        match client.execute(sql, &[&access, &active]).await? {
            0 => Err(no_key_pair(access)),
            _ => Ok(()),
        }
    };
    let action = if active { "keypair activate" } else { "keypair deactivate" };
    noted(client, action, "keypair", access, &json!({}), work).await?;
    Ok(writeln!(out, "{access} is {}", if active { "active" } else { "inactive" })?)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

// === impl Args ===

impl Args {
    /// What the audit log says of it: only what was given.
    fn detail(&self) -> Value {
        let Args { access_key: _, admin, concurrency_limit, rate_limit, resource_policy, user_id } = self;
        let given = [
            ("is_admin", json!(admin)),
            ("concurrency_limit", json!(concurrency_limit)),
            ("rate_limit", json!(rate_limit)),
            ("resource_policy", json!(resource_policy)),
            ("user_id", json!(user_id)),
        ];
        let given = given.into_iter().filter(|(_, value)| !value.is_null());
        given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
    }
}
