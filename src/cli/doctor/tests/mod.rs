//! Each check against real servers, with the fault that it looks for.

mod config;
mod database;
mod fixing;
mod invariants;
mod rights;
mod stores;

use std::net::{Ipv4Addr, TcpListener};

use super::{
    clocks::Clock,
    finding::{Finding, State},
    *,
};
use crate::{
    store::{etcd::client::Client as Settings, postgres::migrate::oneshot_head},
    testing::{Etcd, Postgres, Redis, free_port},
};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A cluster without a gateway: a database, a Redis, an etcd, and the port of an agent.
struct Cluster {
    postgres: &'static Postgres,
    redis: Redis,
    etcd: Etcd,
    agent: TcpListener,
    admin: Gateway,
    to: Connections,
}

// === impl Cluster ===

impl Cluster {
    /// With an empty database.
    fn empty() -> Cluster {
        let (postgres, redis, etcd) = (Postgres::shared(), Redis::start(), Etcd::start());
        let mut to = postgres.connections(&postgres.new_database());
        to.redis_addr = redis.addr();
        to.etcd_addr = vec![etcd.addr()];
        let admin = Gateway { admin_ip: Ipv4Addr::LOCALHOST.into(), admin_port: free_port() };
        let agent = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
        Cluster { postgres, redis, etcd, agent, admin, to }
    }

    /// A healthy one: the schema, a key, an agent, an image.
    async fn healthy() -> Cluster {
        let cluster = Cluster::empty();
        let mut client = crate::store::postgres::connect::connect(&cluster.to, "test").await.unwrap();
        oneshot_head(&mut client, |_| ()).await.unwrap();
        cluster.sql(&format!(
            "INSERT INTO keypairs (user_id, access_key, secret_key, is_active, concurrency_limit, concurrency_used) \
             VALUES (1, 'KEY', 'secret', true, 9, 1); \
             INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots, \
             used_gpu_slots, addr) VALUES ('i-1', 'ALIVE', 'r', 1000, 8, 1, 100, 1, 0.1, 'tcp://{}'); {}",
            cluster.agent.local_addr().unwrap(),
            kernel("one", "'i-1'", "RUNNING")
        ));
        cluster.put("images/py/cpu", "1").await;
        cluster.put("images/py/mem", "256").await;
        cluster.put("images/py/tags/latest", "aa").await;
        cluster
    }

    fn sql(&self, sql: &str) -> String {
        self.postgres.psql(&self.to.db_name, sql)
    }

    async fn put(&self, key: &str, value: &str) {
        let mut etcd = Settings::connect(&self.to.etcd_addr, &self.to.namespace).await.unwrap();
        etcd.put(key, value).await.unwrap();
    }

    async fn redis(&self, db: i64, words: &[&str]) {
        let client = ::redis::Client::open(format!("redis://{}/{db}", self.to.redis_addr)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        ::redis::cmd(words[0]).arg(&words[1..]).query_async::<::redis::Value>(&mut connection).await.unwrap();
    }

    async fn examine(&self) -> Found {
        self.examine_at(clocks::now).await
    }

    async fn examine_at(&self, clock: Clock) -> Found {
        Found(examine(self.admin, &self.to, clock).await.found)
    }

    /// The command as it is given, with JSON: what it wrote, and its error.
    async fn doctor(&self, fix: bool) -> (Vec<serde_json::Value>, Result<(), String>) {
        let output = Output { output: Format::Json };
        let args = Args { fix, yes: Yes { yes: fix }, admin: self.admin, output };
        let mut out = Vec::new();
        let done = super::run(&args, &self.to, &mut out).await;
        (serde_json::from_slice(&out).unwrap(), done.map_err(|it| it.to_string()))
    }
}

/// SQL that inserts a kernel of 100 MiB, a core and a tenth of a GPU.
fn kernel(name: &str, agent: &str, status: &str) -> String {
    format!(
        "INSERT INTO kernels (sess_id, agent, agent_addr, access_key, mem_slot, cpu_slot, gpu_slot, repl_in_port, \
         repl_out_port, stdin_port, stdout_port, status) \
         VALUES ('{name}', {agent}, 'a', 'KEY', 100, 1, 0.1, 0, 0, 0, 0, '{status}')"
    )
}

/// What was found.
struct Found(Vec<Finding>);

// === impl Found ===

impl Found {
    /// What one check found.
    fn of(&self, check: &str) -> Vec<&Finding> {
        let found: Vec<_> = self.0.iter().filter(|it| it.check == check).collect();
        assert!(!found.is_empty(), "there is no check {check}: {:?}", self.names());
        found
    }

    /// A check found this; and whatever is not as it should be has what mends it.
    #[track_caller]
    fn says(&self, check: &str, state: State, part: &str) -> &Finding {
        let found = self.of(check);
        let it = found.iter().find(|it| it.state == state && it.what.contains(part));
        let it = it.unwrap_or_else(|| panic!("{check} does not say {state:?} {part}: {found:#?}"));
        assert!(matches!(state, State::Ok | State::Skipped) || !it.mend.is_empty(), "nothing mends {it:?}");
        assert!(!it.what.contains('\n') && !it.mend.contains('\n'), "{it:?}");
        it
    }

    /// Nothing failed but these checks.
    #[track_caller]
    fn failed(&self, checks: &[&str]) {
        let mut failed: Vec<&str> = self.0.iter().filter(|it| it.state == State::Failed).map(|it| it.check).collect();
        failed.dedup();
        assert_eq!(failed, checks, "{:#?}", self.0);
    }

    fn skipped(&self) -> Vec<&str> {
        self.0.iter().filter(|it| it.state == State::Skipped).map(|it| it.check).collect()
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|it| it.check).collect();
        names.dedup();
        names
    }
}

#[test]
fn a_healthy_cluster_has_nothing_but_notes_where_no_gateway_runs() {
    run(async {
        let cluster = Cluster::healthy().await;
        let found = cluster.examine().await;
        found.failed(&[]);
        let warned: Vec<_> = found.0.iter().filter(|it| it.state == State::Warning).map(|it| it.check).collect();
        assert_eq!(warned, ["gateway"], "{:#?}", found.0);
        assert_eq!(found.skipped(), ["gateway-ready"]);
        found.says("agents", State::Ok, "1 agent alive");
        found.says("nodes", State::Note, "no gateway");
        let (rows, done) = cluster.doctor(false).await;
        assert_eq!((rows.len(), done), (found.0.len(), Ok(())));
    });
}
