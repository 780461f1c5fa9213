//! Both schemas against a real PostgreSQL and a real Redis.

mod admin;
mod counts;
mod fields;
mod limited;
mod lists;
mod mutations;

use std::{rc::Rc, sync::Arc, time::Duration};

use redis::cmd;
use serde_json::{Value, json};

use super::{env::Images, *};
use crate::{
    agents::AgentPool,
    engine::{self, Engine},
    registry::{Actor, Registry, Stores},
    store::{
        etcd::{Etcd, EtcdOptions, Image, Snapshot},
        postgres::{Postgres, audit::Via, connect::connect, migrate::oneshot_head},
        redis::{Bells, LEDGER_DB, Ledger, Redis, STATISTICS_DB, session_events::SessionEvents},
    },
    testing,
};

/// Kernels of the rows below.
const RUNNING: &str = "00000000-0000-4000-8000-000000000001";
const ENDED: &str = "00000000-0000-4000-8000-000000000002";
const WORKER: &str = "00000000-0000-4000-8000-000000000003";
const OTHERS: &str = "00000000-0000-4000-8000-000000000004";

/// Two keys with sessions of one name, an ended session, workers, folders, agents.
const ROWS: &str = "
    INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots,
        used_gpu_slots, addr, first_contact, lost_at) VALUES
        ('i-1', 'ALIVE', 'here', 8192, 8, 0.5, 512, 1.5, 0, 'tcp://10.0.0.1:6001', '2017-01-01 00:00:00+00', NULL),
        ('i-2', 'LOST', 'there', 16, 1, 0, 0, 0, 0, 'tcp://10.0.0.2:6001', '2017-01-02 00:00:00.5+00',
         '2017-01-03 12:34:56.789012+00');
    INSERT INTO keypairs (user_id, access_key, secret_key, is_active, is_admin, resource_policy, created_at, last_used,
        concurrency_limit, concurrency_used, rate_limit, num_queries) VALUES
        (1, 'ADMIN', 'admin-secret', true, true, NULL, '2017-01-01 00:00:00+00', NULL, NULL, 0, 9000, 0),
        (2, 'USER', 'user-secret', true, false, 'small', '2017-01-01 12:34:56.789012+00', '2017-02-01 00:00:00+00',
         30, 1, 1000, 40),
        (2, 'USER2', NULL, false, false, NULL, NULL, NULL, 30, NULL, NULL, NULL),
        (3, 'OTHER', 'other-secret', true, false, NULL, '2017-01-01 00:00:00+00', NULL, 30, 1, 1000, 0);
    INSERT INTO kernels (id, sess_id, role, agent, agent_addr, access_key, lang, container_id, mem_slot, cpu_slot,
        gpu_slot, repl_in_port, repl_out_port, stdin_port, stdout_port, created_at, terminated_at, status, status_info,
        num_queries, cpu_used, mem_max_bytes, net_rx_bytes, net_tx_bytes, io_read_bytes, io_write_bytes,
        io_max_scratch_size) VALUES
        ('00000000-0000-4000-8000-000000000001', 'shared', 'master', 'i-1', 'a', 'USER', 'python:latest', 'c1', 512,
         1.5, 0.25, 1, 2, 3, 4, '2017-03-02 00:00:00.000001+00', NULL, 'RUNNING', NULL, 3, 0, 0, 0, 0, 0, 0, 0),
        ('00000000-0000-4000-8000-000000000002', 'ended', 'master', 'i-2', 'a', 'USER', 'lua:latest', NULL, 256, 1, 0,
         1, 2, 3, 4, '2017-03-01 00:00:00+00', '2017-03-01 01:00:00+00', 'TERMINATED', 'user-requested', 7, 1234,
         5000000000, 6000000000, 7000000000, 8000000000, 9000000000, 10000000000),
        ('00000000-0000-4000-8000-000000000003', 'shared', 'worker', 'i-1', 'a', 'USER', 'python:latest', 'c3', 128,
         1, 0, 1, 2, 3, 4, '2017-03-02 00:00:01+00', NULL, 'RUNNING', NULL, 0, 0, 0, 0, 0, 0, 0, 0),
        ('00000000-0000-4000-8000-000000000004', 'shared', 'master', 'i-1', 'a', 'OTHER', 'python:latest', 'c4', 128,
         1, 0, 1, 2, 3, 4, '2017-03-03 00:00:00+00', NULL, 'RUNNING', NULL, 0, 0, 0, 0, 0, 0, 0, 0),
        ('00000000-0000-4000-8000-000000000005', 'shared', 'worker', 'i-1', 'a', 'OTHER', 'python:latest', 'c5', 128,
         1, 0, 1, 2, 3, 4, '2017-03-03 00:00:01+00', NULL, 'PREPARING', NULL, 0, 0, 0, 0, 0, 0, 0, 0);
    INSERT INTO vfolders (id, host, name, max_files, max_size, num_files, cur_size, created_at, last_used, belongs_to)
        VALUES
        ('10000000-0000-4000-8000-000000000001', 'local', 'work', 10, 2048, 3, 77, '2017-01-05 00:00:00+00',
         '2017-01-06 00:00:00.25+00', 'USER'),
        ('10000000-0000-4000-8000-000000000002', 'local', 'data', NULL, NULL, NULL, NULL, NULL, NULL, 'USER'),
        ('10000000-0000-4000-8000-000000000003', 'local', 'theirs', 10, 2048, 0, 0, NULL, NULL, 'OTHER');
";

struct World {
    server: &'static testing::Postgres,
    database: String,
    redis_server: testing::Redis,
    sources: Sources,
    schemas: Schemas,
    /// Databases 0 and 1.
    redis: [Redis; 2],
}

/// Runs a test's future in a worker of its own.
fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(Rc<World>) -> F + 'static) {
    engine::block_on(Engine::Epoll, || async { test(Rc::new(World::new().await)).await }).unwrap();
}

/// A key that asks.
fn caller(who: &str) -> Caller {
    let actor =
        Actor { access_key: who.into(), via: Via::Graphql, source: "10.0.0.77".into(), request_id: "request-1".into() };
    Caller { access_key: who.into(), is_admin: who == "ADMIN", actor }
}

/// An etcd that is not there.
fn nowhere() -> Etcd {
    let endpoints = vec!["127.0.0.1:1".parse().unwrap()];
    let namespace = "test".into();
    Etcd::start(EtcdOptions { endpoints, namespace, instance_id: "test".into(), publish: None, campaign: false })
        .unwrap()
}

fn known_images() -> Snapshot {
    let tags = [("latest", "sha256:1"), ("3.6", "sha256:2")].map(|(tag, hash)| (tag.into(), hash.into())).into();
    Snapshot {
        images: [("python".into(), Image { tags, ..Image::default() })].into(),
        aliases: [("py".into(), "python".into()), ("gone".into(), "nothing:1".into())].into(),
        ..Snapshot::default()
    }
}

impl World {
    async fn new() -> World {
        let (server, redis_server) = (testing::Postgres::shared(), testing::Redis::start());
        let database = server.new_database();
        let at = server.connections(&database);
        oneshot_head(&mut connect(&at, "test").await.unwrap(), |_| ()).await.unwrap();
        server.psql(&database, ROWS);
        let redis = [STATISTICS_DB, LEDGER_DB].map(|db| Redis::connect(redis_server.addr(), db));
        let postgres = Postgres::start(at, |_| ());
        until(|| postgres.is_up() && redis.iter().all(Redis::is_up)).await;
        let ledger = Ledger::new(redis[1].clone(), "test");
        let stores = Stores {
            postgres: postgres.clone(),
            etcd: Rc::new(nowhere()),
            ledger: ledger.clone(),
            events: SessionEvents::new(redis[1].clone(), "test"),
            bells: Bells::new(redis_server.addr(), "test"),
            stats: redis[0].clone(),
            liveness: redis[0].clone(),
        };
        let registry = Registry::new(stores, AgentPool::new(), "node", Duration::from_secs(5));
        let images: Images = Rc::new(|| Arc::new(known_images()));
        let sources = Sources { postgres, ledger, stats: redis[0].clone(), images, registry, docker_registry: None };
        World { server, database, redis_server, sources, schemas: Schemas::new(true), redis }
    }

    fn sql(&self, sql: &str) -> String {
        self.server.psql(&self.database, sql)
    }

    async fn ask(&self, who: &str, query: &str, variables: Value) -> Outcome {
        let caller = caller(who);
        let ask = Ask { query: query.into(), variables, operation: None };
        self.execute(caller, ask).await
    }

    /// As in a worker, where a request is one task among others.
    async fn execute(&self, caller: Caller, ask: Ask) -> Outcome {
        let (schemas, sources) = (self.schemas.clone(), self.sources.clone());
        let (done, waiting) = tokio::sync::oneshot::channel();
        engine::spawn(async move { drop(done.send(schemas.execute(sources, caller, ask).await)) });
        waiting.await.unwrap()
    }

    /// The data of a query that goes well.
    async fn data(&self, who: &str, query: &str) -> Value {
        match self.ask(who, query, Value::Null).await {
            Outcome::Done(response) if response.is_ok() => serde_json::to_value(&response.data).unwrap(),
            other => panic!("{query}: {other:?}"),
        }
    }

    /// What an admin's query gives.
    async fn admin(&self, query: &str) -> Value {
        self.data("ADMIN", query).await
    }

    /// What the query of key USER gives.
    async fn user(&self, query: &str) -> Value {
        self.data("USER", query).await
    }

    /// The first error of a query, and whether it was refused before anything was done.
    async fn error(&self, who: &str, query: &str) -> (bool, String) {
        let (refused, response) = match self.ask(who, query, Value::Null).await {
            Outcome::Refused(response) => (true, response),
            Outcome::Done(response) => (false, response),
        };
        (refused, response.errors.first().unwrap_or_else(|| panic!("{query}: no error")).message.clone())
    }

    /// What an agent reports of a kernel.
    async fn report(&self, kernel: &str, stats: &[(&str, &str)]) {
        self.redis[0].query::<()>(cmd("HSET").arg(kernel).arg(stats)).await.unwrap();
    }

    async fn ledger(&self, key: &str, field: &str, count: u64) {
        let key = format!("backendai:test:{key}");
        self.redis[1].query::<()>(cmd("HSET").arg(key).arg(field).arg(count)).await.unwrap();
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            engine::sleep(Duration::from_millis(2)).await;
        }
    };
    engine::timeout(Duration::from_secs(30), waiting).await.expect("it happens within 30 s");
}

/// The ids of what a list holds.
fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[test]
fn the_schemas_in_docs_are_these() {
    crate::golden::check("docs/schema-admin.graphql", &admin_sdl());
    crate::golden::check("docs/schema-user.graphql", &user_sdl());
}
