//! `etcd`: the cluster's configuration. Files are read and checked to the end before anything is written.

mod aliases;
mod images;
pub(super) mod note;
pub(super) mod store;
mod volumes;
mod yaml;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

pub(super) use self::{aliases::is_alias, images::is_name, store::problem};
use self::{
    note::noted,
    store::{Change, Etcd},
};
use super::{
    CliError, Out,
    confirm::{Yes, counted},
    listing::{Listing, Output, Row},
    rows::Page,
};
use crate::config::Connections;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load images (names, tags, slots) from a YAML file
    UpdateImages {
        #[command(flatten)]
        file: FileArg,
        /// Remove tags of these images that the file does not have
        #[arg(long)]
        prune: bool,
    },
    /// Load image aliases from a YAML file
    UpdateAliases(FileArg),
    /// Load network volumes from a YAML file
    UpdateVolumes(FileArg),
    /// Print the value of a key
    Get {
        /// The key, below `/sorna/<namespace>/`
        key: String,
    },
    /// Set a key
    Put {
        /// The key, below `/sorna/<namespace>/`
        key: String,
        /// Its new value
        value: String,
    },
    /// Remove a key
    Delete {
        /// The key, below `/sorna/<namespace>/`
        key: String,
        /// Remove every key below it too
        #[arg(long)]
        recursive: bool,
        #[command(flatten)]
        yes: Yes,
    },
    /// List keys and their values
    Ls {
        /// Only the key and keys below it, under `/sorna/<namespace>/`
        #[arg(default_value = "", hide_default_value = true)]
        key: String,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
pub struct FileArg {
    /// The YAML file
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    path: PathBuf,
}

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    match command {
        Command::UpdateImages { file, prune } => images::update(&file.read()?, prune, to, out).await,
        Command::UpdateAliases(file) => aliases::update(&file.read()?, to, out).await,
        Command::UpdateVolumes(file) => volumes::update(&file.read()?, to, out).await,
        Command::Get { key } => {
            let value = Etcd::connect(to).await?.get(&key).await?.ok_or_else(|| no_key(&key))?;
            Ok(writeln!(out, "{value}")?)
        }
        Command::Put { key, value } => put(&key, value, to).await,
        Command::Delete { key, recursive, yes } => delete(&key, recursive, yes, to, out).await,
        Command::Ls { key, page, output } => list(&key, page, to).await?.write(output, out),
    }
}

/// A value can be a secret, and so is not in the audit log.
async fn put(key: &str, value: String, to: &Connections) -> Result<(), CliError> {
    let work = async { Etcd::connect(to).await?.commit(vec![Change::put(key, value)]).await };
    noted(to, "etcd put", "etcd", key, &json!({}), work).await
}

async fn delete(key: &str, recursive: bool, yes: Yes, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let mut etcd = Etcd::connect(to).await?;
    if recursive {
        let count = etcd.list(key).await?.len();
        yes.ask(&format!("Remove {}", counted(count, "key")))?;
    }
    let work = async {
        match etcd.delete(key, recursive).await? {
            0 => Err(no_key(key)),
            count => Ok(count),
        }
    };
    let count = noted(to, "etcd delete", "etcd", key, &json!({ "recursive": recursive }), work).await?;
    Ok(writeln!(out, "removed {count}")?)
}

async fn list(key: &str, page: Page, to: &Connections) -> Result<Listing, CliError> {
    let pairs = Etcd::connect(to).await?.list(key).await?;
    let row =
        |(key, value)| Row::from_iter([("key".into(), Value::String(key)), ("value".into(), Value::String(value))]);
    Ok(Listing::new(&["key", "value"], page.of(pairs.into_iter()).map(row).collect()))
}

fn no_key(key: &str) -> CliError {
    CliError::Refused(format!("there is no key {key}"))
}

// === impl FileArg ===

impl FileArg {
    fn read(&self) -> Result<yaml::Source, CliError> {
        let text =
            std::fs::read_to_string(&self.path).map_err(|error| CliError::Read { path: self.path.clone(), error })?;
        Ok(yaml::Source { name: self.path.display().to_string(), text })
    }
}
