//! The gate and its script against a real Redis.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures_util::future::join_all;
use nix::sys::signal::{self, Signal};
use proptest::test_runner::{Config, TestRunner};
use redis::{FromRedisValue, Value, cmd};
use uuid::Uuid;

use super::{
    fallback::{Debt, Debts},
    gate::SCRIPT,
    turn::{self, Asked},
    window::{BUCKET_MS, Window},
    *,
};
use crate::{
    auth::AccessKey,
    engine::{self, Engine},
    store::redis::{LEDGER_DB, Ledger, Redis},
    testing,
};

fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(testing::Redis) -> F) {
    let server = testing::Redis::start();
    engine::block_on(Engine::Epoll, || test(server)).unwrap();
}

async fn connect(server: &testing::Redis) -> Redis {
    let redis = Redis::connect(server.addr(), LEDGER_DB);
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

fn plain(key: &str, limit: u32) -> Charge<'_> {
    Charge { access_key: key, limit, session: None, run: None }
}

async fn field<T: FromRedisValue>(redis: &Redis, hash: &str, field: &str) -> T {
    redis.query(cmd("HGET").arg(format!("backendai:test:{hash}")).arg(field)).await.unwrap()
}

#[test]
fn requests_of_one_turn_go_together_and_no_more_than_the_limit_get_in() {
    run(|server| async move {
        let redis = connect(&server).await;
        let gates: Vec<_> = (0..3).map(|_| Gate::new(redis.clone(), "test", || 3)).collect();
        let asking = (0..90).map(|i| gates[i % 3].admit(plain("AKIA", 50)));
        let verdicts: Vec<_> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(verdicts.iter().filter(|verdict| verdict.allowed).count(), 50);
        let mut remaining: Vec<_> = verdicts.iter().filter(|v| v.allowed).map(|v| v.remaining).collect();
        remaining.sort_unstable();
        assert_eq!(remaining, (0..50).collect::<Vec<_>>(), "each request has a place of its own");
        for verdict in &verdicts {
            assert_eq!((verdict.limit, verdict.window_s), (50, 900));
            assert!((885_000..=900_000).contains(&verdict.reset_ms), "{verdict:?}");
        }
        assert_eq!(field::<u32>(&redis, "pending", "k:AKIA").await, 50, "refused ones count nothing");
        let life: i64 = redis.query(cmd("TTL").arg("backendai:test:rate:AKIA")).await.unwrap();
        assert!((900..=930).contains(&life), "{life}");
        let stats: String = redis.query(cmd("INFO").arg("commandstats")).await.unwrap();
        let evals = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
        let calls: u32 = evals.filter_map(|line| line.split(['=', ',']).nth(1)?.parse::<u32>().ok()).sum();
        assert!(calls <= 6, "90 requests in {calls} calls");
    });
}

#[test]
fn sessions_are_counted_one_by_one_and_unknown_ones_not_at_all() {
    run(|server| async move {
        let redis = connect(&server).await;
        let (gate, ledger) = (Gate::new(redis.clone(), "test", || 1), Ledger::new(redis.clone(), "test"));
        let (known, unknown) = (Uuid::from_u128(1), Uuid::from_u128(2));
        ledger.seed(known, 41).await.unwrap();
        let ask = |session| gate.admit(Charge { session: Some(session), ..plain("AKIA", 100) });
        let mut totals = join_all((0..4).map(|_| ask(known))).await;
        totals.sort_by_key(|verdict| format!("{:?}", verdict.as_ref().unwrap().session));
        let totals: Vec<_> = totals.into_iter().map(|verdict| verdict.unwrap().session).collect();
        assert_eq!(totals, [42, 43, 44, 45].map(SessionCount::Total));
        assert_eq!(ask(unknown).await.unwrap().session, SessionCount::Unknown);
        assert_eq!(field::<u32>(&redis, "pending", &format!("s:{known}")).await, 4);
        assert_eq!(field::<Option<u32>>(&redis, "pending", &format!("s:{unknown}")).await, None);
        assert_eq!(field::<u32>(&redis, "pending", "k:AKIA").await, 5);
        let last: u64 = field(&redis, "pending", "l:AKIA").await;
        assert!(last > 1_700_000_000_000, "{last}");
    });
}

#[test]
fn a_session_does_not_count_what_the_limit_refuses() {
    run(|server| async move {
        let redis = connect(&server).await;
        let (gate, ledger) = (Gate::new(redis.clone(), "test", || 1), Ledger::new(redis.clone(), "test"));
        let session = Uuid::from_u128(1);
        ledger.seed(session, 0).await.unwrap();
        let charge = Charge { session: Some(session), ..plain("AKIA", 3) };
        let verdicts = join_all([plain("AKIA", 3), charge, charge, charge, charge].map(|c| gate.admit(c))).await;
        let counts: Vec<_> = verdicts.into_iter().map(|v| v.unwrap().session).collect();
        let (one, two, none) = (SessionCount::Total(1), SessionCount::Total(2), SessionCount::NotAsked);
        assert_eq!(counts, [none, one, two, none, none]);
        assert_eq!(ledger.totals(&[session]).await.unwrap(), [Some(2)]);
    });
}

#[test]
fn each_request_gets_the_status_of_its_own_run() {
    run(|server| async move {
        let redis = connect(&server).await;
        let (gate, ledger) = (Gate::new(redis.clone(), "test", || 1), Ledger::new(redis, "test"));
        let sessions = [Uuid::from_u128(2), Uuid::from_u128(1)];
        for (session, status) in sessions.into_iter().zip(["waiting-input", "continued"]) {
            ledger.seed(session, 0).await.unwrap();
            ledger.set_run(session, "r", status, Duration::from_secs(60)).await.unwrap();
        }
        let ask = |session, run| gate.admit(Charge { session: Some(session), run, ..plain("AKIA", 100) });
        let asking = [
            ask(sessions[0], Some("r")),
            ask(sessions[1], Some("r")),
            ask(sessions[1], Some("x")),
            ask(sessions[1], None),
        ];
        let runs: Vec<_> = join_all(asking).await.into_iter().map(|verdict| verdict.unwrap().run).collect();
        assert_eq!(runs, [Some("waiting-input".into()), Some("continued".into()), None, None]);
        ledger.clear_run(sessions[0], "r").await.unwrap();
        assert_eq!(ask(sessions[0], Some("r")).await.unwrap().run, None);
    });
}

#[test]
fn while_redis_is_away_a_worker_admits_its_share_and_owes_it() {
    run(|server| async move {
        let redis = connect(&server).await;
        let gate = Gate::new(redis.clone(), "test", || 4);
        for _ in 0..12 {
            assert!(gate.admit(plain("AKIA", 100)).await.unwrap().allowed);
        }
        signal::kill(server.server.pid(), Signal::SIGSTOP).unwrap();
        until(|| !redis.is_up()).await;
        let verdicts = join_all((0..50).map(|_| gate.admit(plain("AKIA", 100)))).await;
        assert_eq!(verdicts.iter().filter(|verdict| verdict.as_ref().unwrap().allowed).count(), 88 / 4);
        assert!(gate.is_alone());
        assert_eq!(gate.admit(plain("NEVERSEEN", 100)).await, Err(GateError::Unavailable));
        signal::kill(server.server.pid(), Signal::SIGCONT).unwrap();
        until(|| redis.is_up()).await;
        // It comes back empty: what was seen before and what was admitted since is still counted.
        redis.query::<()>(&cmd("FLUSHALL")).await.unwrap();
        until(|| !gate.is_alone()).await;
        let verdict = gate.admit(plain("AKIA", 100)).await.unwrap();
        assert_eq!(verdict.remaining, 100 - 12 - 22 - 1);
        assert_eq!(field::<u32>(&redis, "pending", "k:AKIA").await, 23);
    });
}

#[test]
fn emptying_redis_lets_nobody_past_the_limit() {
    run(|server| async move {
        let redis = connect(&server).await;
        let gate = Gate::new(redis.clone(), "test", || 1);
        for _ in 0..5 {
            assert!(gate.admit(plain("AKIA", 5)).await.unwrap().allowed);
        }
        redis.query::<()>(&cmd("FLUSHALL")).await.unwrap();
        redis.query::<()>(cmd("SCRIPT").arg("FLUSH")).await.unwrap();
        assert!(!gate.admit(plain("AKIA", 5)).await.unwrap().allowed);
    });
}

/// The script with a clock of the test's own: a key that holds the seconds.
fn clocked() -> String {
    let line = "local time = call('TIME')";
    assert!(SCRIPT.contains(line));
    SCRIPT.replace(line, "local time = {call('GET', 'clock'), '0'}")
}

fn asked(key: &str, limit: u32) -> Asked {
    Asked { access_key: AccessKey::new(key).unwrap(), limit, session: None, run: None }
}

async fn ask_script(redis: &Redis, script: &str, debts: &Debts, sorted: &[Asked], at_least: u32) -> turn::Outcome {
    let mut command = cmd("EVAL");
    command.arg(script);
    turn::write(&mut command, "backendai:test:", debts, sorted, |_| at_least);
    turn::read(debts, sorted, redis.query::<Vec<Value>>(&command).await.unwrap()).unwrap()
}

#[test]
fn the_script_does_what_the_model_does() {
    run(|server| async move {
        let redis = connect(&server).await;
        let steps = proptest::collection::vec((0_u64..400, 1_usize..6), 1..40);
        let cases: Rc<RefCell<Vec<_>>> = Rc::default();
        let drawn = cases.clone();
        let mut runner = TestRunner::new(Config::with_cases(40));
        runner
            .run(&(1_u32..30, steps), |case| {
                drawn.borrow_mut().push(case);
                Ok(())
            })
            .unwrap();
        for (limit, steps) in cases.take() {
            redis.query::<()>(&cmd("FLUSHALL")).await.unwrap();
            let (mut window, mut now) = (Window::default(), 1_795_000_007);
            for (step, wanted) in &steps {
                now += step;
                redis.query::<()>(cmd("SET").arg("clock").arg(now)).await.unwrap();
                let requests = vec![asked("AKIA", limit); *wanted];
                let outcome = ask_script(&redis, &clocked(), &Debts::default(), &requests, 0).await;
                let want = window.admit(now * 1000, limit, u32::try_from(*wanted).unwrap());
                assert_eq!(outcome.seen[0].admission, want, "{limit} {steps:?}");
                let allowed = outcome.verdicts.iter().filter(|verdict| verdict.allowed).count();
                assert_eq!(u32::try_from(allowed).unwrap(), want.admitted);
            }
        }
    });
}

#[test]
fn debts_count_beyond_the_limit_and_what_must_be_there_is_restored() {
    run(|server| async move {
        let redis = connect(&server).await;
        redis.query::<()>(cmd("SET").arg("clock").arg(1_795_000_000)).await.unwrap();
        let session = Uuid::from_u128(1);
        Ledger::new(redis.clone(), "test").seed(session, 10).await.unwrap();
        let debt = Debt { requests: 7, last_used_ms: 1_794_000_000_000 };
        let debts = Debts {
            keys: vec![(AccessKey::new("AKIA").unwrap(), debt)],
            sessions: vec![(session, 3), (Uuid::from_u128(2), 1)],
        };
        let outcome = ask_script(&redis, &clocked(), &debts, &[asked("AKIA", 5)], 0).await;
        assert!(!outcome.verdicts[0].allowed);
        assert_eq!(field::<u64>(&redis, "pending", "l:AKIA").await, 1_794_000_000_000);
        assert_eq!(field::<u64>(&redis, "queries", &session.to_string()).await, 13);
        assert_eq!(field::<Option<u64>>(&redis, "queries", &Uuid::from_u128(2).to_string()).await, None);
        let outcome = ask_script(&redis, &clocked(), &Debts::default(), &[asked("OTHER", 20)], 15).await;
        assert_eq!(outcome.verdicts[0].remaining, 20 - 15 - 1);
        let outcome = ask_script(&redis, &clocked(), &Debts::default(), &[asked("OTHER", 20)], 15).await;
        assert_eq!(outcome.verdicts[0].remaining, 20 - 15 - 2, "what is there is not restored twice");
    });
}

#[test]
fn a_key_that_is_used_in_every_bucket_stays_small() {
    run(|server| async move {
        let redis = connect(&server).await;
        for bucket in 0..200 {
            let now = 1_795_000_000 + bucket * BUCKET_MS / 1000;
            redis.query::<()>(cmd("SET").arg("clock").arg(now)).await.unwrap();
            ask_script(&redis, &clocked(), &Debts::default(), &[asked("AKIA", 1000)], 0).await;
        }
        let bytes: usize = redis.query(cmd("STRLEN").arg("backendai:test:rate:AKIA")).await.unwrap();
        assert_eq!(bytes, 12 + 60 * 8);
    });
}
