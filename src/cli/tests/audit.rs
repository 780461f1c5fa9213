//! Whatever changes something is in the audit log, without secrets.

use serde_json::{Value, json};

use super::*;
use crate::cli::audit::noted;

impl Cluster {
    /// (action, target, outcome) of all entries, oldest first.
    fn noted(&self) -> Vec<(String, String, String)> {
        let entries = self.json("audit list --limit 1000");
        let text = |it: &Value| it.as_str().unwrap_or("-").to_owned();
        let entries = entries.as_array().unwrap().iter().rev();
        entries.map(|it| (text(&it["action"]), text(&it["target"]), text(&it["outcome"]))).collect()
    }
}

fn done(expected: &[(&str, &str)]) -> Vec<(String, String, String)> {
    expected.iter().map(|(action, target)| ((*action).into(), (*target).into(), "done".into())).collect()
}

#[test]
fn every_command_that_changes_something_is_noted_and_no_secret_is() {
    let cluster = Cluster::current();
    let file = |name: &str| format!("{}/{name}", cluster.folder.path().display());
    cluster
        .file("secret", "0ld-s3cret\n")
        .file("i.yml", "images:\n- {name: py, tags: [[latest, aa], ['3', bb]], slots: {cpu: 1, mem: 1, gpu: 0}}\n")
        .file("a.yml", "aliases:\n- [a, 'py:latest']\n")
        .file("v.yml", "volumes:\n- {name: v, mount: {at: startup, fstype: cifs, path: p, options: password=h1dden}}\n")
        .file(
            "lab.json",
            r#"{"keypairs": [{"access_key": "LAB", "secret_key": "fixed-s3cret", "is_active": true}],
                "agents": [{"id": "i-1", "status": "ALIVE", "region": "r", "mem_slots": 10, "cpu_slots": 2,
                "gpu_slots": 0, "used_mem_slots": 0, "used_cpu_slots": 0, "used_gpu_slots": 0, "addr": "tcp://a:1"}]}"#,
        );
    let new = cluster.json("keypair generate --user-id 7");
    let (key, secret) = (new[0]["access_key"].as_str().unwrap(), new[0]["secret_key"].as_str().unwrap());
    let rotated = cluster.json(&format!("keypair rotate {key} --yes"));
    for command in [
        "fixture populate lab --fixtures-dir @",
        "keypair add MYKEY --user-id 1 --secret-file @secret",
        "keypair modify MYKEY --admin true",
        "keypair deactivate MYKEY",
        "keypair activate MYKEY",
        "etcd put config/docker h1dden",
        "etcd delete config --recursive --yes",
        "etcd update-images -f @i.yml",
        "etcd update-aliases -f @a.yml",
        "etcd update-volumes -f @v.yml",
        "image add py:4 --hash dd",
        "image remove py:3 --yes",
        "alias add b py:4",
        "alias remove b --yes",
        "agent cordon i-1",
        "agent uncordon i-1",
        "agent drain i-1",
    ] {
        cluster.run(command).unwrap_or_else(|why| panic!("{command}: {why}"));
    }
    let expected = done(&[
        ("keypair generate", key),
        ("keypair rotate", key),
        ("fixture populate", "lab"),
        ("keypair add", "MYKEY"),
        ("keypair modify", "MYKEY"),
        ("keypair deactivate", "MYKEY"),
        ("keypair activate", "MYKEY"),
        ("etcd put", "config/docker"),
        ("etcd delete", "config"),
        ("etcd update-images", &file("i.yml")),
        ("etcd update-aliases", &file("a.yml")),
        ("etcd update-volumes", &file("v.yml")),
        ("image add", "py:4"),
        ("image remove", "py:3"),
        ("alias add", "b"),
        ("alias remove", "b"),
        ("agent cordon", "i-1"),
        ("agent uncordon", "i-1"),
        ("agent drain", "i-1"),
    ]);
    assert_eq!(cluster.noted(), expected);
    let log = cluster.sql("SELECT audit_log::text FROM audit_log");
    for secret in [secret, rotated[0]["secret_key"].as_str().unwrap(), "s3cret", "h1dden"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    let who = cluster.sql("SELECT DISTINCT via || ' ' || actor FROM audit_log");
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert!(who.starts_with("manager ") && who.ends_with(&format!("@{host}")), "{who}");
}

#[test]
fn what_was_refused_or_failed_is_noted_with_why() {
    let cluster = Cluster::current();
    cluster.file("bad.json", r#"{"keypairs": [{"access_key": "BAD"}, {"acess_key": "typo"}]}"#);
    cluster.run("keypair activate NOBODY").unwrap_err();
    cluster.run("fixture populate bad --fixtures-dir @").unwrap_err();
    let log = cluster.json("audit list");
    assert_eq!((&log[1]["outcome"], &log[1]["message"]), (&json!("refused"), &json!("there is no key pair NOBODY")));
    assert_eq!(log[0]["outcome"], "failed");
    assert!(log[0]["message"].as_str().unwrap().contains("acess_key"), "{log}");
}

#[test]
fn an_entry_is_there_before_the_work_is_begun_and_has_its_outcome_after() {
    let cluster = Cluster::current();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let state = || cluster.sql("SELECT action || ' ' || coalesce(outcome, 'none') FROM audit_log");
    let to = Postgres::shared().connections(cluster.name());
    let during = runtime.block_on(async {
        let client = connect(&to, PROGRAM).await.unwrap();
        noted(&client, "test", "key", "K", &json!({}), async { Ok(state()) }).await.unwrap()
    });
    assert_eq!((during.as_str(), state().as_str()), ("test none", "test done"));
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    let mut cluster = Cluster::current();
    cluster.sql("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk full'; END $$");
    cluster.sql("CREATE TRIGGER no BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION no()");
    for command in ["keypair generate --user-id 1", "etcd put a b"] {
        assert_eq!(cluster.run(command).unwrap_err(), "PostgreSQL: disk full", "{command}");
    }
    assert_eq!(cluster.sql("SELECT count(*) FROM keypairs"), "0");
    let nowhere = format!("127.0.0.1:{}", free_port());
    let place = cluster.options.iter().position(|it| it == "--db-addr").unwrap();
    cluster.options[place + 1].clone_from(&nowhere);
    let refused = cluster.run("etcd put a b").unwrap_err();
    assert!(refused.contains("nothing was changed") && refused.contains(&nowhere), "{refused}");
    assert!(refused.contains("--db-addr") && !refused.contains('\n'), "{refused}");
    assert_eq!(cluster.keys(), Vec::<String>::new());
}

#[test]
fn a_schema_without_the_log_is_named_with_the_command_that_mends_it() {
    let cluster = Cluster::current();
    cluster.sql("DROP TABLE audit_log; DELETE FROM backendai_migrations WHERE version >= 8");
    for command in ["keypair generate --user-id 1", "audit list", "audit prune --before 1 --yes"] {
        let refused = cluster.run(command).unwrap_err();
        assert!(refused.contains("`backendai-manager schema upgrade`"), "{command}: {refused}");
    }
    // The cluster's configuration can be set before the database is.
    cluster.run("etcd put a b").unwrap();
    assert_eq!(cluster.keys(), ["a=b"]);
}

#[test]
fn the_log_is_listed_newest_first_by_whom_what_and_on_what() {
    let cluster = Cluster::current();
    cluster.sql(
        "INSERT INTO audit_log (actor, via, action, target_type, target) \
         SELECT 'K' || n % 3, 'rest', 'act' || n % 2, 'session', 's' || n FROM generate_series(1, 150) n",
    );
    let targets = |command: &str| -> Vec<String> {
        let rows = cluster.json(command);
        rows.as_array().unwrap().iter().map(|it| it["target"].as_str().unwrap().to_owned()).collect()
    };
    let named = |numbers: &[u32]| -> Vec<String> { numbers.iter().map(|it| format!("s{it}")).collect() };
    let newest = targets("audit list");
    assert_eq!((newest.len(), newest[0].as_str(), newest[99].as_str()), (100, "s150", "s51"));
    assert_eq!(targets("audit list --limit 3 --offset 1"), named(&[149, 148, 147]));
    assert_eq!(targets("audit list --actor K1 --limit 2"), named(&[148, 145]));
    assert_eq!(targets("audit list --action act1 --actor K0 --limit 2"), named(&[147, 141]));
    assert_eq!(targets("audit list --target s7"), named(&[7]));
    assert_eq!(targets("audit list --target nothing"), named(&[]));
}

#[test]
fn old_entries_are_pruned_and_that_is_noted() {
    let cluster = Cluster::current();
    cluster.sql(
        "INSERT INTO audit_log (at, actor, via, action, target_type, target) SELECT now() - n * interval '1 day', \
         'K', 'rest', 'a', 'session', 's' || n FROM generate_series(1, 9) n",
    );
    assert!(cluster.run("audit prune --before 5 --yes").unwrap().starts_with("removed 5 entries from before "));
    assert_eq!(
        cluster.sql("SELECT string_agg(target, ' ' ORDER BY id) FROM audit_log WHERE actor = 'K'"),
        "s1 s2 s3 s4"
    );
    assert!(cluster.run("audit prune --before 2999-01-01 --yes").unwrap_err().contains("has not come yet"));
    assert_eq!(cluster.noted().last().unwrap().0, "audit prune");
    let today = cluster.sql("SELECT (now() AT TIME ZONE 'UTC')::date");
    cluster.run(&format!("audit prune --before {today} --yes")).unwrap();
    assert_eq!(cluster.sql("SELECT count(*) FROM audit_log WHERE actor = 'K'"), "0");
    assert_eq!(cluster.noted().len(), 2, "the prunes of today stay");
}
