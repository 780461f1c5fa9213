//! Counters on their way from Redis: a batch is added up in one statement, and once only.

use uuid::Uuid;

use crate::store::postgres::{PgError, Postgres};

/// What a batch adds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Access key, queries, time of the last one (UNIX ms; 0: unknown).
    pub keys: Vec<(String, i64, i64)>,
    /// Kernel, queries.
    pub sessions: Vec<(Uuid, i64)>,
}

/// Adds a batch up; false if a batch of that id was added before, and nothing changes.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn apply(postgres: &Postgres, id: Uuid, batch: &Batch) -> Result<bool, PgError> {
    const SQL: &str = "WITH flush AS (INSERT INTO ledger_flushes (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id), \
         k AS (UPDATE keypairs SET num_queries = coalesce(num_queries, 0) + d.n, \
               last_used = CASE WHEN d.ms > 0 THEN greatest(last_used, to_timestamp(d.ms / 1000.0)) ELSE last_used END \
               FROM (SELECT unnest($2::text[]) AS key, unnest($3::bigint[]) AS n, unnest($4::bigint[]) AS ms) d \
               WHERE keypairs.access_key = d.key AND EXISTS (SELECT FROM flush)), \
         s AS (UPDATE kernels SET num_queries = coalesce(num_queries, 0) + d.n \
               FROM (SELECT unnest($5::uuid[]) AS id, unnest($6::bigint[]) AS n) d \
               WHERE kernels.id = d.id AND EXISTS (SELECT FROM flush)) \
         SELECT count(*) FROM flush";
    let keys: Vec<&str> = batch.keys.iter().map(|(key, ..)| key.as_str()).collect();
    let counts: Vec<i64> = batch.keys.iter().map(|(_, n, _)| *n).collect();
    let times: Vec<i64> = batch.keys.iter().map(|(.., ms)| *ms).collect();
    let (ids, queries): (Vec<Uuid>, Vec<i64>) = batch.sessions.iter().copied().unzip();
    let row = postgres.query_opt(SQL, &[&id, &keys, &counts, &times, &ids, &queries]).await?;
    Ok(row.is_some_and(|row| row.get::<_, i64>(0) == 1))
}
