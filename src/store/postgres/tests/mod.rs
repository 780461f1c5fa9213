//! Schema, functions and triggers against a real PostgreSQL.

mod connect;
mod migrate;
mod notify;
mod reconcile;
mod sessions;

use tokio_postgres::Client;

use super::{
    connect::connect,
    migrate::{MIGRATIONS, oneshot_head},
};
use crate::{config::Connections, testing::Postgres};

/// Runs a test's future.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A database of its own for one test.
struct Database {
    server: &'static Postgres,
    at: Connections,
}

impl Database {
    /// An empty one.
    fn empty() -> Database {
        let server = Postgres::shared();
        Database { at: server.connections(&server.new_database()), server }
    }

    /// One with this release's schema.
    async fn current() -> Database {
        let database = Database::empty();
        oneshot_head(&mut database.client().await, |_| ()).await.unwrap();
        database
    }

    /// One as the original manager made it: without defaults, which it has in its program.
    async fn original() -> Database {
        let database = Database::empty();
        database.client().await.batch_execute(MIGRATIONS[0].sql()).await.unwrap();
        database.sql(
            "ALTER TABLE kernels ALTER role DROP DEFAULT, ALTER status DROP DEFAULT, ALTER num_queries DROP DEFAULT",
        );
        database
    }

    async fn client(&self) -> Client {
        connect(&self.at, "test").await.unwrap()
    }

    /// Runs SQL as somebody else; the rows, one a line, columns apart by `|`.
    fn sql(&self, sql: &str) -> String {
        self.server.psql(&self.at.db_name, sql)
    }

    fn add_key(&self, access_key: &str, limit: &str) {
        self.sql(&format!(
            "INSERT INTO keypairs (user_id, access_key, secret_key, is_active, concurrency_limit, concurrency_used) \
             VALUES (1, '{access_key}', 's', true, {limit}, 0)"
        ));
    }

    fn add_agent(&self, id: &str, mem: i64, cpu: f64, gpu: f64) {
        self.sql(&format!(
            "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, \
             used_cpu_slots, used_gpu_slots, addr) \
             VALUES ('{id}', 'ALIVE', 'local', {mem}, {cpu}, {gpu}, 0, 0, 0, 'tcp://10.0.0.9:6001')"
        ));
    }
}
