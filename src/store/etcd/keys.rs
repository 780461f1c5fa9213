//! The names of all keys. What stands below `/sorna/<namespace>/` is shared with agents and gateways of the
//! Python releases, so these names are a format, not a choice; `nodes/gateways/` and `leader` are this project's.
//!
//! Names here are relative to the namespace; [`root`] is what stands before them.

/// The manager's instance id. Agents wait for it at start, then read the two others: it is written last.
pub const MANAGER: &str = "nodes/manager";
/// Where agents send their events, `host:port`.
pub const MANAGER_EVENT_ADDR: &str = "nodes/manager/event_addr";
/// Where agents write statistics, `host:port`.
pub const REDIS: &str = "nodes/redis";
/// Below it, one entry for each gateway node, under a lease; its value is JSON.
pub const GATEWAYS: &str = "nodes/gateways/";
/// Below it, one entry for each agent: `starting` or `running`.
pub const AGENTS: &str = "nodes/agents/";
/// Who leads the namespace: an instance id, under a lease.
pub const LEADER: &str = "leader";
/// Below it, images and aliases.
pub const IMAGES: &str = "images/";
/// Below it, aliases of images: `name:tag` or `name`.
pub const ALIASES: &str = "images/_aliases/";
/// Between an image's name and one of its tags.
pub const TAGS: &str = "/tags/";
/// Below it, the factors on the slots that agents report.
pub const OVERBOOK: &str = "config/overbook/";
/// Below it, volumes and the two settings that follow.
pub const VOLUMES: &str = "volumes/";
/// The volume that holds virtual folders.
pub const VFROOT: &str = "volumes/_vfroot";
/// The folder below which volumes are mounted.
pub const VOLUME_MOUNT: &str = "volumes/_mount";

/// What stands before every key of a namespace: `/sorna/<namespace>/`.
#[must_use]
pub fn root(namespace: &str) -> String {
    format!("/sorna/{namespace}/")
}

/// A gateway node's entry.
#[must_use]
pub fn gateway(node: &str) -> String {
    format!("{GATEWAYS}{node}")
}

/// An agent's state, `starting` or `running`.
#[must_use]
pub fn agent(id: &str) -> String {
    format!("{AGENTS}{id}")
}

/// An agent's address.
#[must_use]
pub fn agent_ip(id: &str) -> String {
    format!("{AGENTS}{id}/ip")
}

/// The mark that there is an image of this name: `1`.
#[must_use]
pub fn image(name: &str) -> String {
    format!("{IMAGES}{name}")
}

/// The cores that an image takes.
#[must_use]
pub fn image_cpu(name: &str) -> String {
    format!("{IMAGES}{name}/cpu")
}

/// The memory that an image takes, MiB.
#[must_use]
pub fn image_mem(name: &str) -> String {
    format!("{IMAGES}{name}/mem")
}

/// The fraction of a GPU that tags of an image with `gpu` in their name take.
#[must_use]
pub fn image_gpu(name: &str) -> String {
    format!("{IMAGES}{name}/gpu")
}

/// The hash of one tag of an image.
#[must_use]
pub fn image_tag(name: &str, tag: &str) -> String {
    format!("{IMAGES}{name}{TAGS}{tag}")
}

/// What an alias stands for.
#[must_use]
pub fn alias(alias: &str) -> String {
    format!("{ALIASES}{alias}")
}

/// One of a volume's mount settings: `at`, `fstype`, `path`, `options`.
#[must_use]
pub fn volume_mount(volume: &str, key: &str) -> String {
    format!("{VOLUMES}{volume}/mount/{key}")
}

/// Whether workers act on a key (relative to the namespace). Agents' entries change often and nobody here needs them.
pub(super) fn is_followed(key: &str) -> bool {
    let below = [IMAGES, OVERBOOK, VOLUMES, GATEWAYS];
    below.iter().any(|prefix| key.starts_with(prefix)) || [MANAGER, MANAGER_EVENT_ADDR, REDIS, LEADER].contains(&key)
}
