//! The commands as an operator gives them, against real servers.

mod audit;
mod images;
mod keypairs;
mod lists;
mod steering;

use std::{ffi::OsString, sync::OnceLock};

use clap::Parser;

use super::*;
use crate::testing::{Etcd, Postgres, free_port};

/// A cluster of its own for one test: an empty database and an unused namespace.
struct Cluster {
    options: Vec<String>,
    folder: tempfile::TempDir,
}

/// What a command wrote, or its message.
type Answer = Result<String, String>;

impl Cluster {
    fn new() -> Cluster {
        static ETCD: OnceLock<Etcd> = OnceLock::new();
        let (postgres, etcd) = (Postgres::shared(), ETCD.get_or_init(Etcd::start));
        let database = postgres.new_database();
        let at = postgres.connections(&database);
        let password = at.db_password.as_ref().unwrap().reveal();
        let options = [
            ("--namespace", database.clone()),
            ("--etcd-addr", etcd.addr().to_string()),
            ("--db-addr", at.db_addr.to_string()),
            ("--db-name", database),
            ("--db-password", password.to_owned()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        Cluster { options, folder: tempfile::tempdir().unwrap() }
    }

    fn current() -> Cluster {
        let cluster = Cluster::new();
        cluster.run("schema oneshot head").unwrap();
        cluster
    }

    /// Runs a command; `@name` in it stands for a file of this cluster's folder.
    fn run(&self, command: &str) -> Answer {
        let folder = self.folder.path().display();
        let words =
            command.split(' ').map(|it| it.strip_prefix('@').map_or(it.to_owned(), |f| format!("{folder}/{f}")));
        let args: Vec<OsString> =
            std::iter::once(PROGRAM.to_owned()).chain(words).chain(self.options.clone()).map(OsString::from).collect();
        let cli = Cli::try_parse_from(args).map_err(|it| it.to_string())?;
        let mut out = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(execute(cli, &mut out)).map_err(|it| it.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn file(&self, name: &str, text: &str) -> &Cluster {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn json(&self, command: &str) -> serde_json::Value {
        serde_json::from_str(&self.run(&format!("{command} --output json")).unwrap()).unwrap()
    }

    /// SQL on the database, by psql.
    fn sql(&self, sql: &str) -> String {
        Postgres::shared().psql(self.name(), sql)
    }

    /// The name of the database and of the namespace.
    fn name(&self) -> &str {
        &self.options[1]
    }

    /// All of etcd's keys with their values, as `key=value`.
    fn keys(&self) -> Vec<String> {
        let text = |it: &serde_json::Value| it.as_str().unwrap().to_owned();
        let keys = self.json("etcd ls");
        keys.as_array().unwrap().iter().map(|it| format!("{}={}", text(&it["key"]), text(&it["value"]))).collect()
    }
}

#[test]
fn schema_commands_make_show_and_upgrade() {
    let cluster = Cluster::new();
    assert!(cluster.run("schema show").unwrap().contains("pending  0001_existing_schema"));
    let refused = cluster.run("keypair list").unwrap_err();
    assert!(refused.contains("`backendai-manager schema oneshot head`"), "{refused}");
    assert!(cluster.run("schema oneshot head").unwrap().starts_with("applied 0001_existing_schema\n"));
    assert_eq!(cluster.run("schema oneshot head").unwrap(), "nothing to apply\n");
    assert_eq!(cluster.run("schema upgrade").unwrap(), "nothing to apply\n");
    let shown = cluster.run("schema show").unwrap();
    assert!(shown.contains("alembic_version: c3e74dcf1808") && !shown.contains("pending"), "{shown}");
}

#[test]
fn options_may_stand_before_the_command_too() {
    let mut args = vec![PROGRAM.to_owned()];
    args.extend(["--db-name", "other", "schema", "show"].map(str::to_owned));
    assert_eq!(Cli::try_parse_from(args).unwrap().connections.db_name, "other");
}

#[test]
fn the_example_key_pairs_are_there_after_populating_once_or_twice() {
    let cluster = Cluster::current();
    let names = cluster.json("fixture list");
    assert!(names.as_array().unwrap().iter().any(|it| it["name"] == "example_keypair"), "{names}");
    let first = cluster.run("fixture populate example_keypair").unwrap();
    assert_eq!(first, "keypairs: 2 added, 0 there already\n");
    let second = cluster.run("fixture populate example_keypair").unwrap();
    assert_eq!(second, "keypairs: 0 added, 2 there already\n");
    let keys = cluster.json("keypair list");
    assert_eq!((&keys[0]["access_key"], &keys[0]["is_admin"]), (&"AKIAIOSFODNN7EXAMPLE".into(), &true.into()));
    assert_eq!((&keys[1]["access_key"], &keys[1]["is_admin"]), (&"AKIANABBDUSEREXAMPLE".into(), &false.into()));
    assert_eq!((&keys[0]["concurrency_limit"], &keys[0]["rate_limit"]), (&30.into(), &1000.into()));
}

#[test]
fn a_fixture_of_a_named_folder_fills_all_its_tables_or_none() {
    let cluster = Cluster::current();
    cluster.file(
        "lab.json",
        r#"{"vfolders": [{"host": "h", "name": "n", "belongs_to": "LAB"}],
                                "keypairs": [{"access_key": "LAB", "is_active": true}]}"#,
    );
    cluster.file("bad.json", r#"{"keypairs": [{"access_key": "BAD"}, {"acess_key": "typo"}]}"#);
    assert_eq!(cluster.run("fixture list --fixtures-dir @").unwrap(), "NAME\nbad\nlab\n");
    let added = cluster.run("fixture populate lab --fixtures-dir @").unwrap();
    assert_eq!(added, "keypairs: 1 added, 0 there already\nvfolders: 1 added, 0 there already\n");
    let refused = cluster.run("fixture populate bad --fixtures-dir @").unwrap_err();
    assert!(refused.contains("acess_key"), "{refused}");
    assert_eq!(cluster.json("keypair list").as_array().unwrap().len(), 1, "BAD was not kept");
    assert!(cluster.run("fixture populate none --fixtures-dir @").unwrap_err().contains("none.json"));
}

#[test]
fn a_generated_key_pair_is_listed_without_its_secret_and_can_be_switched() {
    let cluster = Cluster::current();
    let made = cluster.json("keypair generate --user-id 7 --rate-limit 5");
    let key = made[0]["access_key"].as_str().unwrap();
    assert_eq!(made[0]["secret_key"].as_str().unwrap().len(), 40);
    let listed = cluster.json("keypair list --user-id 7");
    assert_eq!((&listed[0]["access_key"], &listed[0]["rate_limit"]), (&key.into(), &5.into()));
    assert_eq!((&listed[0]["is_active"], &listed[0]["is_admin"]), (&true.into(), &false.into()));
    assert!(listed[0].get("secret_key").is_none());
    assert_eq!(cluster.json("keypair list --user-id 8"), serde_json::json!([]));
    cluster.run(&format!("keypair deactivate {key}")).unwrap();
    assert_eq!(cluster.json("keypair list")[0]["is_active"], false);
    cluster.run(&format!("keypair activate {key}")).unwrap();
    assert_eq!(cluster.json("keypair list")[0]["is_active"], true);
    assert_eq!(cluster.run("keypair activate NOBODY").unwrap_err(), "there is no key pair NOBODY");
}

#[test]
fn an_existing_key_pair_is_added_from_a_file_once() {
    let cluster = Cluster::current();
    cluster.file("secret", "s3cret\n").file("long", &"x".repeat(41)).file("empty", "");
    let add = "keypair add MYKEY --user-id 1 --admin --secret-file";
    cluster.run(&format!("{add} @secret")).unwrap();
    assert_eq!(cluster.json("keypair list")[0]["is_admin"], true);
    assert_eq!(cluster.run(&format!("{add} @secret")).unwrap_err(), "there is a key pair MYKEY already");
    assert!(cluster.run(&format!("{add} @long")).unwrap_err().ends_with("it has 41 characters, at most 40 fit"));
    assert!(cluster.run(&format!("{add} @empty")).unwrap_err().ends_with("there is no secret key"));
}

#[test]
fn sessions_are_listed_while_they_live_and_shown_afterwards() {
    let cluster = Cluster::current();
    let kernel = |id: u8, status: &str, hour: u8| {
        format!(
            r#"{{"id": "00000000-0000-0000-0000-00000000000{id}", "sess_id": "job", "agent_addr": "a", "access_key": "K",
               "mem_slot": 1, "cpu_slot": 1, "gpu_slot": 0, "repl_in_port": 0, "repl_out_port": 0, "stdin_port": 0,
               "stdout_port": 0, "status": "{status}", "environ": ["TOKEN=hidden"],
               "created_at": "2020-01-01T0{hour}:00:00Z"}}"#
        )
    };
    let (old, older) = (kernel(1, "TERMINATED", 2), kernel(2, "ERROR", 1));
    cluster.file("f.json", &format!(r#"{{"keypairs": [{{"access_key": "K"}}], "kernels": [{old}, {older}]}}"#));
    cluster.file("g.json", &format!(r#"{{"kernels": [{}]}}"#, kernel(3, "RUNNING", 0)));
    cluster.run("fixture populate f --fixtures-dir @").unwrap();
    let ids = |command: &str| -> Vec<String> {
        let rows = cluster.json(command);
        rows.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()[35..].to_owned()).collect()
    };
    assert_eq!(ids("session list"), Vec::<String>::new());
    assert_eq!(ids("session list --all"), ["1", "2"]);
    assert_eq!(ids("session list --status error"), ["2"]);
    assert_eq!(ids("session show job"), ["1"], "the one that ended last");
    cluster.run("fixture populate g --fixtures-dir @").unwrap();
    assert_eq!(ids("session list"), ["3"]);
    assert_eq!(ids("session list --access-key OTHER"), Vec::<String>::new());
    assert_eq!(ids("session show job"), ["3"], "the live one");
    assert_eq!(ids("session show 00000000-0000-0000-0000-000000000002"), ["2"]);
    assert!(!cluster.run("session show job").unwrap().contains("hidden"));
    assert_eq!(cluster.run("session show none").unwrap_err(), "there is no session none");
}

#[test]
fn agents_are_listed_and_shown_with_their_live_kernels() {
    let cluster = Cluster::current();
    cluster.file("f.json", r#"{"agents": [{"id": "i-1", "status": "ALIVE", "region": "r", "mem_slots": 10,
        "cpu_slots": 2, "gpu_slots": 0, "used_mem_slots": 1, "used_cpu_slots": 0, "used_gpu_slots": 0, "addr": "tcp://a:1"}]}"#);
    cluster.run("fixture populate f --fixtures-dir @").unwrap();
    assert_eq!(cluster.json("agent list")[0]["mem_slots"], 10);
    assert_eq!(cluster.json("agent show i-1")[0]["live_kernels"], 0);
    assert!(cluster.run("agent show i-1").unwrap().contains("live_kernels:   0\n"));
    assert_eq!(cluster.run("agent show i-2").unwrap_err(), "there is no agent i-2");
}

#[test]
fn keys_of_etcd_are_put_read_listed_and_removed_within_the_namespace() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    cluster.run("etcd put config/overbook/cpu 4").unwrap();
    cluster.run("etcd put config/overbook 1").unwrap();
    cluster.run("etcd put config/overbooked 1").unwrap();
    assert_eq!(cluster.run("etcd get config/overbook/cpu").unwrap(), "4\n");
    assert_eq!(other.run("etcd get config/overbook/cpu").unwrap_err(), "there is no key config/overbook/cpu");
    let listed = cluster.run("etcd ls config/overbook").unwrap();
    assert_eq!(listed, "KEY                  VALUE\nconfig/overbook      1\nconfig/overbook/cpu  4\n");
    assert_eq!(cluster.run("etcd delete config/overbook").unwrap(), "removed 1\n");
    assert_eq!(cluster.run("etcd delete config --recursive --yes").unwrap(), "removed 2\n");
    assert!(cluster.run("etcd delete config").is_err());
    assert_eq!(cluster.keys(), Vec::<String>::new());
}

#[test]
fn images_are_loaded_and_tags_that_have_gone_are_removed_only_when_asked() {
    let cluster = Cluster::new();
    let file = |tags: &str| format!("images:\n- {{name: py, tags: {tags}, slots: {{cpu: 1, mem: 0.25, gpu: 0.5}}}}\n");
    cluster.file("one.yml", &file("[[latest, ':3.6'], [3.6, aa], [2.7, bb]]")).file("two.yml", &file("[[latest, cc]]"));
    cluster.run("etcd update-images -f @one.yml").unwrap();
    let base = ["images/py=1", "images/py/cpu=1", "images/py/gpu=0.50", "images/py/mem=256"];
    let keys = |tags: &[&'static str]| [&base, tags].concat();
    assert_eq!(cluster.keys(), keys(&["images/py/tags/2.7=bb", "images/py/tags/3.6=aa", "images/py/tags/latest=aa"]));
    cluster.run("etcd update-images -f @two.yml").unwrap();
    assert_eq!(cluster.keys(), keys(&["images/py/tags/2.7=bb", "images/py/tags/3.6=aa", "images/py/tags/latest=cc"]));
    let pruned = cluster.run("etcd update-images --prune -f @two.yml").unwrap();
    assert_eq!(pruned, "py: 1 tags, removed 2.7, 3.6\n");
    assert_eq!(cluster.keys(), keys(&["images/py/tags/latest=cc"]));
}

#[test]
fn a_broken_file_changes_nothing() {
    let cluster = Cluster::new();
    let good = "- {name: good, tags: [[latest, aa]], slots: {cpu: 1, mem: 1, gpu: 0}}";
    let bad = "- {name: bad, tags: [[latest, ':none']], slots: {cpu: 1, mem: 1, gpu: 0}}";
    cluster.file("images.yml", &format!("images:\n{good}\n{bad}\n"));
    cluster.file("aliases.yml", "aliases:\n- [a, 'good:latest']\n- [b]\n");
    cluster.file(
        "volumes.yml",
        "volumes:\n- {name: v, mount: {at: startup, fstype: nfs, path: p}}\n- {name: w, mount: 3}\n",
    );
    for (kind, line) in [("images", 3), ("aliases", 3), ("volumes", 3)] {
        let message = cluster.run(&format!("etcd update-{kind} -f @{kind}.yml")).unwrap_err();
        assert!(message.contains(&format!("{kind}.yml:{line}: ")), "{message}");
    }
    assert!(cluster.run("etcd update-images -f @none.yml").unwrap_err().contains("none.yml"));
    assert_eq!(cluster.keys(), Vec::<String>::new());
}

#[test]
fn aliases_and_volumes_are_loaded() {
    let cluster = Cluster::new();
    let many: String = (0..300).map(|n| format!("- [a{n:03}, 'python:3']\n")).collect();
    cluster.file("aliases.yml", &format!("aliases:\n{many}"));
    cluster.run("etcd update-aliases -f @aliases.yml").unwrap();
    assert_eq!(cluster.keys().len(), 300);
    assert_eq!(cluster.run("etcd get images/_aliases/a299").unwrap(), "python:3\n");
    cluster.run("etcd delete images --recursive --yes").unwrap();
    cluster.file("volumes.yml", "volumes:\n- {name: v, mount: {at: startup, fstype: nfs, path: 'h:/x', options: }}\n");
    cluster.run("etcd update-volumes -f @volumes.yml").unwrap();
    let expected = ["at=startup", "fstype=nfs", "options=", "path=h:/x"].map(|it| format!("volumes/v/mount/{it}"));
    assert_eq!(cluster.keys(), expected);
}

#[test]
fn a_server_that_is_away_is_named_in_one_line() {
    let mut cluster = Cluster::new();
    let nowhere = format!("127.0.0.1:{}", free_port());
    for option in ["--etcd-addr", "--db-addr"] {
        let place = cluster.options.iter().position(|it| it == option).unwrap();
        cluster.options[place + 1].clone_from(&nowhere);
    }
    for command in ["etcd ls", "schema show"] {
        let message = cluster.run(command).unwrap_err();
        assert!(message.contains(&nowhere) && !message.contains('\n'), "{command}: {message}");
        assert!(message.to_lowercase().contains("refused"), "{command}: {message}");
    }
}

#[test]
fn completions_know_the_commands() {
    let cluster = Cluster::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(cluster.run(&format!("completions {shell}")).unwrap().contains("update-images"), "{shell}");
    }
}
