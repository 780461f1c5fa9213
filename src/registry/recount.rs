//! Counting a query of a session that Redis has no total of: one of before Redis was emptied, or of an older gateway.
//!
//! The total is PostgreSQL's, what is pending, and each batch on its way that PostgreSQL has not added up yet. These
//! are read one after the other: the batches first, then PostgreSQL together with which of them are in its count. Had
//! what was pending become a batch meanwhile, it would be missing, or there twice: Redis counts the batches that were
//! made and refuses then, and all is read again.

use uuid::Uuid;

use crate::store::{
    postgres::{PgError, Postgres, kernels},
    redis::Ledger,
};

/// How often to read again. A batch is made once a second, a reading takes milliseconds.
const TRIES: usize = 4;

/// Counts a query, and gives the count with it.
///
/// # Errors
/// PostgreSQL is away.
pub async fn count_query(postgres: &Postgres, ledger: &Ledger, session: Uuid) -> Result<u64, PgError> {
    for _ in 0..TRIES {
        let Ok(waiting) = ledger.on_their_way(session).await else { break };
        let ids: Vec<Uuid> = waiting.batches.iter().map(|(id, _)| *id).collect();
        let (known, applied) = kernels::counted(postgres, session, &ids).await?;
        let missing = waiting.batches.iter().filter(|(id, _)| !applied.contains(id)).map(|(_, queries)| queries);
        let total = missing.fold(known, |sum, queries| sum.saturating_add(*queries));
        match ledger.seed_and_count(session, total, waiting.takes).await {
            Ok(Some(total)) => return Ok(total),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    // Redis is away: PostgreSQL counts, and Redis starts from there when it is back.
    kernels::count_query(postgres, session).await
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc, time::Duration};

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        engine::{self, Engine},
        store::{
            postgres::ledger::{self, Batch},
            redis::{LEDGER_DB, Redis, Taken},
        },
        testing,
    };

    const SESSION: Uuid = Uuid::from_u128(7);

    struct World {
        postgres: Postgres,
        ledger: Ledger,
        _redis: testing::Redis,
    }

    impl World {
        /// A live session, of which PostgreSQL has 5 queries.
        async fn new() -> World {
            let (server, redis_server) = (testing::Postgres::shared(), testing::Redis::start());
            let database = server.new_database();
            let at = server.connections(&database);
            let mut client = crate::store::postgres::connect::connect(&at, "test").await.unwrap();
            crate::store::postgres::migrate::oneshot_head(&mut client, |_| ()).await.unwrap();
            server.psql(
                &database,
                &format!(
                    "INSERT INTO keypairs (user_id, access_key, secret_key, is_active, concurrency_limit, \
                     concurrency_used) VALUES (1, 'K', 's', true, 9, 0); \
                     INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, \
                     used_cpu_slots, used_gpu_slots, addr) VALUES ('a', 'ALIVE', 'local', 9, 9, 0, 0, 0, 0, 'tcp://a:1'); \
                     SELECT backendai_session_reserve('{SESSION}', 'name', 'K', 'x:1', 'a', 1, 1, 0, '{{}}', NULL, 'n'); \
                     UPDATE kernels SET num_queries = 5"
                ),
            );
            let redis = Redis::connect(redis_server.addr(), LEDGER_DB);
            let postgres = Postgres::start(at, |_| ());
            while !(postgres.is_up() && redis.is_up()) {
                engine::sleep(Duration::from_millis(2)).await;
            }
            World { postgres, ledger: Ledger::new(redis, "test"), _redis: redis_server }
        }

        async fn count(&self) -> u64 {
            count_query(&self.postgres, &self.ledger, SESSION).await.unwrap()
        }

        async fn apply(&self, batch: &Taken) {
            let rows = Batch { keys: batch.keys.clone(), sessions: batch.sessions.clone() };
            ledger::apply(&self.postgres, batch.id, &rows).await.unwrap();
        }
    }

    #[test]
    fn a_total_that_was_lost_is_found_again_wherever_batches_are() {
        let run = || async {
            let world = World::new().await;
            let mut random = StdRng::seed_from_u64(4);
            let (mut model, mut taken) = (5, Vec::new());
            for step in 0..300 {
                match random.random_range(0..6) {
                    0 => world.ledger.forget(SESSION).await.unwrap(),
                    1 => taken = world.ledger.take_batches().await.unwrap(),
                    2 => {
                        // Also one that PostgreSQL has already.
                        if let Some(batch) = taken.first() {
                            world.apply(batch).await;
                        }
                    }
                    3 if !taken.is_empty() => {
                        let batch = taken.remove(0);
                        world.apply(&batch).await;
                        world.ledger.finish_batch(batch.id).await.unwrap();
                    }
                    _ => {
                        model += 1;
                        assert_eq!(world.count().await, model, "step {step}");
                    }
                }
            }
            assert!(model > 50);
        };
        engine::block_on(Engine::Epoll, run).unwrap();
    }

    #[test]
    fn and_while_a_leader_is_moving_them() {
        let run = || async {
            let world = Rc::new(World::new().await);
            let done = Rc::new(Cell::new(false));
            let (leader, ended) = (world.clone(), done.clone());
            engine::spawn(async move {
                while !ended.get() {
                    for batch in leader.ledger.take_batches().await.unwrap() {
                        leader.apply(&batch).await;
                        leader.ledger.finish_batch(batch.id).await.unwrap();
                    }
                    // As often as is fair: a leader does so once a second.
                    engine::sleep(Duration::from_millis(20)).await;
                }
            });
            for model in 6..156 {
                assert_eq!(world.count().await, model);
                world.ledger.forget(SESSION).await.unwrap();
            }
            done.set(true);
        };
        engine::block_on(Engine::Epoll, run).unwrap();
    }
}
