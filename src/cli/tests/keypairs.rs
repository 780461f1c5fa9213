//! Key pairs that change.

use super::*;

fn with_keys() -> Cluster {
    let cluster = Cluster::current();
    cluster.sql(
        "INSERT INTO keypairs (access_key, secret_key, user_id, is_active, is_admin, concurrency_limit, \
         concurrency_used, rate_limit) VALUES ('A', 'old', 1, true, false, 30, 0, 1000), \
         ('B', 'old', 2, false, false, 30, 0, 1000), ('C', 'old', 2, NULL, false, 30, 0, 1000)",
    );
    cluster
}

#[test]
fn a_key_pair_is_changed_in_what_was_said_and_nothing_else() {
    let cluster = with_keys();
    let changed = cluster.run("keypair modify A --admin true --rate-limit 5").unwrap();
    assert_eq!(changed, "A: is_admin false -> true, rate_limit 1000 -> 5\n");
    let row = "SELECT is_admin, rate_limit, concurrency_limit, resource_policy, user_id, is_active FROM keypairs \
               WHERE access_key = ";
    assert_eq!(cluster.sql(&format!("{row}'A'")), "t|5|30||1|t");
    assert_eq!(cluster.sql(&format!("{row}'B'")), "f|1000|30||2|f", "no other key");
    let changed =
        cluster.run("keypair modify A --admin false --concurrency-limit 0 --resource-policy p --user-id 9").unwrap();
    let expected = "A: is_admin true -> false, concurrency_limit 30 -> 0, resource_policy - -> p, user_id 1 -> 9\n";
    assert_eq!(changed, expected);
    assert_eq!(cluster.run("keypair modify A --admin false").unwrap(), "A: is so already\n");
    assert_eq!(cluster.run("keypair modify D --admin true").unwrap_err(), "there is no key pair D");
    assert!(cluster.run("keypair modify A").unwrap_err().contains("required"), "nothing to change");
    assert!(cluster.run("keypair modify A --rate-limit=-1").unwrap_err().contains("-1"));
}

#[test]
fn a_rotated_secret_is_shown_once_and_replaces_the_old_one() {
    let cluster = with_keys();
    let shown = cluster.json("keypair rotate A --yes");
    let secret = shown[0]["secret_key"].as_str().unwrap();
    assert_eq!((secret.len(), &shown[0]["access_key"]), (40, &"A".into()));
    assert_eq!(cluster.sql("SELECT secret_key FROM keypairs WHERE access_key = 'A'"), secret);
    assert_eq!(cluster.sql("SELECT count(*) FROM keypairs WHERE secret_key = 'old'"), "2");
    assert_eq!(cluster.run("keypair rotate D --yes").unwrap_err(), "there is no key pair D");
}

#[test]
fn key_pairs_are_listed_by_user_and_by_whether_they_can_be_used() {
    let cluster = with_keys();
    let keys = |options: &str| -> String {
        let rows = cluster.json(&format!("keypair list{options}"));
        rows.as_array().unwrap().iter().map(|it| it["access_key"].as_str().unwrap()).collect()
    };
    assert_eq!(keys(""), "ABC");
    assert_eq!(keys(" --active"), "A");
    assert_eq!(keys(" --inactive"), "BC");
    assert_eq!(keys(" --user-id 2 --inactive --limit 1 --offset 1"), "C");
    assert!(cluster.run("keypair list --active --inactive").is_err());
}
