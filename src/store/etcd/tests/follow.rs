use nix::sys::signal::Signal;

use super::{
    super::{EtcdError, EtcdOptions, keys, link::Link, tree::Tree},
    rig::{NAMESPACE, Rig, shows, until},
};
use crate::testing::free_port;

#[test]
fn a_snapshot_follows_changes_and_keeps_what_readers_hold() {
    let rig = Rig::start();
    rig.put_image("python", "1");
    let etcd = rig.follow();
    rig.runtime.block_on(etcd.wait_ready());
    let before = etcd.snapshot();
    assert_eq!(before.resolve_image("python").unwrap().to_string(), "python:latest");
    rig.put(&keys::alias("py"), "python");
    let after = shows(&etcd, "the alias", |it| it.resolve_image("py").is_some());
    assert!(after.revision > before.revision);
    assert_eq!(before.resolve_image("py"), None);
    rig.put(&keys::image_cpu("python"), "many");
    shows(&etcd, "the broken image left out", |it| it.images.is_empty() && it.rejected.len() == 1);
    rig.put(&keys::image_cpu("python"), "2");
    shows(&etcd, "the image mended", |it| it.images.get("python").is_some_and(|image| image.cpu == 2.0));
    rig.delete(&keys::image_tag("python", "latest"));
    shows(&etcd, "the tag gone", |it| it.resolve_image("python").is_none());
    assert!(etcd.healthy());
    etcd.shutdown();
    assert!(!etcd.healthy());
}

#[test]
fn an_etcd_killed_and_started_again_is_followed_again() {
    let mut rig = Rig::start();
    rig.put_image("python", "1");
    let etcd = rig.follow();
    shows(&etcd, "the image", |it| it.images.contains_key("python"));
    rig.kill();
    until("it is known to be away", || !etcd.healthy());
    assert!(etcd.snapshot().images.contains_key("python"), "the last snapshot stays");
    rig.restart();
    rig.put_image("r", "1");
    shows(&etcd, "what came after the restart", |it| it.images.contains_key("r"));
    assert!(etcd.healthy());
}

#[test]
fn an_etcd_that_hangs_is_known_to_be_away() {
    let rig = Rig::start();
    let etcd = rig.follow();
    rig.runtime.block_on(etcd.wait_ready());
    rig.signal(Signal::SIGSTOP);
    until("it is known to be away", || !etcd.healthy());
    rig.signal(Signal::SIGCONT);
    rig.put_image("python", "1");
    shows(&etcd, "what came after the hang", |it| it.images.contains_key("python"));
}

#[test]
fn an_etcd_that_comes_after_its_follower_is_followed() {
    let mut rig = Rig::start();
    rig.put_image("python", "1");
    rig.kill();
    let etcd = rig.follow();
    assert!(!etcd.healthy());
    rig.restart();
    rig.runtime.block_on(etcd.wait_ready());
    assert!(etcd.snapshot().images.contains_key("python"));
}

#[test]
fn compaction_during_an_absence_is_survived() {
    let mut rig = Rig::start();
    rig.put_image("python", "1");
    let etcd = rig.follow();
    shows(&etcd, "the image", |it| it.images.contains_key("python"));
    rig.signal(Signal::SIGSTOP);
    until("it is known to be away", || !etcd.healthy());
    rig.kill();
    rig.restart();
    rig.delete(&keys::image_tag("python", "latest"));
    rig.compact();
    shows(&etcd, "what changed meanwhile", |it| it.resolve_image("python").is_none());
}

#[test]
fn a_watch_from_a_compacted_revision_ends_and_says_why() {
    let rig = Rig::start();
    let root = keys::root(NAMESPACE);
    rig.put_image("python", "1");
    let mut link = rig.runtime.block_on(Link::connect(&rig.addr)).unwrap();
    let read = rig.runtime.block_on(link.read(&root)).unwrap();
    let tree = Tree::new(&root, read);
    rig.put_image("r", "1");
    rig.compact();
    let ended = rig.runtime.block_on(async {
        let mut watch = link.watch(&root, tree.revision() + 1).await?;
        watch.next().await.map(drop)
    });
    let Err(EtcdError::WatchEnded { reason, .. }) = ended else { panic!("{ended:?}") };
    assert!(reason.contains("compacted"), "{reason}");
}

#[test]
fn an_endpoint_that_is_down_or_cannot_be_looked_up_is_passed_over() {
    let rig = Rig::start();
    rig.put_image("python", "1");
    let down = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let nowhere = "nowhere.invalid:2379".parse().unwrap();
    let named = format!("localhost:{}", rig.addr.port).parse().unwrap();
    let endpoints = vec![down, nowhere, named];
    let etcd = super::super::Etcd::start(EtcdOptions { endpoints, ..rig.options("a") }).unwrap();
    rig.runtime.block_on(etcd.wait_ready());
    assert!(etcd.snapshot().images.contains_key("python"));
}

#[test]
fn no_endpoint_is_an_error_at_once() {
    let rig = Rig::start();
    let started = super::super::Etcd::start(EtcdOptions { endpoints: vec![], ..rig.options("a") });
    assert_eq!(started.err().unwrap().to_string(), "no etcd endpoint is given");
}

#[test]
fn ten_thousand_images_are_read_in_one_piece() {
    let rig = Rig::start();
    let mut client = rig.client();
    let hash = "sha256:".to_owned() + &"0".repeat(500);
    for chunk in 0..100 {
        let names = (0..100).map(|n| format!("image-{chunk}-{n}"));
        let edits: Vec<_> =
            names.map(|name| super::super::client::Edit::Put(keys::image_tag(&name, "latest"), hash.clone())).collect();
        rig.runtime.block_on(client.apply(&edits)).unwrap();
    }
    let etcd = rig.follow();
    rig.runtime.block_on(etcd.wait_ready());
    assert_eq!(etcd.snapshot().rejected.len(), 10_000, "all read, each without slots");
}
