//! `etcd`: the cluster's configuration. Files are read and checked to the end before anything is written.

mod aliases;
mod images;
mod store;
mod volumes;
mod yaml;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

pub(super) use self::store::problem;
use self::store::{Change, Etcd};
use super::{
    CliError, Out,
    listing::{Listing, Output, Row},
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
    },
    /// List keys and their values
    Ls {
        /// Only the key and keys below it, under `/sorna/<namespace>/`
        #[arg(default_value = "", hide_default_value = true)]
        key: String,
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
        Command::Put { key, value } => Etcd::connect(to).await?.commit(vec![Change::put(key, value)]).await,
        Command::Delete { key, recursive } => match Etcd::connect(to).await?.delete(&key, recursive).await? {
            0 => Err(no_key(&key)),
            count => Ok(writeln!(out, "removed {count}")?),
        },
        Command::Ls { key, output } => list(&key, to).await?.write(output, out),
    }
}

async fn list(key: &str, to: &Connections) -> Result<Listing, CliError> {
    let pairs = Etcd::connect(to).await?.list(key).await?;
    let row =
        |(key, value)| Row::from_iter([("key".into(), Value::String(key)), ("value".into(), Value::String(value))]);
    Ok(Listing::new(&["key", "value"], pairs.into_iter().map(row).collect()))
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
