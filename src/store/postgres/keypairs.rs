//! Table `keypairs`.

use std::rc::Rc;

use crate::{
    config::Secret,
    store::postgres::{PgError, Postgres},
};

/// What the gateway needs to know of a key pair.
#[derive(Clone, Debug)]
pub struct Keypair {
    /// The public half.
    pub access_key: Rc<str>,
    /// The secret half.
    pub secret_key: Secret,
    /// Whether it may be used at all.
    pub is_active: bool,
    /// Whether admin routes and other keys' sessions are open to it.
    pub is_admin: bool,
    /// Requests in a window of 15 minutes.
    pub rate_limit: u32,
}

/// Where a key has no limit of its own; the reference's default.
const DEFAULT_RATE_LIMIT: i32 = 1000;

/// A key pair by its access key.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn find(postgres: &Postgres, access_key: &str) -> Result<Option<Keypair>, PgError> {
    const SQL: &str = "SELECT access_key, coalesce(secret_key, ''), coalesce(is_active, false), \
         coalesce(is_admin, false), rate_limit FROM keypairs WHERE access_key = $1";
    let row = postgres.query_opt(SQL, &[&access_key]).await?;
    Ok(row.map(|row| Keypair {
        access_key: row.get::<_, &str>(0).into(),
        secret_key: Secret::new(row.get::<_, String>(1)),
        is_active: row.get(2),
        is_admin: row.get(3),
        rate_limit: row.get::<_, Option<i32>>(4).unwrap_or(DEFAULT_RATE_LIMIT).max(0).unsigned_abs(),
    }))
}
