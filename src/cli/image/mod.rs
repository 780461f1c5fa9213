//! `image`: the images that sessions can have, one tag at a time. `etcd update-images` loads many at once.

mod change;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    CliError, Out, PROGRAM,
    etcd::store::Etcd,
    listing::{Listing, Output, Row},
    rows::Page,
};
use crate::{
    config::Connections,
    store::etcd::{ImageRef, Snapshot, keys, parse},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List images as gateways see them: slots in CPU cores, MiB of memory, GPU devices
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Output,
    },
    /// Add an image or a tag of one, or change its slots
    Add(change::Add),
    /// Remove an image, or one of its tags; sessions that have it go on
    Remove(change::Remove),
}

const COLUMNS: [&str; 7] = ["name", "tag", "cpu", "mem", "gpu", "aliases", "hash"];

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    match command {
        Command::List { page, output } => {
            let snapshot = configuration(&mut Etcd::connect(to).await?).await?;
            let tags = snapshot.images.iter().flat_map(|(name, image)| {
                image.tags.keys().map(|tag| ImageRef { name: name.clone(), tag: tag.clone() })
            });
            let rows = page.of(tags).filter_map(|it| row(&snapshot, &it)).collect();
            Listing::new(&COLUMNS, rows).write(output, out)?;
            for broken in &snapshot.rejected {
                eprintln!("{PROGRAM}: {} {}, so that no session can have that image", broken.key, broken.reason);
            }
            Ok(())
        }
        Command::Add(args) => change::add(&args, to, out).await,
        Command::Remove(args) => change::remove(&args, to, out).await,
    }
}

/// Images and aliases as gateways read them.
///
/// # Errors
/// etcd cannot be reached.
pub async fn configuration(etcd: &mut Etcd) -> Result<Snapshot, CliError> {
    let pairs = etcd.list(keys::IMAGES).await?;
    Ok(parse(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())), 0))
}

/// The aliases that stand for an image.
fn aliases<'a>(snapshot: &'a Snapshot, image: &ImageRef) -> Vec<&'a str> {
    let stands_for = |alias: &&String| snapshot.resolve_image(alias).as_ref() == Some(image);
    snapshot.aliases.keys().filter(stands_for).map(String::as_str).collect()
}

fn row(snapshot: &Snapshot, of: &ImageRef) -> Option<Row> {
    let image = snapshot.image(of)?;
    let values = [
        json!(of.name),
        json!(of.tag),
        number(image.cpu),
        json!(image.mem),
        number(image.gpu_of(&of.tag)),
        json!(aliases(snapshot, of).join(", ")),
        json!(image.tags.get(&of.tag)),
    ];
    Some(COLUMNS.into_iter().map(str::to_owned).zip(values).collect())
}

/// `1`, not `1.0`.
fn number(value: f64) -> Value {
    // What `parse` lets through is far below 2^53.
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}
