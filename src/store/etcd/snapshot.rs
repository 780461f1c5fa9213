//! What a worker knows from etcd at one revision. It is immutable and whole: readers hold one snapshot as long as
//! they work on one request, so a change in the middle cannot give them half of the old and half of the new.

use std::{collections::BTreeMap, fmt};

use super::node::GatewayNode;
use crate::config::HostPort;

/// The tag of an image name that has none.
pub const DEFAULT_TAG: &str = "latest";

/// All of a namespace's configuration at one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Images by name, those whose slots and at least the form of whose keys are right.
    pub images: BTreeMap<String, Image>,
    /// Aliases as written: alias to `name:tag` or `name`.
    pub aliases: BTreeMap<String, String>,
    /// Factors on the slots that agents report.
    pub overbook: Overbook,
    /// The gateway nodes that live, by node name.
    pub gateways: BTreeMap<String, GatewayNode>,
    /// What agents are told.
    pub manager: ManagerNode,
    /// The mount settings of volumes, by volume name.
    pub volumes: BTreeMap<String, BTreeMap<String, String>>,
    /// The volume that holds virtual folders.
    pub vfroot: Option<String>,
    /// The folder below which volumes are mounted, if it is set: see [`Snapshot::volume_mount`].
    pub volume_mount: Option<String>,
    /// What could not be used, and therefore is left out above or has its default.
    pub rejected: Vec<Rejected>,
    /// The etcd revision that this was read at.
    pub revision: i64,
}

/// The slots that sessions of an image take, and its tags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Cores.
    pub cpu: f64,
    /// MiB.
    pub mem: i64,
    /// The fraction of a GPU, for tags that contain `gpu` only: see [`Image::gpu_of`].
    pub gpu: f64,
    /// The hash of each tag.
    pub tags: BTreeMap<String, String>,
}

/// Factors on the slots that agents report: how much more is given out than there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overbook {
    /// On cores.
    pub cpu: f64,
    /// On memory.
    pub mem: f64,
    /// On GPUs.
    pub gpu: f64,
}

/// What agents read at their start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagerNode {
    /// The manager's instance id.
    pub id: Option<String>,
    /// Where agents send events.
    pub events_addr: Option<HostPort>,
    /// Where agents write statistics.
    pub redis_addr: Option<HostPort>,
}

/// A key that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The key, relative to the namespace.
    pub key: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// An image and tag that are there. `Display` is `name:tag`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// The image's name.
    pub name: String,
    /// One of its tags.
    pub tag: String,
}

// === impl Snapshot ===

impl Snapshot {
    /// The image that a user's text means: an alias, or `name:tag`, or `name` for its tag `latest`.
    /// An alias is followed once, so aliases of aliases do not work and cannot loop. None: no such image or tag.
    #[must_use]
    pub fn resolve_image(&self, text: &str) -> Option<ImageRef> {
        let target = self.aliases.get(text).map_or(text, String::as_str);
        let (name, tag) = target.rsplit_once(':').unwrap_or((target, DEFAULT_TAG));
        let known = self.images.get(name)?.tags.contains_key(tag);
        known.then(|| ImageRef { name: name.to_owned(), tag: tag.to_owned() })
    }

    /// The folder below which volumes are mounted: `/mnt` unless set.
    #[must_use]
    pub fn volume_mount(&self) -> &str {
        self.volume_mount.as_deref().unwrap_or("/mnt")
    }

    /// The image of a reference, if it is still there.
    #[must_use]
    pub fn image(&self, image: &ImageRef) -> Option<&Image> {
        self.images.get(&image.name)
    }
}

// === impl Image ===

impl Image {
    /// The fraction of a GPU that a session of this tag takes: none unless the tag's name contains `gpu`.
    #[must_use]
    pub fn gpu_of(&self, tag: &str) -> f64 {
        if tag.contains("gpu") { self.gpu } else { 0.0 }
    }
}

// === impl Overbook ===

impl Default for Overbook {
    fn default() -> Self {
        Overbook { cpu: 6.0, mem: 2.0, gpu: 1.0 }
    }
}

// === impl ImageRef ===

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}
