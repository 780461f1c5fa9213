//! Sums that are wrong are found and mended, and nothing is mended wrongly while sessions begin and end.

use std::cell::Cell;

use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    sessions::{BROKEN, ask, clients, finish, reserve},
    *,
};
use crate::store::postgres::reconcile::{FIND, MEND, SumOf, WrongSum};

/// Every wrong sum, as `agent i-1 says …, its live kernels make …`.
async fn wrong(client: &Client) -> Vec<String> {
    client.query(FIND, &[]).await.unwrap().iter().map(|row| WrongSum::found(row).to_string()).collect()
}

/// Mends one sum, and says what it said and says now.
async fn mend(client: &Client, kind: &str, target: &str, wait: bool) -> Option<(String, String)> {
    let row = client.query_opt(MEND, &[&kind, &target, &wait]).await.unwrap()?;
    let mended = WrongSum::mended(SumOf { kind: kind.into(), target: target.into() }, &row);
    Some((mended.says.to_string(), mended.should.to_string()))
}

/// A key with two sessions on an agent, of which one has a worker kernel too.
async fn with_sessions(database: &Database) -> Client {
    database.add_key("KEY", "9");
    database.add_key("IDLE", "9");
    database.add_agent("i-1", 1000, 9.0, 1.0);
    database.add_agent("i-idle", 1000, 9.0, 1.0);
    let client = database.client().await;
    for name in ["one", "two", "ended"] {
        let session = ask(name, "KEY", "i-1");
        assert_eq!(reserve(&client, &session).await, "ok");
        if name == "ended" {
            assert!(finish(&client, session.id, serde_json::json!({})).await);
        }
    }
    database.sql(
        "INSERT INTO kernels (sess_id, role, agent, agent_addr, access_key, mem_slot, cpu_slot, gpu_slot, repl_in_port, \
         repl_out_port, stdin_port, stdout_port, status) VALUES ('one', 'worker', 'i-1', 'a', 'KEY', 50, 0.5, 0, 0, 0, 0, 0, NULL); \
         UPDATE agents SET used_mem_slots = used_mem_slots + 50, used_cpu_slots = used_cpu_slots + 0.5 WHERE id = 'i-1'",
    );
    client
}

#[test]
fn every_status_but_the_two_last_is_live() {
    run(async {
        let database = Database::current().await;
        database.sql(
            "INSERT INTO kernels (agent_addr, mem_slot, cpu_slot, gpu_slot, repl_in_port, repl_out_port, stdin_port, stdout_port, status) \
             SELECT 'a', 1, 1, 1, 0, 0, 0, 0, unnest(enum_range(NULL::kernelstatus) || ARRAY[NULL::kernelstatus])",
        );
        let differ = "SELECT status FROM kernels WHERE (status IS NULL OR status NOT IN ('TERMINATED', 'ERROR')) \
                      <> (id IN (SELECT id FROM backendai_live_kernels))";
        assert_eq!(database.sql(differ), "");
        assert_eq!(database.sql("SELECT count(*) FROM backendai_live_kernels"), "8");
    });
}

#[test]
fn what_is_right_is_left_alone_and_what_is_wrong_is_told_and_mended() {
    run(async {
        let database = Database::current().await;
        let client = with_sessions(&database).await;
        assert_eq!(wrong(&client).await, Vec::<String>::new());
        // Less than a millionth of a slot is nobody's.
        database
            .sql("UPDATE agents SET used_gpu_slots = used_gpu_slots + 1e-9, used_cpu_slots = used_cpu_slots - 1e-9");
        database.sql("UPDATE keypairs SET concurrency_used = NULL WHERE access_key = 'IDLE'");
        assert_eq!(wrong(&client).await, Vec::<String>::new());
        assert_eq!(mend(&client, "agent", "i-1", true).await, None);

        database
            .sql("UPDATE agents SET used_mem_slots = 7, used_cpu_slots = 'NaN', used_gpu_slots = 1 WHERE id = 'i-1'");
        database.sql("UPDATE agents SET used_gpu_slots = 0.25 WHERE id = 'i-idle'");
        database.sql("UPDATE keypairs SET concurrency_used = 5 WHERE access_key = 'KEY'");
        database.sql("UPDATE keypairs SET concurrency_used = -1 WHERE access_key = 'IDLE'");
        let expected = [
            r#"agent i-1 says {"cpu":"NaN","gpu":1,"mem":7}, its live kernels make {"cpu":2.5,"gpu":0.2,"mem":250}"#,
            r#"agent i-idle says {"cpu":-1e-9,"gpu":0.25,"mem":0}, its live kernels make {"cpu":0,"gpu":0,"mem":0}"#,
            r#"keypair IDLE says {"sessions":-1}, its live kernels make {"sessions":0}"#,
            r#"keypair KEY says {"sessions":5}, its live kernels make {"sessions":2}"#,
        ];
        assert_eq!(wrong(&client).await, expected);
        let mended = mend(&client, "agent", "i-1", true).await.unwrap();
        assert_eq!(mended, (r#"{"cpu":"NaN","gpu":1,"mem":7}"#.into(), r#"{"cpu":2.5,"gpu":0.2,"mem":250}"#.into()));
        assert_eq!(mend(&client, "agent", "i-1", true).await, None, "once");
        for (kind, target) in [("agent", "i-idle"), ("keypair", "IDLE"), ("keypair", "KEY")] {
            assert!(mend(&client, kind, target, false).await.is_some(), "{kind} {target}");
        }
        assert_eq!(mend(&client, "keypair", "NOBODY", true).await, None);
        assert_eq!(wrong(&client).await, Vec::<String>::new());
        assert_eq!(database.sql("SELECT concurrency_used FROM keypairs ORDER BY access_key"), "0\n2");
        assert_eq!(database.sql("SELECT used_mem_slots, used_cpu_slots FROM agents WHERE id = 'i-1'"), "250|2.5");
        let unknown = client.query(MEND, &[&"kernel", &"x", &true]).await.unwrap_err();
        assert_eq!(unknown.code().unwrap().code(), "22023");
    });
}

/// Both, the one that has changed the sum and not committed, and the one that has ended a kernel and is yet to change
/// the sum, are in the middle of a transaction while the sum is mended.
#[test]
fn a_sum_is_mended_around_transactions_that_are_open() {
    run(async {
        let database = Database::current().await;
        let client = with_sessions(&database).await;
        database.sql("UPDATE agents SET used_mem_slots = used_mem_slots + 1000 WHERE id = 'i-1'");

        let mut first = database.client().await;
        let began = first.transaction().await.unwrap();
        began
            .batch_execute(
                "UPDATE agents SET used_mem_slots = used_mem_slots + 30 WHERE id = 'i-1'; INSERT INTO kernels (agent, \
                 agent_addr, mem_slot, cpu_slot, gpu_slot, repl_in_port, repl_out_port, stdin_port, stdout_port) \
                 VALUES ('i-1', 'a', 30, 0, 0, 0, 0, 0, 0)",
            )
            .await
            .unwrap();
        assert_eq!(mend(&client, "agent", "i-1", false).await, None, "somebody has the row");

        let mut second = database.client().await;
        let ends = second.transaction().await.unwrap();
        ends.batch_execute("UPDATE kernels SET status = 'TERMINATED' WHERE sess_id = 'two'").await.unwrap();

        let watching = database.client().await;
        let mending = mend(&client, "agent", "i-1", true);
        let committing = async {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                         AND wait_event_type = 'Lock' AND query LIKE '%backendai_mend_sum%'";
            while watching.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                tokio::task::yield_now().await;
            }
            began.commit().await.unwrap();
        };
        let (mended, ()) = tokio::join!(mending, committing);
        let (said, says) = mended.unwrap();
        assert!(said.contains(r#""mem":1280"#) && says.contains(r#""mem":280"#), "{said} {says}");

        ends.batch_execute(
            "UPDATE agents SET used_mem_slots = used_mem_slots - 100, used_cpu_slots = used_cpu_slots - 1, \
             used_gpu_slots = used_gpu_slots - 0.1 WHERE id = 'i-1'; \
             UPDATE keypairs SET concurrency_used = concurrency_used - 1 WHERE access_key = 'KEY'",
        )
        .await
        .unwrap();
        ends.commit().await.unwrap();
        assert_eq!(wrong(&client).await, Vec::<String>::new());
    });
}

const KEYS: [&str; 3] = ["KEY0", "KEY1", "KEY2"];
const AGENTS: [&str; 2] = ["i-0", "i-1"];

/// Begins and ends sessions on shared keys and agents from many connections, and meanwhile does `beside` on another
/// few, each with its number, until all are done.
async fn under_load(database: &Database, turns: usize, beside: impl AsyncFn(&Client, usize)) {
    let (sessions, others) = (clients(database, 6).await, clients(database, 2).await);
    let left = Cell::new(sessions.len());
    let ended = Cell::new(0);
    let work = join_all(sessions.iter().enumerate().map(|(n, client)| {
        let (left, ended) = (&left, &ended);
        async move {
            for turn in 0..turns {
                let session = ask(&format!("s{n}-{turn}"), KEYS[(n + turn) % 3], AGENTS[(n / 3 + turn) % 2]);
                if reserve(client, &session).await == "ok" && turn % 5 != 0 {
                    ended.set(ended.get() + usize::from(finish(client, session.id, serde_json::json!({})).await));
                }
            }
            left.set(left.get() - 1);
        }
    }));
    let beside = join_all(others.iter().enumerate().map(|(n, client)| {
        let (left, beside) = (&left, &beside);
        async move {
            while left.get() > 0 {
                beside(client, n).await;
            }
        }
    }));
    tokio::join!(work, beside);
    assert!(ended.get() > 0, "nothing ran");
}

fn every_sum() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|key| ("keypair", *key)).chain(AGENTS.iter().map(|agent| ("agent", *agent)))
}

/// Shared keys and agents with room for all. Every begin and end of a session takes its time between the change of the
/// kernel and what follows, with locks held, so that mends meet them there.
fn with_room(database: &Database) {
    database.sql(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.004); RETURN NULL; END$$; \
         CREATE TRIGGER linger AFTER INSERT OR UPDATE ON kernels FOR EACH ROW EXECUTE FUNCTION linger()",
    );
    KEYS.iter().for_each(|key| database.add_key(key, "NULL"));
    AGENTS.iter().for_each(|agent| database.add_agent(agent, 100_000, 1000.0, 100.0));
}

#[test]
fn nothing_is_found_wrong_while_sessions_begin_and_end() {
    run(async {
        let database = Database::current().await;
        with_room(&database);
        let looks = Cell::new(0);
        under_load(&database, 30, async |client, n| {
            for (kind, target) in every_sum() {
                assert_eq!(mend(client, kind, target, n != 0).await, None, "{kind} {target}");
            }
            assert_eq!(wrong(client).await, Vec::<String>::new());
            looks.set(looks.get() + 1);
        })
        .await;
        assert!(looks.get() > 1, "nothing was looked at");
        assert_eq!(database.sql(BROKEN), "");
    });
}

/// One breaks sums and mends them; another mends too, whatever it finds. No session that begins or ends between a mend's
/// look and its lock may be lost: at once after a mend, and at the end without another, every sum is right.
#[test]
fn sums_that_are_broken_while_sessions_begin_and_end_are_right_after_each_mend() {
    run(async {
        let database = Database::current().await;
        with_room(&database);
        let mended = Cell::new(0);
        under_load(&database, 30, async |client, n| {
            if n == 0 {
                // A row each, so that it locks no two.
                for (agent, key) in AGENTS.iter().zip(KEYS) {
                    let broken =
                        "UPDATE agents SET used_mem_slots = used_mem_slots + 13, used_gpu_slots = 7 WHERE id = $1";
                    client.execute(broken, &[agent]).await.unwrap();
                    let broken = "UPDATE keypairs SET concurrency_used = concurrency_used + 3 WHERE access_key = $1";
                    client.execute(broken, &[&key]).await.unwrap();
                }
            }
            for (kind, target) in every_sum() {
                mended.set(mended.get() + usize::from(mend(client, kind, target, n == 0).await.is_some()));
            }
            if n == 0 {
                assert_eq!(wrong(client).await, Vec::<String>::new());
            }
        })
        .await;
        assert!(mended.get() > 0, "nothing was mended");
        assert_eq!(database.sql(BROKEN), "");
    });
}

#[test]
fn a_session_is_ended_by_anybody_only_once_between_two_mends() {
    run(async {
        let database = Database::current().await;
        let client = with_sessions(&database).await;
        database.sql("UPDATE keypairs SET concurrency_used = 0");
        assert!(mend(&client, "keypair", "KEY", true).await.is_some());
        let id: Uuid = database.sql("SELECT id FROM kernels WHERE sess_id = 'two'").parse().unwrap();
        assert!(finish(&client, id, serde_json::json!({})).await);
        assert_eq!(database.sql("SELECT concurrency_used FROM keypairs WHERE access_key = 'KEY'"), "1");
        assert_eq!(wrong(&client).await, Vec::<String>::new());
    });
}
