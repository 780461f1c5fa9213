//! `image add`, `image remove`.

use serde_json::json;

use super::{aliases, configuration};
use crate::{
    cli::{
        CliError, Out,
        confirm::{Yes, counted},
        etcd::{
            is_name,
            note::noted,
            store::{Change, Etcd},
        },
    },
    config::Connections,
    store::etcd::{DEFAULT_TAG, ImageRef, Snapshot, keys},
};

/// What `image add` takes.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The image and its tag; without one, `latest`
    #[arg(value_name = "NAME[:TAG]", value_parser = image)]
    image: ImageRef,
    /// What the agents know this tag by: the container image's hash, for instance
    #[arg(long, value_name = "TEXT")]
    hash: String,
    /// Whole cores that a session takes
    #[arg(long, value_name = "CORES")]
    cpu: Option<u32>,
    /// GiB of memory that a session takes
    #[arg(long, value_name = "GIB", value_parser = amount)]
    mem: Option<f64>,
    /// GPU devices that a session takes, of tags with `gpu` in their name
    #[arg(long, value_name = "N", value_parser = amount)]
    gpu: Option<f64>,
}

/// What `image remove` takes.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// The image; with a tag, only that
    #[arg(value_name = "NAME[:TAG]", value_parser = image_or_tag)]
    image: (String, Option<String>),
    #[command(flatten)]
    yes: Yes,
}

pub async fn add(args: &Add, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let name = &args.image.name;
    let mut etcd = Etcd::connect(to).await?;
    let is_new = etcd.get(&keys::image_cpu(name)).await?.is_none();
    if is_new && (args.cpu.is_none() || args.mem.is_none()) {
        return Err(CliError::Refused(format!("there is no image {name} yet: say with --cpu and --mem what it takes")));
    }
    let mut changes = Vec::new();
    let mut report = Vec::new();
    for (key, new) in args.values(is_new) {
        let old = etcd.get(&key).await?;
        if old.as_ref() != Some(&new) {
            report.push(old.map_or_else(|| format!("{key} {new}"), |old| format!("{key} {old} -> {new}")));
            changes.push(Change::put(key, new));
        }
    }
    let image = args.image.to_string();
    if changes.is_empty() {
        return Ok(writeln!(out, "{image} is so already")?);
    }
    let detail = json!({ "hash": args.hash, "cpu": args.cpu, "mem": args.mem, "gpu": args.gpu });
    noted(to, "image add", "image", &image, &detail, etcd.commit(changes)).await?;
    Ok(report.iter().try_for_each(|line| writeln!(out, "{line}"))?)
}

pub async fn remove(args: &Remove, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let (name, tag) = (&args.image.0, args.image.1.as_deref());
    let mut etcd = Etcd::connect(to).await?;
    let snapshot = configuration(&mut etcd).await?;
    let folder = format!("{}{}", keys::image(name), keys::TAGS);
    let keys = etcd.list(&keys::image(name)).await?;
    let tags: Vec<&str> = keys.iter().filter_map(|(key, _)| key.strip_prefix(&folder)).collect();
    let target = tag.map_or_else(|| name.clone(), |tag| format!("{name}:{tag}"));
    let unknown = || CliError::Refused(format!("there is no image {target} (`image list` shows them)"));
    if keys.is_empty() || tag.is_some_and(|tag| !tags.contains(&tag)) {
        return Err(unknown());
    }
    // An image without tags is none.
    let only_tag = tag.filter(|_| tags.len() > 1);
    match only_tag {
        Some(_) => args.yes.ask(&format!("Remove {target}"))?,
        None => args.yes.ask(&format!("Remove image {name} with {}", counted(tags.len(), "tag")))?,
    }
    let left = dangling(&snapshot, name, only_tag);
    let work = async {
        let removed = match only_tag {
            Some(tag) => etcd.delete(&keys::image_tag(name, tag), false).await?,
            None => etcd.delete(&keys::image(name), true).await?,
        };
        if removed == 0 { Err(unknown()) } else { Ok(()) }
    };
    noted(to, "image remove", "image", &target, &json!({ "tags": tags.len() }), work).await?;
    match only_tag {
        Some(_) => writeln!(out, "removed {target}")?,
        None => writeln!(out, "removed {name} with {}: {}", counted(tags.len(), "tag"), tags.join(", "))?,
    }
    Ok(left.iter().try_for_each(|alias| writeln!(out, "alias {alias} stands for nothing now"))?)
}

/// The aliases that stand for what is removed: a tag, or all of an image.
fn dangling(snapshot: &Snapshot, name: &str, tag: Option<&str>) -> Vec<String> {
    let all = snapshot.images.get(name).into_iter().flat_map(|image| image.tags.keys());
    let gone = all.filter(|it| tag.is_none_or(|tag| tag == it.as_str()));
    let images = gone.map(|tag| ImageRef { name: name.to_owned(), tag: tag.clone() });
    images.flat_map(|it| aliases(snapshot, &it)).map(str::to_owned).collect()
}

fn image(text: &str) -> Result<ImageRef, String> {
    let (name, tag) = image_or_tag(text)?;
    Ok(ImageRef { name, tag: tag.unwrap_or_else(|| DEFAULT_TAG.to_owned()) })
}

fn image_or_tag(text: &str) -> Result<(String, Option<String>), String> {
    let (name, tag) = text.split_once(':').map_or((text, None), |(name, tag)| (name, Some(tag)));
    if is_name(name) && !name.starts_with('_') && tag.is_none_or(is_name) {
        Ok((name.to_owned(), tag.map(str::to_owned)))
    } else {
        Err("it is no NAME or NAME:TAG".into())
    }
}

fn amount(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|it| (0.0..=1e6).contains(it));
    number.ok_or_else(|| "it is no number from 0 up".into())
}

// === impl Add ===

impl Add {
    /// The keys to write, as `etcd update-images` writes them: MiB are whole, GPUs have two decimals.
    fn values(&self, is_new: bool) -> Vec<(String, String)> {
        let name = &self.image.name;
        let gpu = self.gpu.or(is_new.then_some(0.0));
        let values = [
            is_new.then(|| (keys::image(name), "1".to_owned())),
            self.cpu.map(|cpu| (keys::image_cpu(name), cpu.to_string())),
            self.mem.map(|gib| (keys::image_mem(name), ((gib * 1024.0) as u64).to_string())),
            gpu.map(|gpu| (keys::image_gpu(name), format!("{gpu:.2}"))),
            Some((keys::image_tag(name, &self.image.tag), self.hash.clone())),
        ];
        values.into_iter().flatten().collect()
    }
}
