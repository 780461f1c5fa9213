//! Every 5 s, each kernel's statistics: read from /proc, written to Redis with a life of 30 s.

use std::{rc::Rc, time::Duration};

use redis::aio::MultiplexedConnection;

use crate::{
    agent::Agent,
    kernel::{Kernel, files, proc_table::ProcTable},
};

const EVERY: Duration = Duration::from_secs(5);
const LIFE: i64 = 30;

/// Redis, connected to when needed.
struct Store {
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
}

/// Reads and writes for ever. While Redis is away, statistics are read all the same.
pub async fn run(agent: Rc<Agent>, client: redis::Client) {
    let mut store = Store { client, connection: None };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let kernels = agent.kernels();
        sample(&kernels).await;
        if agent.keep {
            agent.write_state(); // for the next agent to go on with
        }
        if let Err(error) = store.write(&kernels).await {
            tracing::warn!(%error, "statistics cannot be written to Redis");
            store.connection = None;
        }
    }
}

async fn sample(kernels: &[Rc<Kernel>]) {
    let table = ProcTable::read();
    for kernel in kernels {
        kernel.sample(&table);
        let work = kernel.scratch.work();
        if let Ok(size) = tokio::task::spawn_blocking(move || files::size_of(&work)).await {
            kernel.stats.borrow_mut().scratch(size);
        }
    }
}

// === impl Store ===

impl Store {
    async fn write(&mut self, kernels: &[Rc<Kernel>]) -> redis::RedisResult<()> {
        if kernels.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for kernel in kernels {
            let fields = kernel.stats.borrow().fields().map(|(name, field)| (name, field.to_text()));
            pipe.hset_multiple(&kernel.id, &fields).ignore().expire(&kernel.id, LIFE).ignore();
        }
        pipe.query_async(self.connection().await?).await
    }

    async fn connection(&mut self) -> redis::RedisResult<&mut MultiplexedConnection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.get_multiplexed_async_connection().await?,
        };
        Ok(self.connection.insert(connection))
    }
}
