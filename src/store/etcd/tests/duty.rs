use super::{
    super::{
        duty::{Duty, Role},
        keys,
        link::{Batch, Change, Stored},
        tree::Tree,
    },
    rig::node,
};

const ROOT: &str = "/sorna/test/";

fn tree(entries: &[(&str, &str)]) -> Tree {
    let change = |(key, value): &(&str, &str)| Change {
        key: format!("{ROOT}{key}").into_bytes(),
        value: Some(Stored { value: (*value).to_owned(), mod_revision: 3, lease: 9 }),
    };
    Tree::new(ROOT, Batch { revision: 3, changes: entries.iter().map(change).collect() })
}

fn due(role: &Role, entries: &[(&str, &str)]) -> Vec<Duty> {
    let tree = tree(entries);
    role.due(&tree, &tree.snapshot())
}

fn publisher(started: bool) -> Role {
    let (announced, directed) = (started, started);
    Role { instance_id: "i-a".into(), publish: Some(node("a")), campaign: false, announced, directed }
}

fn entry(name: &str) -> (String, String) {
    (keys::gateway(name), node(name).gateway().to_json())
}

#[test]
fn a_node_announces_itself_first_and_directs_agents_once_it_shows() {
    let mut role = publisher(false);
    let (key, json) = entry("a");
    assert_eq!(due(&role, &[]), [Duty::Announce]);
    assert_eq!(due(&role, &[(&key, "of an earlier process")]), [Duty::Announce]);
    role.done(Duty::Announce);
    assert_eq!(due(&role, &[]), [Duty::Announce], "an entry that is lost is written again");
    assert_eq!(due(&role, &[(&key, &json)]), [Duty::Direct]);
    let other = [(key.as_str(), json.as_str()), ("nodes/redis", "r:1"), ("nodes/manager", "i-b")];
    assert_eq!(due(&role, &other), [Duty::Direct], "at its start, whatever is there");
}

#[test]
fn agents_are_directed_anew_only_if_keys_are_missing_or_name_nobody_that_lives() {
    let role = publisher(true);
    let ((a, a_json), (b, b_json)) = (entry("a"), entry("b"));
    let nodes = [(a.as_str(), a_json.as_str()), (b.as_str(), b_json.as_str())];
    let whole =
        |event_addr| [("nodes/manager", "i-b"), ("nodes/redis", "r:1"), ("nodes/manager/event_addr", event_addr)];
    let with = |keys: &[(&'static str, &'static str)]| due(&role, &[&nodes, keys].concat());
    assert_eq!(with(&whole("b.example:5002")), []);
    assert_eq!(with(&whole("a.example:5002")), []);
    assert_eq!(with(&whole("c.example:5002")), [Duty::Direct]);
    assert_eq!(with(&whole("garbage")), [Duty::Direct]);
    for missing in 0..3 {
        let mut keys = whole("b.example:5002").to_vec();
        keys.remove(missing);
        assert_eq!(with(&keys), [Duty::Direct]);
    }
    assert_eq!(due(&role, &[nodes[..1].to_vec(), whole("b.example:5002").to_vec()].concat()), [Duty::Direct]);
}

#[test]
fn a_candidate_takes_the_lead_only_if_nobody_has_it() {
    let role = Role { publish: None, campaign: true, ..publisher(true) };
    assert_eq!(due(&role, &[]), [Duty::Lead]);
    assert_eq!(due(&role, &[(keys::LEADER, "i-b")]), []);
    assert_eq!(due(&Role { campaign: false, ..role }, &[]), []);
}

#[test]
fn a_follower_writes_nothing_and_needs_no_lease() {
    let role = Role { publish: None, ..publisher(true) };
    assert!(!role.needs_lease());
    assert_eq!(due(&role, &[]), []);
    assert!(role.txn(Duty::Direct, &tree(&[]), 9).is_none());
}

#[test]
fn keys_that_nobody_follows_are_no_change() {
    let mut tree = tree(&[]);
    let put = |key: &str| Batch {
        revision: 4,
        changes: vec![Change {
            key: key.as_bytes().to_vec(),
            value: Some(Stored { value: "running".into(), mod_revision: 4, lease: 0 }),
        }],
    };
    assert!(!tree.apply(put("/sorna/test/nodes/agents/i-1")));
    assert!(!tree.apply(put("/sorna/other/images/python/cpu")));
    assert!(tree.apply(put("/sorna/test/images/python/cpu")));
    assert_eq!(tree.revision(), 4);
}
