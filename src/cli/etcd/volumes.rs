//! `update-volumes`: network volumes that agents mount, `volumes/<name>/mount/<key>`.
//!
//! ```yaml
//! volumes:
//!   - name: shared
//!     mount: {at: requested, fstype: nfs, path: "host:/export", options: "ro"}
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
    cli::{CliError, Out},
    config::Connections,
};

#[derive(Deserialize)]
struct File {
    volumes: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    name: Spanned<String>,
    mount: Spanned<BTreeMap<String, Spanned<Option<String>>>>,
}

/// A volume that was checked.
#[derive(Debug, PartialEq)]
struct Volume {
    name: String,
    mount: BTreeMap<String, String>,
}

/// Writes the volumes of a file, each in one transaction. Nothing is written if any of them is wrong.
pub async fn update(source: &Source, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let volumes = read(source)?;
    let detail = json!({ "volumes": volumes.iter().map(|it| &it.name).collect::<Vec<_>>() });
    let work = async {
        let mut etcd = Etcd::connect(to).await?;
        for Volume { name, mount } in &volumes {
            let change = |(key, value): (&String, &String)| Change::put(format!("volumes/{name}/mount/{key}"), value);
            etcd.commit(mount.iter().map(change).collect()).await?;
            writeln!(out, "{name}")?;
        }
        Ok(())
    };
    noted(to, "etcd update-volumes", "etcd", &source.name, &detail, work).await
}

fn read(source: &Source) -> Result<Vec<Volume>, CliError> {
    let file: File = source.parse()?;
    let mut names = BTreeSet::new();
    let check = |item: Item| {
        let place = item.name.referenced;
        let volume = Volume::check(source, item)?;
        match names.insert(volume.name.clone()) {
            true => Ok(volume),
            false => Err(source.wrong(place, format!("volume {} is there twice", volume.name))),
        }
    };
    file.volumes.into_iter().map(check).collect()
}

// === impl Volume ===

impl Volume {
    fn check(source: &Source, item: Item) -> Result<Volume, CliError> {
        let name = item.name.value;
        if name.is_empty() || name.contains('/') || name.starts_with('_') {
            return Err(source.wrong(item.name.referenced, format!("\"{name}\" is no volume name")));
        }
        let mount = item.mount.value;
        for key in ["at", "fstype", "path"] {
            if !mount.contains_key(key) {
                return Err(source.wrong(item.mount.referenced, format!("volume {name}: mount has no `{key}`")));
            }
        }
        for (key, value) in &mount {
            let text = value.value.as_deref().unwrap_or_default();
            if let Some(what) = problem(key, text) {
                return Err(source.wrong(value.referenced, format!("volume {name}: {what}")));
            }
        }
        let mount = mount.into_iter().map(|(key, it)| (key, it.value.unwrap_or_default())).collect();
        Ok(Volume { name, mount })
    }
}

fn problem(key: &str, value: &str) -> Option<String> {
    match key {
        "at" if !["startup", "requested"].contains(&value) => {
            Some(format!("`at` is startup or requested, not \"{value}\""))
        }
        "fstype" | "path" if value.is_empty() => Some(format!("`{key}` is empty")),
        "at" | "fstype" | "path" | "options" => None,
        _ => Some(format!("mount has no key `{key}`, only at, fstype, path and options")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "volumes.yml".into(), text: text.into() }
    }

    #[test]
    fn the_fixture_is_read() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/volumes.yml"));
        let volumes = read(&source(text)).unwrap();
        assert_eq!(volumes[0].name, "shared-data");
        let expected =
            [("at", "requested"), ("fstype", "nfs"), ("options", "ro,soft"), ("path", "storage.example:/export/data")];
        assert_eq!(volumes[0].mount, expected.into_iter().map(|(k, v)| (k.into(), v.into())).collect());
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let volume = |mount: &str| format!("volumes:\n- name: v\n  mount:\n    fstype: nfs\n    path: h:/x\n{mount}");
        let cases = [
            (volume("    at: sometimes\n"), "volumes.yml:6: volume v: `at` is startup or requested, not \"sometimes\""),
            (volume(""), "volumes.yml:4: volume v: mount has no `at`"),
            (volume("    at: startup\n    option: ro\n"), "volumes.yml:7: volume v: mount has no key `option`"),
            (volume("    at: startup\n    options:\n- name: v\n"), "volumes.yml:8: missing field `mount`"),
            ("volumes:\n- name: _vfroot\n  mount: {}\n".into(), "volumes.yml:2: \"_vfroot\" is no volume name"),
        ];
        for (text, expected) in cases {
            let message = read(&source(&text)).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}\n  expected: {expected}");
        }
    }
}
