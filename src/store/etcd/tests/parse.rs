use proptest::prelude::*;

use super::super::{DEFAULT_TAG, Overbook, Snapshot, parse};

const GOOD: [(&str, &str); 8] = [
    ("config/overbook/mem", "3.5"),
    ("images/_aliases/py", "python:3.6"),
    ("images/python", "1"),
    ("images/python/cpu", "1"),
    ("images/python/mem", "512"),
    ("images/python/tags/3.6", "sha256:36"),
    ("images/python/tags/latest", "sha256:36"),
    ("volumes/local/mount/path", "/vfroot/local"),
];

fn with(more: &[(&str, &str)]) -> Snapshot {
    parse(GOOD.iter().chain(more).copied(), 7)
}

fn resolved(snapshot: &Snapshot, text: &str) -> Option<String> {
    snapshot.resolve_image(text).map(|image| image.to_string())
}

#[test]
fn every_kind_of_key_is_read() {
    let snapshot = with(&[
        ("images/python/gpu", "0.25"),
        ("nodes/gateways/a", r#"{"events_addr":"a:5002","api_addr":"a:8081","workers":3}"#),
        ("nodes/manager", "i-1"),
        ("nodes/manager/event_addr", "a:5002"),
        ("nodes/redis", "r:6379"),
        ("volumes/_mount", "/data"),
        ("volumes/_vfroot", "local"),
    ]);
    let image = &snapshot.images["python"];
    assert_eq!((image.cpu, image.mem, image.gpu, image.tags.len()), (1.0, 512, 0.25, 2));
    assert_eq!((image.gpu_of("3.6"), image.gpu_of("3.6-gpu")), (0.0, 0.25));
    assert_eq!(snapshot.overbook, Overbook { cpu: 6.0, mem: 3.5, gpu: 1.0 });
    assert_eq!(snapshot.gateways["a"].workers, 3);
    assert_eq!(snapshot.manager.id.as_deref(), Some("i-1"));
    assert_eq!(snapshot.manager.events_addr, Some("a:5002".parse().unwrap()));
    assert_eq!(snapshot.manager.redis_addr, Some("r:6379".parse().unwrap()));
    assert_eq!(snapshot.volumes["local"]["path"], "/vfroot/local");
    assert_eq!((snapshot.vfroot.as_deref(), snapshot.volume_mount()), (Some("local"), "/data"));
    assert_eq!((snapshot.rejected.len(), snapshot.revision), (0, 7));
}

#[test]
fn nothing_in_etcd_means_the_defaults() {
    let snapshot = parse([], 1);
    assert_eq!(snapshot.overbook, Overbook { cpu: 6.0, mem: 2.0, gpu: 1.0 });
    assert_eq!(snapshot.volume_mount(), "/mnt");
    assert_eq!(snapshot, Snapshot { revision: 1, ..Snapshot::default() });
}

#[test]
fn an_image_is_found_by_name_by_tag_and_by_alias() {
    let snapshot = with(&[]);
    for (text, meant) in [("python", "python:latest"), ("python:3.6", "python:3.6"), ("py", "python:3.6")] {
        assert_eq!(resolved(&snapshot, text).as_deref(), Some(meant), "{text}");
    }
    for text in ["", ":", "python:", "python:2", "r", ":latest", "python:3.6:x", "py:3.6"] {
        assert_eq!(resolved(&snapshot, text), None, "{text}");
    }
}

#[test]
fn an_alias_is_followed_once_and_stands_before_a_name() {
    let snapshot = with(&[
        ("images/_aliases/python", "python:3.6"),
        ("images/_aliases/three", "python"),
        ("images/_aliases/again", "three"),
        ("images/_aliases/a", "b"),
        ("images/_aliases/b", "a"),
        ("images/_aliases/python:2", "python:latest"),
    ]);
    for (text, meant) in [
        ("python", Some("python:3.6")),
        ("three", Some("python:latest")),
        ("python:2", Some("python:latest")),
        ("again", None),
        ("a", None),
        ("b", None),
    ] {
        assert_eq!(resolved(&snapshot, text).as_deref(), meant, "{text}");
    }
    assert_eq!(DEFAULT_TAG, "latest");
}

#[test]
fn a_broken_value_costs_what_it_describes_and_is_told() {
    for (key, value, reason) in [
        ("images/r/cpu", "many", "is not a number of cores"),
        ("images/r/cpu", "-1", "is not a number of cores"),
        ("images/r/cpu", "NaN", "is not a number of cores"),
        ("images/r/mem", "1e300", "is not a number of MiB"),
        ("images/r/mem", "inf", "is not a number of MiB"),
        ("images/r/gpu", "", "is not a fraction of GPUs"),
        ("config/overbook/cpu", "0", "is not a positive number"),
        ("nodes/gateways/a", "{}", "is not the JSON of a gateway node"),
        ("nodes/redis", "r", "is not HOST:PORT"),
    ] {
        let mut entries: Vec<_> = GOOD.to_vec();
        entries.extend([("images/r/cpu", "2"), ("images/r/mem", "1"), ("images/r/tags/latest", "h")]);
        entries.retain(|(other, _)| *other != key);
        entries.push((key, value));
        let snapshot = parse(entries, 7);
        let told: Vec<_> = snapshot.rejected.iter().map(|it| (it.key.as_str(), it.reason)).collect();
        assert_eq!(told, [(key, reason)], "{value}");
        assert_eq!(snapshot.images.contains_key("r"), !key.starts_with("images/"), "{key}");
        assert_eq!(snapshot.overbook.cpu, 6.0);
    }
}

#[test]
fn an_image_without_its_slots_is_left_out() {
    let snapshot = with(&[("images/r/tags/latest", "h"), ("images/q/cpu", "1"), ("images/q/owner", "me")]);
    let told: Vec<_> = snapshot.rejected.iter().map(|it| format!("{} {}", it.key, it.reason)).collect();
    assert_eq!(told, ["images/q/mem is missing", "images/r/cpu is missing"]);
    assert_eq!(snapshot.images.keys().collect::<Vec<_>>(), ["python"]);
}

/// Keys that look like ours, or like nothing, beside those of `GOOD`.
fn garbage_key() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "images", "nodes", "config", "overbook", "gateways", "volumes", "tags", "cpu", "mem", "gpu", "mount", "x", "",
        "manager", "redis", "_aliases", "python", "é",
    ]);
    prop::collection::vec(words, 1..6).prop_map(|words| words.join("/"))
}

fn garbage_value() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), any::<f64>().prop_map(|number| number.to_string()), Just("{".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn garbage_never_harms_what_is_right(
        garbage in prop::collection::vec((garbage_key(), garbage_value()), 0..12),
    ) {
        let own = |key: &str| {
            GOOD.iter().any(|(good, _)| *good == key) || key == "images/python/gpu" || key == "config/overbook/cpu"
        };
        let garbage: Vec<_> = garbage.iter().filter(|(key, _)| !own(key)).collect();
        let mut entries: Vec<_> = GOOD.to_vec();
        entries.extend(garbage.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let (snapshot, clean) = (parse(entries, 7), with(&[]));
        let (mut image, expected) = (snapshot.images["python"].clone(), &clean.images["python"]);
        image.tags.retain(|tag, _| expected.tags.contains_key(tag));
        prop_assert_eq!(&image, expected);
        prop_assert_eq!(&snapshot.aliases["py"], "python:3.6");
        prop_assert_eq!((snapshot.overbook.cpu, snapshot.overbook.mem), (6.0, 3.5));
        prop_assert_eq!(&snapshot.volumes["local"], &clean.volumes["local"]);
        for image in snapshot.images.values() {
            prop_assert!(image.cpu.is_finite() && image.cpu >= 0.0 && image.mem >= 0 && image.gpu.is_finite());
        }
        for rejected in &snapshot.rejected {
            prop_assert!(!own(&rejected.key), "{:?}", rejected);
        }
    }

    #[test]
    fn what_is_resolved_is_there(text in "[a-z:._-]{0,8}", target in "[a-z:]{0,8}") {
        let (alias, image) = (format!("images/_aliases/{text}"), format!("images/{target}/tags/latest"));
        let snapshot = with(&[(&alias, &target), (&image, "h")]);
        if let Some(found) = snapshot.resolve_image(&text) {
            prop_assert!(snapshot.image(&found).unwrap().tags.contains_key(&found.tag));
        }
    }
}
