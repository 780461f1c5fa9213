//! Table `keypairs`, all of it, and its changes.

use jiff::Timestamp;
use tokio_postgres::{Row, error::SqlState};
use uuid::Uuid;

use super::{AdminError, Page, ROWS_ASKED, not_too_many};
use crate::{
    config::Secret,
    store::postgres::{PgError, Postgres},
};

/// A row.
#[derive(Clone, Debug)]
pub struct KeypairRow {
    /// Whose it is.
    pub user_id: Option<i32>,
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: Option<Secret>,
    /// Whether it may be used at all.
    pub is_active: Option<bool>,
    /// Whether admin routes are open to it.
    pub is_admin: Option<bool>,
    /// The name of its resource policy.
    pub resource_policy: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last used, as far as PostgreSQL knows.
    pub last_used: Option<Timestamp>,
    /// Most sessions at once; `None`: any number.
    pub concurrency_limit: Option<i32>,
    /// Sessions that live.
    pub concurrency_used: Option<i32>,
    /// Requests in a window of 15 minutes.
    pub rate_limit: Option<i32>,
    /// Queries, as far as PostgreSQL knows.
    pub num_queries: Option<i32>,
}

/// What may be changed of a key pair; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Props {
    /// Whether it may be used at all.
    pub is_active: Option<bool>,
    /// Whether admin routes are open to it.
    pub is_admin: Option<bool>,
    /// The name of its resource policy.
    pub resource_policy: Option<String>,
    /// Most sessions at once.
    pub concurrency_limit: Option<i32>,
    /// Requests in a window of 15 minutes.
    pub rate_limit: Option<i32>,
}

/// How a deletion went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Yes,
    /// There is no such key pair.
    Unknown,
    /// Sessions or folders refer to it.
    InUse,
}

macro_rules! columns {
    () => {
        "user_id, access_key, secret_key, is_active, is_admin, resource_policy, created_at, last_used, \
         concurrency_limit, concurrency_used, rate_limit, num_queries"
    };
}

fn keypair(row: &Row) -> KeypairRow {
    KeypairRow {
        user_id: row.get(0),
        access_key: row.get(1),
        secret_key: row.get::<_, Option<String>>(2).map(Secret::new),
        is_active: row.get(3),
        is_admin: row.get(4),
        resource_policy: row.get(5),
        created_at: row.get(6),
        last_used: row.get(7),
        concurrency_limit: row.get(8),
        concurrency_used: row.get(9),
        rate_limit: row.get(10),
        num_queries: row.get(11),
    }
}

/// Key pairs by their access keys; unknown ones are left out.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn find(postgres: &Postgres, keys: &[String]) -> Result<Vec<KeypairRow>, PgError> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM keypairs WHERE access_key = ANY($1)");
    Ok(postgres.query(SQL, &[&keys]).await?.iter().map(keypair).collect())
}

/// Key pairs in the order of their access keys; `user_id`, `is_active`: only those.
///
/// # Errors
/// PostgreSQL is away or refuses, or there are too many.
pub async fn list(
    postgres: &Postgres,
    user_id: Option<i32>,
    is_active: Option<bool>,
    page: Page,
) -> Result<Vec<KeypairRow>, AdminError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM keypairs WHERE ($1::int IS NULL OR user_id = $1) AND ($2::bool IS NULL OR is_active = $2) \
         ORDER BY access_key LIMIT least($3::bigint, $5::bigint) OFFSET $4"
    );
    let rows = postgres.query(SQL, &[&user_id, &is_active, &page.limit, &page.offset, &ROWS_ASKED]).await?;
    Ok(not_too_many(rows)?.iter().map(keypair).collect())
}

/// What PostgreSQL has counted for key pairs, and which of the ledger's batches are in these counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Access key, queries.
    pub keys: Vec<(String, i64)>,
    /// Batches that have been added up.
    pub applied: Vec<Uuid>,
}

/// The queries of key pairs, with the ones of `batches` that are in them, as of one moment.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn counted(postgres: &Postgres, keys: &[String], batches: &[Uuid]) -> Result<Counted, PgError> {
    const SQL: &str = "SELECT access_key, coalesce(num_queries, 0)::bigint, \
         ARRAY(SELECT id FROM ledger_flushes WHERE id = ANY($2)) FROM keypairs WHERE access_key = ANY($1)";
    let rows = postgres.query(SQL, &[&keys, &batches]).await?;
    let applied = rows.first().map(|row| row.get(2)).unwrap_or_default();
    Ok(Counted { keys: rows.iter().map(|row| (row.get(0), row.get(1))).collect(), applied })
}

/// Inserts a key pair and gives its row; `None` if there is one of that access key. What `props` leaves open is false or null.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn insert(
    postgres: &Postgres,
    user_id: i32,
    access_key: &str,
    secret_key: &str,
    props: &Props,
) -> Result<Option<KeypairRow>, PgError> {
    const SQL: &str = concat!(
        "INSERT INTO keypairs (user_id, access_key, secret_key, is_active, is_admin, resource_policy, \
         concurrency_limit, concurrency_used, rate_limit, num_queries) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, 0) \
         ON CONFLICT (access_key) DO NOTHING RETURNING ",
        columns!()
    );
    let (active, admin) = (props.is_active.unwrap_or(false), props.is_admin.unwrap_or(false));
    let Props { resource_policy, concurrency_limit, rate_limit, .. } = props;
    let row = postgres
        .query_opt(
            SQL,
            &[&user_id, &access_key, &secret_key, &active, &admin, resource_policy, concurrency_limit, rate_limit],
        )
        .await?;
    Ok(row.as_ref().map(keypair))
}

/// Changes a key pair; false if there is none of that access key.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn modify(postgres: &Postgres, access_key: &str, props: &Props) -> Result<bool, PgError> {
    const SQL: &str = "UPDATE keypairs SET is_active = coalesce($2, is_active), is_admin = coalesce($3, is_admin), \
         resource_policy = coalesce($4, resource_policy), concurrency_limit = coalesce($5, concurrency_limit), \
         rate_limit = coalesce($6, rate_limit) WHERE access_key = $1 RETURNING access_key";
    let Props { is_active, is_admin, resource_policy, concurrency_limit, rate_limit } = props;
    let changed = postgres
        .query_opt(SQL, &[&access_key, is_active, is_admin, resource_policy, concurrency_limit, rate_limit])
        .await?;
    Ok(changed.is_some())
}

/// Gives a key pair another secret; its row, if there is one.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn rotate(postgres: &Postgres, access_key: &str, secret_key: &str) -> Result<Option<KeypairRow>, PgError> {
    const SQL: &str = concat!("UPDATE keypairs SET secret_key = $2 WHERE access_key = $1 RETURNING ", columns!());
    Ok(postgres.query_opt(SQL, &[&access_key, &secret_key]).await?.as_ref().map(keypair))
}

/// Deletes a key pair that nothing refers to.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn delete(postgres: &Postgres, access_key: &str) -> Result<Deleted, PgError> {
    const SQL: &str = "DELETE FROM keypairs WHERE access_key = $1 RETURNING access_key";
    match postgres.query_opt(SQL, &[&access_key]).await {
        Ok(Some(_)) => Ok(Deleted::Yes),
        Ok(None) => Ok(Deleted::Unknown),
        Err(PgError::Refused(error)) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => Ok(Deleted::InUse),
        Err(error) => Err(error),
    }
}
