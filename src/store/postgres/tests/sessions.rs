use futures_util::future::join_all;
use uuid::Uuid;

use super::*;

const RESERVE: &str =
    "SELECT backendai_session_reserve($1, $2, $3, 'python:latest', $4, $5, $6, $7, $8, 'mark', 'node-1')";
const FINISH: &str = "SELECT backendai_session_finish($1, 'TERMINATED', $2, $3)";

/// Everything that must never break, as rows of what is wrong.
pub(super) const BROKEN: &str = "
    SELECT 'agent ' || id FROM agents WHERE (used_mem_slots, used_cpu_slots::numeric(9, 3), used_gpu_slots::numeric(9, 3))
        <> (SELECT coalesce(sum(mem_slot), 0)::bigint, coalesce(sum(cpu_slot), 0)::numeric(9, 3),
            coalesce(sum(gpu_slot), 0)::numeric(9, 3)
            FROM kernels WHERE agent = agents.id AND status NOT IN ('TERMINATED', 'ERROR'))
    UNION ALL SELECT 'full ' || id FROM agents
        WHERE used_mem_slots > mem_slots OR used_cpu_slots > cpu_slots + 1e-6 OR used_gpu_slots > gpu_slots + 1e-6
    UNION ALL SELECT 'key ' || access_key FROM keypairs WHERE concurrency_used <> (SELECT count(*) FROM kernels
        WHERE access_key = keypairs.access_key AND role = 'master' AND status NOT IN ('TERMINATED', 'ERROR'))
    UNION ALL SELECT 'over ' || access_key FROM keypairs WHERE concurrency_used > concurrency_limit";

pub(super) struct Ask {
    pub(super) id: Uuid,
    name: String,
    key: &'static str,
    agent: &'static str,
    slots: (i64, f64, f64),
}

pub(super) fn ask(name: &str, key: &'static str, agent: &'static str) -> Ask {
    Ask { id: Uuid::new_v4(), name: name.into(), key, agent, slots: (100, 1.0, 0.1) }
}

pub(super) async fn reserve(client: &Client, ask: &Ask) -> String {
    let (mem, cpu, gpu) = ask.slots;
    let environ = vec!["A=1".to_owned()];
    client
        .query_one(RESERVE, &[&ask.id, &ask.name, &ask.key, &ask.agent, &mem, &cpu, &gpu, &environ])
        .await
        .unwrap()
        .get(0)
}

pub(super) async fn finish(client: &Client, id: Uuid, stats: serde_json::Value) -> bool {
    client.query_one(FINISH, &[&id, &"user-requested", &stats]).await.unwrap().get(0)
}

pub(super) async fn clients(database: &Database, count: usize) -> Vec<Client> {
    // One after another: a login takes its time where nothing is optimized, and each has its limit.
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(database.client().await);
    }
    clients
}

#[test]
fn a_reserved_session_takes_its_slots_its_quota_and_a_row() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "2");
        database.add_agent("i-1", 1000, 4.0, 1.0);
        let client = database.client().await;
        assert_eq!(reserve(&client, &ask("s", "KEY", "i-1")).await, "ok");
        let row = "SELECT sess_id, role, agent, agent_addr, access_key, lang, mem_slot, cpu_slot, gpu_slot, environ, \
                   repl_in_port, status, tag, owner_node, num_queries FROM kernels";
        let expected = "s|master|i-1|tcp://10.0.0.9:6001|KEY|python:latest|100|1|0.1|{A=1}|0|PREPARING|mark|node-1|0";
        assert_eq!(database.sql(row), expected);
        assert_eq!(database.sql("SELECT concurrency_used FROM keypairs"), "1");
        assert_eq!(database.sql("SELECT used_mem_slots, used_cpu_slots, used_gpu_slots FROM agents"), "100|1|0.1");
        assert_eq!(database.sql(BROKEN), "");
    });
}

#[test]
fn each_refusal_says_why_and_changes_nothing() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "1");
        database.add_key("FREE", "NULL");
        database.add_key("OFF", "5");
        database.sql("UPDATE keypairs SET is_active = false WHERE access_key = 'OFF'");
        database.add_agent("i-1", 250, 9.0, 1.0);
        database.add_agent("i-lost", 1000, 9.0, 1.0);
        database.sql("UPDATE agents SET status = 'LOST' WHERE id = 'i-lost'");
        let client = database.client().await;
        assert_eq!(reserve(&client, &ask("one", "KEY", "i-1")).await, "ok");
        let state = "SELECT (SELECT array_agg(k ORDER BY access_key) FROM keypairs k), \
                     (SELECT array_agg(a ORDER BY id) FROM agents a), (SELECT count(*) FROM kernels)";
        let before = database.sql(state);
        assert_eq!(reserve(&client, &ask("one", "KEY", "i-1")).await, "exists", "told before the quota");
        assert_eq!(reserve(&client, &ask("two", "KEY", "i-1")).await, "quota");
        assert_eq!(reserve(&client, &ask("two", "NOBODY", "i-1")).await, "no-key");
        assert_eq!(reserve(&client, &ask("two", "OFF", "i-1")).await, "no-key");
        assert_eq!(reserve(&client, &ask("two", "FREE", "i-lost")).await, "agent-full");
        assert_eq!(reserve(&client, &ask("two", "FREE", "i-none")).await, "agent-full");
        let big = Ask { slots: (151, 1.0, 0.0), ..ask("two", "FREE", "i-1") };
        assert_eq!(reserve(&client, &big).await, "agent-full");
        let wide = Ask { slots: (1, 8.5, 0.0), ..ask("two", "FREE", "i-1") };
        assert_eq!(reserve(&client, &wide).await, "agent-full");
        assert_eq!(database.sql(state), before);
        assert_eq!(reserve(&client, &ask("one", "FREE", "i-1")).await, "ok", "names are each key's own");
    });
}

#[test]
fn tenths_of_a_gpu_add_up_to_the_whole() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "NULL");
        database.add_agent("i-1", 100_000, 100.0, 1.0);
        let client = database.client().await;
        for n in 0..10 {
            assert_eq!(reserve(&client, &ask(&format!("s{n}"), "KEY", "i-1")).await, "ok");
        }
        assert_eq!(reserve(&client, &ask("s10", "KEY", "i-1")).await, "agent-full");
    });
}

#[test]
fn a_session_ends_once_and_gives_everything_back() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "2");
        database.add_agent("i-1", 1000, 4.0, 1.0);
        let client = database.client().await;
        let session = ask("s", "KEY", "i-1");
        assert_eq!(reserve(&client, &session).await, "ok");
        let stats = serde_json::json!({"cpu_used": "1234.6", "mem_max_bytes": 5_000_000_000_u64, "net_rx_bytes": 1e40,
                                       "net_tx_bytes": "nonsense", "io_read_bytes": null});
        assert!(finish(&client, session.id, stats).await);
        assert!(!finish(&client, session.id, serde_json::json!({"cpu_used": 9})).await);
        assert!(!finish(&client, Uuid::new_v4(), serde_json::json!({})).await);
        let row = "SELECT status, status_info, terminated_at IS NOT NULL, owner_node IS NULL, cpu_used, mem_max_bytes, \
                   net_tx_bytes, io_read_bytes, io_write_bytes FROM kernels";
        assert_eq!(database.sql(row), "TERMINATED|user-requested|t|t|1235|5000000000|0|0|0");
        assert_eq!(database.sql("SELECT concurrency_used FROM keypairs"), "0");
        assert_eq!(database.sql("SELECT used_mem_slots, used_cpu_slots, used_gpu_slots FROM agents"), "0|0|0");
        assert_eq!(reserve(&client, &ask("s", "KEY", "i-1")).await, "ok", "the name is free again");
    });
}

#[test]
fn counts_that_were_wrong_before_never_fall_below_zero() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "2");
        database.add_agent("i-1", 1000, 4.0, 1.0);
        let client = database.client().await;
        let session = ask("s", "KEY", "i-1");
        assert_eq!(reserve(&client, &session).await, "ok");
        database.sql(
            "UPDATE keypairs SET concurrency_used = NULL; UPDATE agents SET used_mem_slots = 7, used_cpu_slots = 0",
        );
        assert!(finish(&client, session.id, serde_json::json!({})).await);
        assert_eq!(database.sql("SELECT concurrency_used FROM keypairs"), "0");
        assert_eq!(database.sql("SELECT used_mem_slots, used_cpu_slots FROM agents"), "0|0");
    });
}

#[test]
fn a_session_cannot_end_as_running() {
    run(async {
        let database = Database::current().await;
        let client = database.client().await;
        let call = "SELECT backendai_session_finish(uuid_generate_v4(), 'RUNNING', NULL, '{}')";
        let error = client.query_one(call, &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "22023");
    });
}

#[test]
fn a_status_change_by_anybody_is_timed() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "2");
        database.add_agent("i-1", 1000, 4.0, 1.0);
        assert_eq!(reserve(&database.client().await, &ask("s", "KEY", "i-1")).await, "ok");
        database.sql("UPDATE kernels SET status_changed = '2000-01-01'");
        database.sql("UPDATE kernels SET num_queries = 1, status = 'PREPARING'");
        assert_eq!(database.sql("SELECT status_changed < '2001-01-01' FROM kernels"), "t");
        database.sql("UPDATE kernels SET status = 'RUNNING'");
        assert_eq!(database.sql("SELECT status_changed > '2001-01-01' FROM kernels"), "t");
    });
}

#[test]
fn racing_reserves_never_pass_a_quota_an_agent_or_a_name() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "7");
        database.add_key("FREE", "NULL");
        database.add_agent("i-1", 1000, 100.0, 100.0);
        let clients = clients(&database, 24).await;
        let round = |key: &'static str, name: fn(usize) -> String| {
            join_all(
                clients
                    .iter()
                    .enumerate()
                    .map(move |(n, client)| async move { reserve(client, &ask(&name(n), key, "i-1")).await }),
            )
        };
        let count = |answers: &[String], what: &str| answers.iter().filter(|it| *it == what).count();
        let named = round("KEY", |_| "same".into()).await;
        assert_eq!((count(&named, "ok"), count(&named, "exists")), (1, 23), "{named:?}");
        let limited = round("KEY", |n| format!("s{n}")).await;
        assert_eq!((count(&limited, "ok"), count(&limited, "quota")), (6, 18), "{limited:?}");
        let full = round("FREE", |n| format!("s{n}")).await;
        assert_eq!((count(&full, "ok"), count(&full, "agent-full")), (3, 21), "{full:?}");
        assert_eq!(database.sql(BROKEN), "");
    });
}

#[test]
fn racing_finishes_end_each_session_once() {
    run(async {
        let database = Database::current().await;
        database.add_key("KEY", "NULL");
        database.add_agent("i-1", 1000, 100.0, 100.0);
        let clients = clients(&database, 16).await;
        let session = ask("s", "KEY", "i-1");
        assert_eq!(reserve(&clients[0], &session).await, "ok");
        let ended = join_all(clients.iter().map(|it| finish(it, session.id, serde_json::json!({})))).await;
        assert_eq!(ended.iter().filter(|it| **it).count(), 1);
        assert_eq!(database.sql(BROKEN), "");
    });
}

#[test]
fn sums_hold_while_many_connections_begin_and_end_sessions_on_shared_agents() {
    run(async {
        let database = Database::current().await;
        let (keys, agents) = (["KEY0", "KEY1", "KEY2"], ["i-0", "i-1"]);
        keys.iter().for_each(|key| database.add_key(key, "4"));
        agents.iter().for_each(|agent| database.add_agent(agent, 500, 5.0, 1.0));
        let clients = clients(&database, 16).await;
        let done = join_all(clients.iter().enumerate().map(|(n, client)| async move {
            let (mut began, mut ended) = (0, 0);
            for turn in 0..25 {
                let session = ask(&format!("s{}", turn % 3), keys[(n + turn) % 3], agents[(n / 3 + turn) % 2]);
                if reserve(client, &session).await == "ok" {
                    began += 1;
                    ended += usize::from(turn < 20 && finish(client, session.id, serde_json::json!({})).await);
                }
            }
            (began, ended)
        }))
        .await;
        let (began, ended) = done.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert!(ended > 0, "nothing ran");
        assert_eq!(database.sql(BROKEN), "");
        let live = database.sql("SELECT count(*) FROM kernels WHERE status = 'PREPARING'");
        assert_eq!(live, (began - ended).to_string());
    });
}
