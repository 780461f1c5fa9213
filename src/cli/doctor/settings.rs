//! The configuration in etcd: images, aliases, nodes, volumes; what a gateway could not use.

use std::path::Path;

use super::{
    check::{Checks, Needed, check},
    finding::{Finding, count, names, or_ok},
};
use crate::store::etcd::{Rejected, Snapshot, keys};

/// `gateway`: whether one runs on this machine.
pub fn checks(settings: Needed<'_, Snapshot>, gateway: bool) -> Checks<'_> {
    vec![
        check("images", settings, async |it| Ok(images(it))),
        check("aliases", settings, async |it| Ok(aliases(it))),
        check("settings", settings, async |it| Ok(others(it))),
        check("nodes", settings, async move |it| Ok(nodes(it, gateway))),
        check("volumes", settings, async |it| Ok(volumes(it))),
    ]
}

fn images(settings: &Snapshot) -> Vec<Finding> {
    let mut found = rejected(settings, |it| it.key.starts_with(keys::IMAGES));
    let untagged: Vec<String> =
        settings.images.iter().filter(|(_, image)| image.tags.is_empty()).map(|(name, _)| name.clone()).collect();
    if !untagged.is_empty() {
        let what = format!("images without a tag, which nobody can use: {}", names(&untagged));
        found.push(Finding::warning(what, "backendai-manager etcd update-images -f FILE"));
    }
    if settings.images.len() == untagged.len() {
        let what = "there is no image, so that no session can be made";
        found.push(Finding::failed(what, "backendai-manager etcd update-images -f FILE"));
    }
    or_ok(found, count(settings.images.len(), "image"))
}

fn aliases(settings: &Snapshot) -> Vec<Finding> {
    let lost: Vec<String> = settings
        .aliases
        .iter()
        .filter(|(alias, _)| settings.resolve_image(alias).is_none())
        .map(|(alias, target)| format!("{alias} ({target})"))
        .collect();
    if lost.is_empty() {
        return vec![Finding::ok(format!(
            "{}, each of an image that is there",
            count(settings.aliases.len(), "alias")
        ))];
    }
    let mend = format!("load their images, or remove them: backendai-manager etcd delete {}NAME", keys::ALIASES);
    vec![Finding::warning(format!("aliases of what is not there: {}", names(&lost)), mend)]
}

fn rejected(settings: &Snapshot, of: impl Fn(&Rejected) -> bool) -> Vec<Finding> {
    let found = settings.rejected.iter().filter(|it| of(it)).map(|it| {
        let mend = format!("backendai-manager etcd put {} VALUE, or etcd delete", it.key);
        Finding::failed(format!("{} {}", it.key, it.reason), mend)
    });
    found.collect()
}

/// All that is neither an image nor an alias.
fn others(settings: &Snapshot) -> Vec<Finding> {
    or_ok(rejected(settings, |it| !it.key.starts_with(keys::IMAGES)), "every setting is understood")
}

fn nodes(settings: &Snapshot, gateway: bool) -> Vec<Finding> {
    let gateways: Vec<String> = settings.gateways.keys().cloned().collect();
    if gateways.is_empty() && !gateway {
        return vec![Finding::note("no gateway is registered", "start one: backendai-gateway")];
    }
    let manager = &settings.manager;
    let missing: Vec<String> = [
        (keys::MANAGER, manager.id.is_none()),
        (keys::MANAGER_EVENT_ADDR, manager.events_addr.is_none()),
        (keys::REDIS, manager.redis_addr.is_none()),
    ]
    .into_iter()
    .filter(|(_, missing)| *missing)
    .map(|(key, _)| key.to_owned())
    .collect();
    let mut found = Vec::new();
    if !missing.is_empty() {
        let what = format!("a gateway runs, but agents that start wait for {}", missing.join(", "));
        found.push(Finding::failed(what, "see the gateway's log; replace its workers (backendai-gateway reload)"));
    }
    if gateways.is_empty() {
        let what = "the gateway of this machine is not registered in this namespace";
        found.push(Finding::warning(what, "see that --namespace and --etcd-addr are the gateway's, and its log"));
    }
    or_ok(found, format!("{} registered: {}", count(gateways.len(), "gateway"), names(&gateways)))
}

fn volumes(settings: &Snapshot) -> Vec<Finding> {
    let mount = Path::new(settings.volume_mount());
    let hosts = crate::vfolder::Volumes::of(settings);
    let all: Vec<&str> = hosts.hosts().collect();
    if all.is_empty() {
        let mend = format!("backendai-manager etcd put {} NAME, and {} FOLDER", keys::VFROOT, keys::VOLUME_MOUNT);
        return vec![Finding::note("there is no volume, so that no virtual folder can be made", mend)];
    }
    let mut found = Vec::new();
    if hosts.choose(None).is_err() {
        let mend = format!("backendai-manager etcd put {} NAME", keys::VFROOT);
        found.push(Finding::warning(
            format!("none of several volumes is {}: folders need a host each", keys::VFROOT),
            mend,
        ));
    }
    found.extend(all.iter().filter_map(|host| {
        let folder = hosts.path(host).ok().filter(|it| !it.is_dir())?;
        let what = format!("there is no folder {} on this machine, of volume {host}", folder.display());
        Some(Finding::warning(what, format!("mount it, or set {} to where it is", keys::VOLUME_MOUNT)))
    }));
    or_ok(found, format!("{} below {}", count(all.len(), "volume"), mount.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::finding::State, store::etcd::parse};

    const GOOD: [(&str, &str); 9] = [
        ("images/py/cpu", "1"),
        ("images/py/mem", "256"),
        ("images/py/tags/latest", "aa"),
        ("images/_aliases/python", "py:latest"),
        ("nodes/manager", "m"),
        ("nodes/manager/event_addr", "10.0.0.1:5002"),
        ("nodes/redis", "10.0.0.1:6379"),
        ("nodes/gateways/a", r#"{"events_addr":"10.0.0.1:5002","api_addr":"10.0.0.1:8080","workers":4}"#),
        ("config/overbook/cpu", "2"),
    ];

    /// The good configuration without some keys and with others.
    fn with(without: &str, other: &[(&str, &str)]) -> Snapshot {
        let kept = GOOD.iter().filter(|(key, _)| without.is_empty() || !key.starts_with(without));
        parse(kept.chain(other).copied(), 1)
    }

    fn told(found: &[Finding], state: State, part: &str) {
        assert!(found.iter().any(|it| it.state == state && it.what.contains(part)), "{part}: {found:?}");
        assert!(found.iter().all(|it| it.state == State::Ok || !it.mend.is_empty()), "{found:?}");
    }

    #[test]
    fn images_that_nobody_can_use_are_named() {
        told(&images(&with("", &[])), State::Ok, "1 image");
        told(&images(&with("images/", &[])), State::Failed, "no image");
        told(&images(&with("images/py/mem", &[])), State::Failed, "images/py/mem is missing");
        told(&images(&with("", &[("images/r/cpu", "x"), ("images/r/mem", "1")])), State::Failed, "images/r/cpu");
        told(
            &images(&with("", &[("images/r/cpu", "1"), ("images/r/mem", "1")])),
            State::Warning,
            "without a tag, which nobody can use: r",
        );
    }

    #[test]
    fn aliases_of_nothing_are_named() {
        told(&aliases(&with("", &[])), State::Ok, "1 alias, each");
        told(&aliases(&with("", &[("images/_aliases/r", "R:4")])), State::Warning, "r (R:4)");
        told(&aliases(&with("images/py/tags", &[])), State::Warning, "python (py:latest)");
    }

    #[test]
    fn a_setting_that_is_garbage_is_named() {
        told(&others(&with("", &[])), State::Ok, "understood");
        told(
            &others(&with("", &[("config/overbook/mem", "-1")])),
            State::Failed,
            "config/overbook/mem is not a positive",
        );
    }

    #[test]
    fn what_agents_wait_for_is_there_while_a_gateway_runs() {
        told(&nodes(&with("", &[]), true), State::Ok, "1 gateway registered: a");
        told(&nodes(&with("nodes/redis", &[]), true), State::Failed, "nodes/redis");
        told(&nodes(&with("nodes/gateways", &[]), true), State::Warning, "not registered");
        told(&nodes(&with("nodes/", &[]), false), State::Note, "no gateway");
    }

    #[test]
    fn volumes_are_where_they_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().to_str().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let volumes = |other: &[(&str, &str)]| volumes(&with("", &[&[("volumes/_mount", mount)], other].concat()));
        told(&volumes(&[]), State::Note, "no volume");
        told(&volumes(&[("volumes/_vfroot", "data")]), State::Ok, "1 volume");
        told(&volumes(&[("volumes/_vfroot", "gone")]), State::Warning, "gone on this machine, of volume gone");
        let two = [("volumes/data/mount/at", "startup"), ("volumes/gone/mount/at", "startup")];
        told(&volumes(&two), State::Warning, "none of several volumes");
    }
}
