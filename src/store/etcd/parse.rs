//! From keys and values to a [`Snapshot`]. Operators write etcd by hand, so any value may be garbage; it must cost
//! no more than what it describes. A broken image is left out, a broken setting has its default, and each is told
//! in [`Snapshot::rejected`].

use std::collections::BTreeMap;

use super::{
    keys,
    node::GatewayNode,
    snapshot::{Image, Rejected, Snapshot},
};

/// More cores, factors or GPUs than that are a slip.
const MOST: f64 = 1e6;
/// More MiB than that are a slip: 1 PiB.
const MOST_MIB: f64 = 1_073_741_824.0;

/// Reads a namespace's keys, relative to its root.
#[must_use]
pub fn parse<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>, revision: i64) -> Snapshot {
    let mut parser = Parser::default();
    for (key, value) in entries {
        parser.take(key, value);
    }
    parser.finish(revision)
}

#[derive(Default)]
struct Parser<'a> {
    snapshot: Snapshot,
    drafts: BTreeMap<&'a str, Draft<'a>>,
}

/// An image of which not all keys are seen yet.
#[derive(Default)]
struct Draft<'a> {
    cpu: Option<&'a str>,
    mem: Option<&'a str>,
    gpu: Option<&'a str>,
    tags: BTreeMap<String, String>,
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn take(&mut self, key: &'a str, value: &'a str) {
        if let Some(alias) = key.strip_prefix(keys::ALIASES) {
            self.snapshot.aliases.insert(alias.to_owned(), value.to_owned());
        } else if let Some(rest) = key.strip_prefix(keys::IMAGES) {
            self.take_image(rest, value);
        } else if let Some(resource) = key.strip_prefix(keys::OVERBOOK) {
            self.take_overbook(resource, value);
        } else if let Some(node) = key.strip_prefix(keys::GATEWAYS) {
            self.take_gateway(node, value);
        } else if key.starts_with(keys::VOLUMES) {
            self.take_volume(key, value);
        } else {
            self.take_manager(key, value);
        }
    }

    fn take_image(&mut self, rest: &'a str, value: &'a str) {
        if let Some((name, tag)) = rest.rsplit_once(keys::TAGS) {
            if name.is_empty() || tag.is_empty() || tag.contains('/') {
                return self.reject(&format!("{}{rest}", keys::IMAGES), "is no tag of an image");
            }
            self.drafts.entry(name).or_default().tags.insert(tag.to_owned(), value.to_owned());
        } else if let Some((name, slot)) = rest.rsplit_once('/').filter(|(name, _)| !name.is_empty()) {
            self.take_slot(name, slot, value);
        }
    }

    fn take_slot(&mut self, name: &'a str, slot: &str, value: &'a str) {
        let place: for<'d> fn(&'d mut Draft<'a>) -> &'d mut Option<&'a str> = match slot {
            "cpu" => |draft| &mut draft.cpu,
            "mem" => |draft| &mut draft.mem,
            "gpu" => |draft| &mut draft.gpu,
            _ => return,
        };
        *place(self.drafts.entry(name).or_default()) = Some(value);
    }

    fn take_overbook(&mut self, resource: &str, value: &str) {
        let overbook = &mut self.snapshot.overbook;
        let place = match resource {
            "cpu" => &mut overbook.cpu,
            "mem" => &mut overbook.mem,
            "gpu" => &mut overbook.gpu,
            _ => return,
        };
        match amount(value, MOST).filter(|factor| *factor > 0.0) {
            Some(factor) => *place = factor,
            None => self.reject(&format!("{}{resource}", keys::OVERBOOK), "is not a positive number"),
        }
    }

    fn take_gateway(&mut self, node: &str, value: &str) {
        match GatewayNode::from_json(value) {
            Some(gateway) => drop(self.snapshot.gateways.insert(node.to_owned(), gateway)),
            None => self.reject(&keys::gateway(node), "is not the JSON of a gateway node"),
        }
    }

    fn take_volume(&mut self, key: &str, value: &str) {
        if key == keys::VFROOT {
            self.snapshot.vfroot = Some(value.to_owned());
        } else if key == keys::VOLUME_MOUNT {
            self.snapshot.volume_mount = Some(value.to_owned());
        } else if let Some((name, setting)) = mount_setting(key) {
            let settings = self.snapshot.volumes.entry(name.to_owned()).or_default();
            settings.insert(setting.to_owned(), value.to_owned());
        }
    }

    fn take_manager(&mut self, key: &str, value: &str) {
        let manager = &mut self.snapshot.manager;
        let (place, addr) = match key {
            keys::MANAGER => return manager.id = Some(value.to_owned()),
            keys::MANAGER_EVENT_ADDR => (&mut manager.events_addr, value.parse().ok()),
            keys::REDIS => (&mut manager.redis_addr, value.parse().ok()),
            _ => return,
        };
        *place = addr;
        if place.is_none() {
            self.reject(key, "is not HOST:PORT");
        }
    }

    fn finish(mut self, revision: i64) -> Snapshot {
        for (name, draft) in std::mem::take(&mut self.drafts) {
            match draft.image(name) {
                Ok(image) => drop(self.snapshot.images.insert(name.to_owned(), image)),
                Err((key, reason)) => self.reject(&key, reason),
            }
        }
        self.snapshot.revision = revision;
        self.snapshot
    }

    fn reject(&mut self, key: &str, reason: &'static str) {
        self.snapshot.rejected.push(Rejected { key: key.to_owned(), reason });
    }
}

// === impl Draft ===

impl Draft<'_> {
    fn image(self, name: &str) -> Result<Image, (String, &'static str)> {
        let cpu = self.cpu.ok_or((keys::image_cpu(name), "is missing"))?;
        let mem = self.mem.ok_or((keys::image_mem(name), "is missing"))?;
        Ok(Image {
            cpu: amount(cpu, MOST).ok_or((keys::image_cpu(name), "is not a number of cores"))?,
            mem: mebibytes(mem).ok_or((keys::image_mem(name), "is not a number of MiB"))?,
            gpu: amount(self.gpu.unwrap_or("0"), MOST).ok_or((keys::image_gpu(name), "is not a fraction of GPUs"))?,
            tags: self.tags,
        })
    }
}

/// A number from 0 to `most`.
fn amount(text: &str, most: f64) -> Option<f64> {
    text.trim().parse().ok().filter(|number| (0.0..=most).contains(number))
}

/// Whole MiB; a fraction counts as one more.
#[allow(clippy::cast_possible_truncation)] // within MOST_MIB
fn mebibytes(text: &str) -> Option<i64> {
    amount(text, MOST_MIB).map(|number| number.ceil() as i64)
}

/// The volume and setting of `volumes/<name>/mount/<key>`.
fn mount_setting(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix(keys::VOLUMES)?;
    rest.split_once("/mount/").filter(|(name, setting)| !name.is_empty() && !setting.is_empty())
}
