//! Counters up to this moment, and what is left of them while a store is away.

use nix::sys::signal::{self, Signal};

use super::*;

const QUERY: &str = "{keypair(access_key: \"USER\") {num_queries last_used} \
    compute_sessions(access_key: \"USER\", limit: 1) {num_queries mem_cur_bytes}}";

async fn counts(world: &World) -> (Value, Value, Value) {
    let data = world.admin(QUERY).await;
    let session = data["compute_sessions"][0]["num_queries"].clone();
    (data["keypair"]["num_queries"].clone(), data["keypair"]["last_used"].clone(), session)
}

#[test]
fn queries_are_counted_exactly_before_while_and_after_they_are_flushed() {
    run(|world| async move {
        world.ledger("pending", "k:USER", 5).await;
        world.ledger("pending", "l:USER", 1_500_000_000_123).await;
        world.ledger("queries", RUNNING, 9).await;
        let want = (json!(45), json!("2017-07-14T02:40:00.123000+00:00"), json!(9));
        assert_eq!(counts(&world).await, want, "pending");
        let ledger = &world.sources.ledger;
        let batch = ledger.take_batches().await.unwrap().remove(0);
        assert_eq!(counts(&world).await, want, "on its way");
        let rows = crate::store::postgres::ledger::Batch { keys: batch.keys.clone(), sessions: batch.sessions.clone() };
        let postgres = &world.sources.postgres;
        assert!(crate::store::postgres::ledger::apply(postgres, batch.id, &rows).await.unwrap());
        assert_eq!(counts(&world).await, want, "in PostgreSQL, and still in Redis");
        world.ledger("pending", "k:USER", 1).await;
        ledger.finish_batch(batch.id).await.unwrap();
        assert_eq!(counts(&world).await.0, json!(46), "done, and one more");
    });
}

#[test]
fn queries_are_counted_exactly_while_batches_come_and_go() {
    run(|world| async move {
        let done = Rc::new(std::cell::Cell::new(false));
        let (leader, ended) = (world.clone(), done.clone());
        engine::spawn(async move {
            let (ledger, postgres) = (&leader.sources.ledger, &leader.sources.postgres);
            for _ in 0..50 {
                leader.ledger("pending", "k:USER2", 1).await;
                for batch in ledger.take_batches().await.unwrap() {
                    let rows = crate::store::postgres::ledger::Batch { keys: batch.keys, sessions: batch.sessions };
                    crate::store::postgres::ledger::apply(postgres, batch.id, &rows).await.unwrap();
                    ledger.finish_batch(batch.id).await.unwrap();
                }
            }
            ended.set(true);
        });
        let (mut last, mut readings) = (0, 0);
        while !done.get() {
            let data = world.admin("{keypair(access_key: \"USER2\") {num_queries}}").await;
            let count = data["keypair"]["num_queries"].as_i64().unwrap();
            assert!((last..=50).contains(&count), "{count} after {last}");
            (last, readings) = (count, readings + 1);
        }
        assert!(readings > 1, "nothing was read meanwhile");
        let data = world.admin("{keypair(access_key: \"USER2\") {num_queries}}").await;
        assert_eq!(data["keypair"]["num_queries"], 50);
    });
}

#[test]
fn without_redis_rows_are_told_as_they_are() {
    run(|world| async move {
        signal::kill(world.redis_server.server.pid(), Signal::SIGKILL).unwrap();
        until(|| world.redis.iter().all(|redis| !redis.is_up())).await;
        assert_eq!(counts(&world).await, (json!(40), json!("2017-02-01T00:00:00+00:00"), json!(3)));
    });
}

#[test]
fn without_postgresql_there_is_a_fault_that_tells_nothing() {
    run(|world| async move {
        world.sql("ALTER TABLE agents RENAME TO elsewhere");
        let Outcome::Done(response) = world.ask("ADMIN", "{agents {id}}", Value::Null).await else { panic!("refused") };
        assert_eq!(response.errors[0].source::<Fault>(), Some(&Fault::Broken));
        assert_eq!(response.errors[0].message, "a store could not be asked");
        assert_eq!(serde_json::to_value(&response.data).unwrap(), json!({"agents": null}));
    });
}
