//! `alias`: other names of images, `images/_aliases/<alias>` = `name:tag`. `etcd update-aliases` loads many at once.

use clap::Subcommand;
use serde_json::json;

use super::{
    CliError, Out,
    confirm::Yes,
    etcd::{
        is_alias,
        note::noted,
        store::{Change, Etcd},
    },
    image::configuration,
    listing::{Listing, Output, Row},
    rows::Page,
};
use crate::{config::Connections, store::etcd::keys};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List aliases with what they stand for
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Output,
    },
    /// Let a name stand for an image, also one that stood for another
    Add {
        /// The other name
        #[arg(value_name = "ALIAS", value_parser = named)]
        alias: String,
        /// What it stands for; without a tag, `latest`
        #[arg(value_name = "NAME[:TAG]", value_parser = named)]
        target: String,
    },
    /// Remove an alias; the image stays
    Remove {
        /// The alias
        #[arg(value_name = "ALIAS")]
        alias: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    match command {
        Command::List { page, output } => {
            let snapshot = configuration(&mut Etcd::connect(to).await?).await?;
            let row = |(alias, target): (&String, &String)| {
                let known = snapshot.resolve_image(alias).is_some();
                Row::from_iter([
                    ("alias".into(), json!(alias)),
                    ("target".into(), json!(target)),
                    ("known".into(), json!(known)),
                ])
            };
            let rows = page.of(snapshot.aliases.iter()).map(row).collect();
            Listing::new(&["alias", "target", "known"], rows).write(output, out)
        }
        Command::Add { alias, target } => add(&alias, &target, to, out).await,
        Command::Remove { alias, yes } => remove(&alias, yes, to, out).await,
    }
}

async fn add(alias: &str, target: &str, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let mut etcd = Etcd::connect(to).await?;
    let mut snapshot = configuration(&mut etcd).await?;
    let old = std::mem::take(&mut snapshot.aliases).remove(alias);
    // Without the aliases: one of another alias would not be followed.
    if snapshot.resolve_image(target).is_none() {
        return Err(CliError::Refused(format!("there is no image {target} (`image list` shows them)")));
    }
    let work = etcd.commit(vec![Change::put(keys::alias(alias), target)]);
    noted(to, "alias add", "alias", alias, &json!({ "target": target }), work).await?;
    let was = old.map(|old| format!(" (was {old})")).unwrap_or_default();
    Ok(writeln!(out, "{alias} -> {target}{was}")?)
}

async fn remove(alias: &str, yes: Yes, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let mut etcd = Etcd::connect(to).await?;
    let unknown = || CliError::Refused(format!("there is no alias {alias}"));
    let target = etcd.get(&keys::alias(alias)).await?.ok_or_else(unknown)?;
    yes.ask(&format!("Remove alias {alias}, which stands for {target}"))?;
    let work = async {
        match etcd.delete(&keys::alias(alias), false).await? {
            0 => Err(unknown()),
            _ => Ok(()),
        }
    };
    noted(to, "alias remove", "alias", alias, &json!({ "target": target }), work).await?;
    Ok(writeln!(out, "removed {alias} -> {target}")?)
}

fn named(text: &str) -> Result<String, String> {
    if is_alias(text) { Ok(text.to_owned()) } else { Err("a name has no spaces and no \"/\"".into()) }
}
