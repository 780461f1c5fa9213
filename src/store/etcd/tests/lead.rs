use nix::sys::signal::Signal;

use super::{
    super::{
        Etcd, EtcdOptions, GatewayNode,
        duty::{Duty, Role},
        keys,
        lease::{Lease, TTL},
        link::Link,
        tree::Tree,
    },
    rig::{NAMESPACE, Rig, node, shows, until},
};

fn leaders(candidates: &[Etcd]) -> usize {
    candidates.iter().filter(|candidate| candidate.is_leader()).count()
}

/// Waits for a leader and says which; there must never be two.
fn leader(candidates: &[Etcd]) -> usize {
    until("somebody leads", || {
        let count = leaders(candidates);
        assert!(count <= 1, "{count} lead");
        count == 1
    });
    candidates.iter().position(Etcd::is_leader).unwrap()
}

#[test]
fn of_two_candidates_one_leads_and_the_other_takes_over_when_it_resigns_or_dies() {
    let rig = Rig::start();
    let mut candidates = vec![rig.candidate("a"), rig.candidate("b"), rig.candidate("c")];
    let resigning = candidates.remove(leader(&candidates));
    resigning.shutdown();
    assert!(!resigning.is_leader());
    let dying = candidates.remove(leader(&candidates));
    dying.abandon();
    assert!(rig.get(keys::LEADER).is_some(), "its lease still holds the key");
    assert_eq!(leader(&candidates), 0);
}

#[test]
fn a_leader_that_cannot_keep_its_lease_knows_it_and_leads_again_later() {
    let mut rig = Rig::start();
    let candidates = [rig.candidate("a"), rig.candidate("b")];
    leader(&candidates);
    rig.signal(Signal::SIGSTOP);
    until("nobody leads without etcd", || leaders(&candidates) == 0);
    rig.signal(Signal::SIGCONT);
    leader(&candidates);
    rig.kill();
    until("nobody leads without etcd", || leaders(&candidates) == 0);
    rig.restart();
    leader(&candidates);
}

#[test]
fn a_leader_whose_lease_or_key_is_taken_away_stops_and_somebody_leads_again() {
    let rig = Rig::start();
    let candidates = [rig.candidate("a"), rig.candidate("b")];
    leader(&candidates);
    rig.put(keys::LEADER, "somebody else");
    until("nobody leads against the key", || leaders(&candidates) == 0);
    rig.delete(keys::LEADER);
    leader(&candidates);
    rig.revoke_all();
    // Who revokes a lease by hand ends its holder's certainty: two may lead until the holder hears of it.
    until("the key is held again, and by one", || rig.get(keys::LEADER).is_some() && leaders(&candidates) == 1);
}

#[test]
fn a_shutdown_returns_while_etcd_hangs() {
    let rig = Rig::start();
    let candidates = [rig.candidate("a")];
    leader(&candidates);
    rig.signal(Signal::SIGSTOP);
    candidates.iter().for_each(Etcd::shutdown);
    assert_eq!(leaders(&candidates), 0);
    rig.signal(Signal::SIGCONT);
}

#[test]
fn two_processes_with_one_name_do_not_both_lead() {
    let rig = Rig::start();
    let candidates = [rig.candidate("same"), rig.candidate("same")];
    let first = leader(&candidates);
    // Both have seen the key by now: a change after it reaches both.
    rig.put_image("python", "1");
    for candidate in &candidates {
        shows(candidate, "the image", |it| it.images.contains_key("python"));
    }
    assert_eq!(leader(&candidates), first);
}

#[test]
fn a_node_is_registered_while_it_lives_and_agents_are_told() {
    let rig = Rig::start();
    let (watcher, a) = (rig.follow(), rig.publisher("a"));
    let seen = shows(&watcher, "the manager's keys", |it| it.manager.id.is_some());
    assert_eq!(seen.gateways["a"], node("a").gateway());
    assert_eq!(seen.manager.id.as_deref(), Some("a-0"));
    assert_eq!(seen.manager.events_addr, Some(node("a").events_addr));
    assert_eq!(seen.manager.redis_addr, Some(node("a").redis_addr));
    a.shutdown();
    assert_eq!(rig.get(&keys::gateway("a")), None, "the lease is given back before the shutdown returns");
}

#[test]
fn the_entry_of_a_killed_node_expires_and_agents_are_told_of_one_that_lives() {
    let rig = Rig::start();
    let a = rig.publisher("a");
    shows(&a, "a's keys", |it| it.manager.id.as_deref() == Some("a-0"));
    let b = rig.publisher("b");
    shows(&b, "b's keys", |it| it.manager.id.as_deref() == Some("b-0"));
    b.abandon();
    assert!(rig.get(&keys::gateway("b")).is_some(), "its lease still holds the entry");
    let seen = shows(&a, "a's keys again", |it| it.manager.id.as_deref() == Some("a-0"));
    assert_eq!(seen.gateways.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(seen.manager.events_addr, Some(node("a").events_addr));
}

#[test]
fn an_entry_is_back_after_its_lease_was_lost_and_after_etcd_was_away_for_longer() {
    let mut rig = Rig::start();
    let a = rig.publisher("a");
    let here = |etcd: &Etcd| drop(shows(etcd, "the entry", |it| it.gateways.contains_key("a")));
    here(&a);
    let mut changes = a.changes();
    rig.revoke_all();
    let next =
        rig.runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(30), changes.next()).await });
    next.expect("the entry is seen to go");
    here(&a);
    rig.kill();
    until("it is known to be away", || !a.healthy());
    rig.restart();
    rig.revoke_all();
    until("the entry is back", || rig.get(&keys::gateway("a")).is_some());
}

#[test]
fn keys_that_are_removed_or_name_nobody_are_mended() {
    let rig = Rig::start();
    let a = rig.publisher("a");
    shows(&a, "the keys", |it| it.manager.id.is_some());
    rig.delete(keys::MANAGER);
    until("the manager's id is back", || rig.get(keys::MANAGER).as_deref() == Some("a-0"));
    rig.put(keys::MANAGER_EVENT_ADDR, "gone.example:5002");
    until("the address is mended", || rig.get(keys::MANAGER_EVENT_ADDR).as_deref() == Some("a.example:5002"));
}

#[test]
fn another_number_of_workers_is_told() {
    let rig = Rig::start();
    let (watcher, a) = (rig.follow(), rig.publisher("a"));
    shows(&watcher, "the entry", |it| it.gateways.contains_key("a"));
    a.set_workers(5);
    let seen = shows(&watcher, "the new number", |it| it.gateways["a"].workers == 5);
    assert_eq!(seen.gateways["a"].events_addr, node("a").events_addr);
}

#[test]
fn a_successor_on_the_same_node_keeps_the_entry_when_its_predecessor_ends() {
    let rig = Rig::start();
    let old = rig.publisher("a");
    shows(&old, "the old one's keys", |it| it.manager.id.is_some());
    let info = super::super::NodeInfo { workers: 8, ..node("a") };
    let options = EtcdOptions { publish: Some(info.clone()), ..rig.options("a-1") };
    let new = Etcd::start(options).unwrap();
    let entry = |it: &super::super::Snapshot| it.gateways.get("a").cloned();
    shows(&old, "the new one's keys", |it| it.manager.id.as_deref() == Some("a-1"));
    old.shutdown();
    assert_eq!(rig.get(&keys::gateway("a")).as_deref().and_then(GatewayNode::from_json), Some(info.gateway()));
    assert_eq!(entry(&new.snapshot()), Some(info.gateway()));
}

#[test]
fn of_those_who_decide_from_the_same_state_one_writes() {
    let rig = Rig::start();
    let root = keys::root(NAMESPACE);
    let role = |id: &str| Role {
        instance_id: id.into(),
        publish: Some(node(id)),
        campaign: true,
        announced: true,
        directed: true,
    };
    rig.runtime.block_on(async {
        let mut link = Link::connect(&rig.addr).await.unwrap();
        let lease = link.grant(TTL).await.unwrap();
        let tree = Tree::new(&root, link.read(&root).await.unwrap());
        for duty in [Duty::Lead, Duty::Direct] {
            let (one, other) = (role("a").txn(duty, &tree, lease), role("b").txn(duty, &tree, lease));
            assert!(link.txn(one.unwrap()).await.unwrap().succeeded());
            assert!(!link.txn(other.unwrap()).await.unwrap().succeeded());
        }
    });
    assert_eq!(rig.get(keys::LEADER).as_deref(), Some("a"));
    assert_eq!(rig.get(keys::MANAGER_EVENT_ADDR).as_deref(), Some("a.example:5002"));
}

#[test]
fn the_lease_of_an_earlier_connection_is_taken_up_while_it_lives() {
    let rig = Rig::start();
    rig.runtime.block_on(async {
        let mut link = Link::connect(&rig.addr).await.unwrap();
        let first = Lease::take_up(&mut link, None).await.unwrap().id();
        let mut link = Link::connect(&rig.addr).await.unwrap();
        let mut again = Lease::take_up(&mut link, Some(first)).await.unwrap();
        assert_eq!(again.id(), first);
        assert!(again.renew(&link).await.unwrap());
        link.revoke(first).await.unwrap();
        assert!(!again.renew(&link).await.unwrap());
        assert_ne!(Lease::take_up(&mut link, Some(first)).await.unwrap().id(), first);
    });
}
