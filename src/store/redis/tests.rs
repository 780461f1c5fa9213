//! Connection, ledger, last-seen times and statistics against a real Redis.

use std::time::Duration;

use nix::sys::signal::{self, Signal};
use redis::cmd;
use uuid::Uuid;

use super::*;
use crate::{
    engine::{Engine, probe_io_uring},
    testing,
};

fn run<F: Future<Output = ()> + 'static>(engine: Engine, test: impl FnOnce(testing::Redis) -> F) {
    let server = testing::Redis::start();
    engine::block_on(engine, || test(server)).unwrap();
}

async fn connect(server: &testing::Redis, db: i64) -> Redis {
    let redis = Redis::connect(server.addr(), db);
    until(|| redis.is_up()).await;
    redis
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            engine::sleep(Duration::from_millis(5)).await;
        }
    };
    engine::timeout(Duration::from_secs(20), waiting).await.expect("it happens within 20 s");
}

async fn loses_and_regains_its_connection(server: testing::Redis) {
    let redis = connect(&server, LEDGER_DB).await;
    redis.query::<()>(cmd("SET").arg("a").arg("1")).await.unwrap();

    // Cut off by the server.
    let other = connect(&server, LEDGER_DB).await;
    let id: i64 = redis.query(cmd("CLIENT").arg("ID")).await.unwrap();
    other.query::<()>(cmd("CLIENT").arg("KILL").arg("ID").arg(id)).await.unwrap();
    until(|| redis.down_for().is_some()).await;
    until(|| redis.is_up()).await;
    assert_eq!(redis.query::<String>(cmd("GET").arg("a")).await.unwrap(), "1");

    // Not answered any more.
    signal::kill(server.server.pid(), Signal::SIGSTOP).unwrap();
    let hanging = redis.query::<String>(cmd("GET").arg("a")).await;
    assert!(matches!(hanging, Err(RedisError::Away(_))), "{hanging:?}");
    assert!(!redis.is_up());
    let at_once = redis.query::<String>(cmd("GET").arg("a")).await;
    assert!(matches!(at_once, Err(RedisError::Away(_))), "{at_once:?}");
    signal::kill(server.server.pid(), Signal::SIGCONT).unwrap();
    until(|| redis.is_up()).await;
    assert_eq!(redis.query::<String>(cmd("GET").arg("a")).await.unwrap(), "1");

    // A command that Redis refuses costs no connection.
    let refused = redis.query::<()>(cmd("HGETALL").arg("a")).await;
    assert!(matches!(refused, Err(RedisError::Refused(_))), "{refused:?}");
    assert!(redis.is_up());
}

#[test]
fn a_lost_connection_is_made_again_on_epoll() {
    run(Engine::Epoll, loses_and_regains_its_connection);
}

#[test]
fn a_lost_connection_is_made_again_on_io_uring() {
    if probe_io_uring().is_ok() {
        run(Engine::IoUring, loses_and_regains_its_connection);
    }
}

#[test]
fn what_is_pending_becomes_a_batch_that_stays_until_it_is_finished() {
    run(Engine::Epoll, |server| async move {
        let redis = connect(&server, LEDGER_DB).await;
        let ledger = Ledger::new(redis.clone(), "test");
        assert_eq!(ledger.take_batches().await.unwrap(), []);
        let session = Uuid::from_u128(1);
        assert_eq!(ledger.seed_and_count(session, 41, 0).await.unwrap(), Some(42));
        assert_eq!(ledger.seed_and_count(session, 0, 0).await.unwrap(), Some(43));
        let pending =
            cmd("HSET").arg("backendai:test:pending").arg(&["k:AKIA", "5", "l:AKIA", "1795000000000"]).clone();
        redis.query::<()>(&pending).await.unwrap();
        assert_eq!(ledger.pending_of_keys(&["AKIA", "B"]).await.unwrap(), [(5, Some(1_795_000_000_000)), (0, None)]);

        let taken = ledger.take_batches().await.unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].keys, [("AKIA".to_owned(), 5, 1_795_000_000_000)]);
        assert_eq!(taken[0].sessions, [(session, 2)]);
        assert_eq!(ledger.pending_of_keys(&["AKIA"]).await.unwrap(), [(0, None)]);

        // Nobody finished it: it is met again, before what came since.
        assert_eq!(
            ledger.on_their_way(session).await.unwrap(),
            OnTheirWay { takes: 1, batches: vec![(taken[0].id, 2)] }
        );
        assert_eq!(ledger.seed_and_count(session, 0, 0).await.unwrap(), Some(44));
        let again = ledger.take_batches().await.unwrap();
        assert_eq!((again.len(), &again[0]), (2, &taken[0]));
        assert_eq!(again[1].sessions, [(session, 1)]);
        for batch in &again {
            ledger.finish_batch(batch.id).await.unwrap();
        }
        assert_eq!(ledger.take_batches().await.unwrap(), []);
        assert_eq!(ledger.totals(&[session]).await.unwrap(), [Some(44)]);
        let mut left: Vec<String> = redis.query(cmd("KEYS").arg("*")).await.unwrap();
        left.sort_unstable();
        assert_eq!(left, ["backendai:test:queries", "backendai:test:takes"]);
    });
}

#[test]
fn a_session_is_seeded_once_with_what_is_pending_and_forgotten_at_its_end() {
    run(Engine::Epoll, |server| async move {
        let ledger = Ledger::new(connect(&server, LEDGER_DB).await, "test");
        let session = Uuid::from_u128(1);
        ledger.seed(session, 3).await.unwrap();
        ledger.seed(session, 9).await.unwrap();
        assert_eq!(ledger.seed_and_count(session, 9, 0).await.unwrap(), Some(4));
        ledger.forget(session).await.unwrap();
        assert_eq!(ledger.totals(&[session, Uuid::from_u128(2)]).await.unwrap(), [None, None]);
        // PostgreSQL still says 3: the query that is on its way is not lost.
        ledger.seed(session, 3).await.unwrap();
        assert_eq!(ledger.totals(&[session]).await.unwrap(), [Some(4)]);
    });
}

#[test]
fn last_seen_times_are_shared_with_older_gateways() {
    run(Engine::Epoll, |server| async move {
        let redis = connect(&server, LIVENESS_DB).await;
        redis.query::<()>(cmd("HSET").arg("last_seen").arg("i-old").arg("1795000000.25")).await.unwrap();
        redis.query::<()>(cmd("HSET").arg("last_seen").arg("i-bad").arg("soon")).await.unwrap();
        last_seen::beat_at(&redis, "i-new", 1_795_000_001.5).await.unwrap();
        let all = last_seen::all(&redis).await.unwrap();
        assert_eq!(all, [("i-old".to_owned(), 1_795_000_000.25), ("i-new".to_owned(), 1_795_000_001.5)].into());
        last_seen::forget(&redis, "i-new").await.unwrap();
        assert_eq!(last_seen::all(&redis).await.unwrap().len(), 1);
    });
}

#[test]
fn statistics_are_read_from_the_kernels_hash() {
    run(Engine::Epoll, |server| async move {
        let redis = connect(&server, STATISTICS_DB).await;
        let kernel = Uuid::from_u128(0xabc);
        assert_eq!(stats::read(&redis, kernel).await.unwrap(), stats::KernelStats::default());
        let written = cmd("HSET").arg(kernel.to_string()).arg(&["cpu_used", "12.5", "mem_max_bytes", "7"]).clone();
        redis.query::<()>(&written).await.unwrap();
        let read = stats::read(&redis, kernel).await.unwrap();
        assert_eq!((read.cpu_used, read.mem_max_bytes, read.net_rx_bytes), (12.5, 7, 0));
    });
}

#[test]
fn a_signature_is_first_used_once() {
    run(Engine::Epoll, |server| async move {
        let redis = connect(&server, LEDGER_DB).await;
        assert!(replay::is_first_use(&redis, "test", "00ff").await.unwrap());
        assert!(!replay::is_first_use(&redis, "test", "00ff").await.unwrap());
        assert!(replay::is_first_use(&redis, "other", "00ff").await.unwrap());
    });
}
