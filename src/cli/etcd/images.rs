//! `update-images`: which images sessions can have, their tags, and the slots that each takes.
//!
//! ```yaml
//! images:
//!   - name: python
//!     syntax: python              # for editors, not kept
//!     tags: [[latest, ":3.6"], [3.6, "sha256:…"]]
//!     slots: {cpu: 1, mem: 0.25, gpu: 0}   # cores, GiB, devices
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;
use serde_saphyr::Spanned;

use super::{
    note::noted,
    store::{Change, Etcd},
    yaml::Source,
};
use crate::{
    cli::{CliError, Out, progress::Progress},
    config::Connections,
};

#[derive(Deserialize)]
struct File {
    images: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    name: Spanned<String>,
    tags: Vec<Spanned<(String, String)>>,
    slots: Slots,
}

#[derive(Deserialize)]
struct Slots {
    cpu: Spanned<String>,
    mem: Spanned<String>,
    gpu: Spanned<String>,
}

/// An image that was checked.
#[derive(Debug, PartialEq)]
struct Image {
    name: String,
    /// Tag to hash, with no hash that refers to another tag.
    tags: BTreeMap<String, String>,
    cpu: u32,
    mem_mib: u64,
    gpu: f64,
}

/// Writes the images of a file, each in one transaction. Nothing is written if any of them is wrong.
pub async fn update(source: &Source, prune: bool, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let images = read(source)?;
    let names: Vec<&str> = images.iter().map(|it| it.name.as_str()).collect();
    let detail = json!({ "images": names, "prune": prune });
    let mut report = Vec::new();
    let work = write(&images, prune, to, &mut report);
    let result = noted(to, "etcd update-images", "etcd", &source.name, &detail, work).await;
    // Those that were written before it went wrong, too.
    report.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    result
}

/// Tells in `report` of each image that is written.
async fn write(images: &[Image], prune: bool, to: &Connections, report: &mut Vec<String>) -> Result<(), CliError> {
    let mut etcd = Etcd::connect(to).await?;
    let bar = Progress::of_many("writing images", images.len());
    for image in images {
        let mut changes = image.changes();
        let stale = if prune { stale_tags(&mut etcd, image).await? } else { Vec::new() };
        changes.extend(stale.iter().map(|tag| Change::Delete(image.tag_key(tag))));
        etcd.commit(changes).await?;
        report.push(format!("{}: {} tags{}", image.name, image.tags.len(), removed(&stale)));
        bar.at(report.len());
    }
    Ok(())
}

fn removed(stale: &[String]) -> String {
    if stale.is_empty() { String::new() } else { format!(", removed {}", stale.join(", ")) }
}

/// The tags that etcd has and the file does not.
async fn stale_tags(etcd: &mut Etcd, image: &Image) -> Result<Vec<String>, CliError> {
    let folder = format!("images/{}/tags", image.name);
    let keys = etcd.list(&folder).await?.into_iter().map(|it| it.0);
    let tags = keys.filter_map(|key| Some(key.strip_prefix(&folder)?.strip_prefix('/')?.to_owned()));
    Ok(tags.filter(|tag| !image.tags.contains_key(tag)).collect())
}

fn read(source: &Source) -> Result<Vec<Image>, CliError> {
    let file: File = source.parse()?;
    let mut names = BTreeSet::new();
    let mut images = Vec::new();
    for item in file.images {
        if !names.insert(item.name.value.clone()) {
            return Err(source.wrong(item.name.referenced, format!("image {} is there twice", item.name.value)));
        }
        images.push(Image::check(source, item)?);
    }
    Ok(images)
}

// === impl Image ===

impl Image {
    fn check(source: &Source, item: Item) -> Result<Image, CliError> {
        let name = &item.name;
        if !is_name(&name.value) || name.value.starts_with('_') {
            return Err(source.wrong(name.referenced, format!("\"{}\" is no image name", name.value)));
        }
        let Slots { cpu, mem, gpu } = item.slots;
        Ok(Image {
            tags: resolve(source, &name.value, &item.tags)?,
            cpu: cores(source, &cpu)?,
            mem_mib: mib(source, &mem)?,
            gpu: number(source, &gpu, "gpu")?,
            name: item.name.value,
        })
    }

    fn changes(&self) -> Vec<Change> {
        let name = &self.name;
        let mut changes = vec![
            Change::put(format!("images/{name}"), "1"),
            Change::put(format!("images/{name}/cpu"), self.cpu.to_string()),
            Change::put(format!("images/{name}/mem"), self.mem_mib.to_string()),
            Change::put(format!("images/{name}/gpu"), format!("{:.2}", self.gpu)),
        ];
        changes.extend(self.tags.iter().map(|(tag, hash)| Change::put(self.tag_key(tag), hash)));
        changes
    }

    fn tag_key(&self, tag: &str) -> String {
        format!("images/{}/tags/{tag}", self.name)
    }
}

/// Whether a text can be one part of a key and of `name:tag`.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', ':']) && !text.contains(char::is_whitespace)
}

/// Follows hashes like ":other" until a hash is found.
fn resolve(
    source: &Source,
    image: &str,
    tags: &[Spanned<(String, String)>],
) -> Result<BTreeMap<String, String>, CliError> {
    let mut given = BTreeMap::new();
    for tag in tags {
        let (name, hash) = &tag.value;
        if !is_name(name) {
            return Err(source.wrong(tag.referenced, format!("\"{name}\" is no tag of image {image}")));
        }
        if given.insert(name.as_str(), hash.as_str()).is_some() {
            return Err(source.wrong(tag.referenced, format!("image {image} has tag {name} twice")));
        }
    }
    let follow = |tag: &Spanned<(String, String)>| {
        let hash = hash_of(&given, &tag.value.1)
            .map_err(|what| source.wrong(tag.referenced, format!("image {image}: {what}")))?;
        Ok((tag.value.0.clone(), hash.to_owned()))
    };
    tags.iter().map(follow).collect()
}

fn hash_of<'a>(given: &BTreeMap<&str, &'a str>, first: &'a str) -> Result<&'a str, String> {
    let mut hash = first;
    // As many steps as there are tags reach every hash; more go in a circle.
    for _ in 0..=given.len() {
        let Some(other) = hash.strip_prefix(':') else { return Ok(hash) };
        hash = given.get(other).ok_or_else(|| format!("\"{hash}\" refers to a tag that it does not have"))?;
    }
    Err(format!("\"{first}\" refers to itself in the end"))
}

fn cores(source: &Source, text: &Spanned<String>) -> Result<u32, CliError> {
    let wrong = |_| source.wrong(text.referenced, format!("slots: cpu is whole cores, not \"{}\"", text.value));
    text.value.parse().map_err(wrong)
}

/// GiB, a decimal, as whole MiB; a part of a MiB is dropped, as existing installations do.
fn mib(source: &Source, gib: &Spanned<String>) -> Result<u64, CliError> {
    let mib = number(source, gib, "mem")? * 1024.0;
    match mib < 9e15 {
        true => Ok(mib as u64),
        false => Err(source.wrong(gib.referenced, "slots: mem is in GiB and too large")),
    }
}

fn number(source: &Source, text: &Spanned<String>, name: &str) -> Result<f64, CliError> {
    let number = text.value.parse().ok().filter(|it: &f64| it.is_finite() && *it >= 0.0);
    let what = || format!("slots: {name} is a number from 0 up, not \"{}\"", text.value);
    number.ok_or_else(|| source.wrong(text.referenced, what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "images.yml".into(), text: text.into() }
    }

    const FILE: &str = "
common: &slots
  cpu: 1
  mem: 0.25
  gpu: 0

images:
  - &python
    name: python
    syntax: python
    tags:
      - [latest, ':3.6']
      - [3.6, ':3.6-ubuntu']
      - ['3.6-ubuntu', 'sha256:aa']
      - [3.10, 'sha256:bb']
    slots:
      <<: *slots
      mem: 1.5
  - name: r3
    tags: [[latest, 'sha256:cc']]
    slots: *slots
  - <<: *python
    name: python-tensorflow
    slots: {cpu: 2, mem: 0.7, gpu: 0.333}
";

    #[test]
    fn anchors_aliases_and_merge_keys_are_followed_and_tags_stay_texts() {
        let images = read(&source(FILE)).unwrap();
        let [python, r3, tensorflow] = images.as_slice() else { panic!("{images:?}") };
        assert_eq!((python.cpu, python.mem_mib, python.gpu), (1, 1536, 0.0));
        assert_eq!((r3.cpu, r3.mem_mib), (1, 256));
        assert_eq!((tensorflow.name.as_str(), tensorflow.cpu, tensorflow.mem_mib), ("python-tensorflow", 2, 716));
        assert_eq!(tensorflow.tags, python.tags);
        let tags: Vec<(&str, &str)> = python.tags.iter().map(|(tag, hash)| (tag.as_str(), hash.as_str())).collect();
        let expected =
            [("3.10", "sha256:bb"), ("3.6", "sha256:aa"), ("3.6-ubuntu", "sha256:aa"), ("latest", "sha256:aa")];
        assert_eq!(tags, expected);
    }

    #[test]
    fn an_image_is_written_as_existing_installations_have_it() {
        let images = read(&source(FILE)).unwrap();
        let keys: Vec<String> = images[2].changes().iter().map(|it| format!("{it:?}")).take(4).collect();
        let expected = [
            r#"Put("images/python-tensorflow", "1")"#,
            r#"Put("images/python-tensorflow/cpu", "2")"#,
            r#"Put("images/python-tensorflow/mem", "716")"#,
            r#"Put("images/python-tensorflow/gpu", "0.33")"#,
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn the_fixtures_are_right() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/images.yml"));
        let images = read(&source(text)).unwrap();
        assert_eq!(images.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["python", "git"]);
        assert_eq!(images[0].tags["latest"], images[0].tags["3"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let image = |tags: &str, slots: &str| format!("images:\n- name: python\n  tags:\n{tags}\n  slots: {slots}\n");
        let good = "{cpu: 1, mem: 1, gpu: 0}";
        let cases = [
            (String::new(), "images.yml:1: unexpected end of input"),
            ("image: []".into(), "images.yml:1: missing field `images`"),
            ("images:\n- name: [".into(), "images.yml:2: "),
            ("images:\n- tags: []\n".into(), "images.yml:2: missing field `name`"),
            (
                "images:\n- name: a/b\n  tags: []\n  slots: {cpu: 1, mem: 1, gpu: 0}".into(),
                "images.yml:2: \"a/b\" is no image name",
            ),
            (
                image("  - [latest, ':3']", good),
                "images.yml:4: image python: \":3\" refers to a tag that it does not have",
            ),
            (
                image("  - [a, ':b']\n  - [b, ':a']", good),
                "images.yml:4: image python: \":b\" refers to itself in the end",
            ),
            (image("  - [a, x]\n  - [a, y]", good), "images.yml:5: image python has tag a twice"),
            (image("  - [a, x, y]", good), "images.yml:4: "),
            (image("  - [a, x]", "{cpu: 1.5, mem: 1, gpu: 0}"), "images.yml:5: slots: cpu is whole cores, not \"1.5\""),
            (
                image("  - [a, x]", "{cpu: 1, mem: -1, gpu: 0}"),
                "images.yml:5: slots: mem is a number from 0 up, not \"-1\"",
            ),
            (image("  - [a, x]", "{cpu: 1, mem: 1}"), "images.yml:5: missing field `gpu`"),
            (image("  - [a, x]", "*nowhere"), "images.yml:5: "),
        ];
        for (text, expected) in cases {
            let message = read(&source(&text)).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text}\n  gives: {message}\n  expected: {expected}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
