//! Sessions that are ended, agents that are cordoned and drained. The gateways' leader, who does the ending, is played
//! by SQL: what it finds in the database, and what it leaves there.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::*;

const ID: &str = "00000000-0000-0000-0000-00000000000";

/// An agent `i-1` and sessions: `job` of two keys, `one` RUNNING, `new` PREPARING, `old` TERMINATED.
fn with_sessions() -> Cluster {
    let cluster = Cluster::current();
    cluster.sql(
        "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots, \
         used_gpu_slots, addr) VALUES ('i-1', 'ALIVE', 'r', 9, 9, 0, 5, 5, 0, 'a'), \
         ('i-2', 'ALIVE', 'r', 9, 9, 0, 0, 0, 0, 'a'); \
         INSERT INTO keypairs (access_key, is_active, concurrency_used) VALUES ('K', true, 4), ('L', true, 1)",
    );
    let sessions = [
        ("job", "K", "RUNNING"),
        ("job", "L", "RUNNING"),
        ("one", "K", "RUNNING"),
        ("new", "K", "PREPARING"),
        ("old", "K", "TERMINATED"),
    ];
    for (number, (name, key, status)) in (1..).zip(sessions) {
        cluster.sql(&format!(
            "INSERT INTO kernels (id, sess_id, agent, agent_addr, access_key, mem_slot, cpu_slot, gpu_slot, \
             repl_in_port, repl_out_port, stdin_port, stdout_port, status) VALUES ('{ID}{number}', '{name}', 'i-1', \
             'a', '{key}', 1, 1, 0, 0, 0, 0, 0, '{status}')"
        ));
    }
    cluster
}

impl Cluster {
    /// Status, why, and whether the leader is to end it.
    fn session(&self, number: u8) -> String {
        self.sql(&format!("SELECT status, status_info, owner_node = '' FROM kernels WHERE id = '{ID}{number}'"))
    }

    /// Lets `act` be done by SQL as soon as `when` gives a row, while a command runs.
    fn meanwhile<T>(&self, when: &str, act: &str, command: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            scope.spawn(|| {
                let began = Instant::now();
                while self.sql(when).is_empty() {
                    assert!(began.elapsed() < Duration::from_secs(30), "never: {when}");
                    thread::sleep(Duration::from_millis(10));
                }
                self.sql(act);
            });
            command()
        })
    }

    /// A leader is what etcd says it is.
    fn with_leader(self) -> Cluster {
        self.run("etcd put leader somebody").unwrap();
        self
    }
}

const MARKED: &str = "SELECT id FROM kernels WHERE status = 'TERMINATING' AND owner_node = ''";

#[test]
fn sessions_are_marked_for_the_leader_by_name_or_id() {
    let cluster = with_sessions();
    let marked = cluster.run(&format!("session destroy one {ID}1 one --no-wait --yes")).unwrap();
    assert_eq!(marked, "one: will be ended\njob: will be ended\n");
    assert_eq!(cluster.session(3), "TERMINATING|admin-requested|t");
    assert_eq!(cluster.session(1), "TERMINATING|admin-requested|t");
    assert_eq!(cluster.session(2), "RUNNING||", "the other key's");
    let log = cluster.json("audit list");
    assert_eq!((&log[1]["action"], &log[1]["target"]), (&"session destroy".into(), &"one".into()));
    let detail = serde_json::json!({"id": format!("{ID}3"), "access_key": "K", "reason": "admin-requested"});
    assert_eq!(log[1]["detail"], detail);
    assert_eq!(log.as_array().unwrap().len(), 2);
}

#[test]
fn a_name_of_several_keys_an_ended_or_unknown_session_ends_nothing() {
    let cluster = with_sessions();
    let refused = |command: &str| cluster.run(command).unwrap_err();
    assert_eq!(
        refused("session destroy one job --yes"),
        "several keys have a session job: K, L; name one with --access-key"
    );
    assert_eq!(refused("session destroy one old --yes"), "session old has ended already");
    assert_eq!(refused("session destroy one none --yes"), "there is no session none");
    assert_eq!(refused("session destroy one --access-key L --yes"), "there is no session one");
    assert_eq!(cluster.session(3), "RUNNING||", "all or none");
    let marked = cluster.run("session destroy job --access-key L --no-wait --yes").unwrap();
    assert_eq!((marked.as_str(), cluster.session(1).as_str()), ("job: will be ended\n", "RUNNING||"));
    assert_eq!(cluster.session(2), "TERMINATING|admin-requested|t");
    let refused = refused("session destroy new --yes");
    assert_eq!(refused, "session new is PREPARING and can be ended when that is over");
    assert_eq!(cluster.json("audit list")[0]["outcome"], "refused");
}

#[test]
fn where_no_gateway_runs_sessions_wait_for_one() {
    let cluster = with_sessions();
    let told = cluster.run("session destroy one --yes").unwrap_err();
    assert_eq!(told, "no gateway runs: one will be ended when one does");
    assert_eq!(cluster.session(3), "TERMINATING|admin-requested|t");
    let told = cluster.run("agent drain i-1 --yes").unwrap_err();
    assert_eq!(told, "i-1: no gateway runs; its 4 sessions will be ended when one does");
}

#[test]
fn destroying_waits_until_the_leader_has_ended_it_or_put_it_back() {
    let cluster = with_sessions().with_leader();
    let end = format!("SELECT backendai_session_finish('{ID}3', 'TERMINATED', 'admin-requested', '{{}}')");
    let ended = cluster.meanwhile(MARKED, &end, || cluster.run("session destroy one --yes"));
    assert_eq!(ended.unwrap(), "one: ended\n");
    let back = "UPDATE kernels SET status = 'RUNNING', status_info = NULL WHERE status = 'TERMINATING'";
    let told = cluster.meanwhile(MARKED, back, || cluster.run("session destroy job --access-key K --yes"));
    assert_eq!(told.unwrap_err(), "job: its agent could not end it, so that it runs on");
}

#[test]
fn agents_are_cordoned_and_uncordoned_all_or_none() {
    let cluster = with_sessions();
    let schedulable = || cluster.sql("SELECT id, schedulable FROM agents ORDER BY id");
    assert_eq!(cluster.run("agent cordon i-1 i-9").unwrap_err(), "there is no agent i-9");
    assert_eq!(schedulable(), "i-1|t\ni-2|t");
    let told = cluster.run("agent cordon i-1 i-2").unwrap();
    assert_eq!(told, "i-1 gets no new sessions\ni-2 gets no new sessions\n");
    assert_eq!(schedulable(), "i-1|f\ni-2|f");
    assert_eq!(cluster.json("agent list")[0]["schedulable"], false);
    assert_eq!(cluster.json("agent show i-1")[0]["drain_at"], serde_json::Value::Null);
    cluster.run("agent drain i-1 --no-wait --yes").unwrap();
    cluster.run("agent uncordon i-1").unwrap();
    assert_eq!(schedulable(), "i-1|t\ni-2|f");
    assert_eq!(cluster.sql("SELECT drain_at FROM agents WHERE id = 'i-1'"), "", "and is drained no more");
}

#[test]
fn draining_gives_sessions_their_time_and_waits_for_their_end() {
    let cluster = with_sessions().with_leader();
    assert_eq!(cluster.run("agent drain i-9 --yes").unwrap_err(), "there is no agent i-9");
    assert_eq!(cluster.run("agent drain i-2").unwrap(), "i-2 is drained\n", "nothing to ask");
    let told = cluster.run("agent drain i-1 --grace 3600 --no-wait --yes").unwrap();
    assert_eq!(told, "i-1 gets no new sessions; its 4 sessions will be ended\n");
    let left = "SELECT schedulable, drain_at - now() BETWEEN interval '59 min' AND interval '1 h' FROM agents \
                WHERE id = 'i-1'";
    assert_eq!(cluster.sql(left), "f|t");
    assert_eq!(cluster.json("agent show i-1")[0]["schedulable"], false);

    let due = "SELECT id FROM agents WHERE drain_at <= now() AND id = 'i-1'";
    let end = "SELECT backendai_session_finish(id, 'TERMINATED', 'drained', '{}') FROM kernels WHERE agent = 'i-1'";
    let drained = cluster.meanwhile(due, end, || cluster.run("agent drain i-1 --yes"));
    assert_eq!(drained.unwrap(), "i-1 is drained\n");
}

#[test]
fn a_drain_that_is_called_off_says_so() {
    let cluster = with_sessions().with_leader();
    let draining = "SELECT id FROM agents WHERE drain_at IS NOT NULL";
    let off = "UPDATE agents SET schedulable = true, drain_at = NULL";
    let told = cluster.meanwhile(draining, off, || cluster.run("agent drain i-1 --grace 600 --yes"));
    assert_eq!(told.unwrap_err(), "i-1 was uncordoned meanwhile: 4 sessions still live");
}
