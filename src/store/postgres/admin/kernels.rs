//! Table `kernels`, all of it: sessions (role `master`) and their workers, living and ended.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{AdminError, Page, ROWS_ASKED, by_parent, not_too_many};
use crate::store::postgres::{PgError, Postgres};

/// Names of a kernel's status.
pub const STATUSES: [&str; 9] =
    ["PREPARING", "BUILDING", "RUNNING", "RESTARTING", "RESIZING", "SUSPENDED", "TERMINATING", "TERMINATED", "ERROR"];

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelRow {
    /// The kernel's id.
    pub id: Uuid,
    /// The client's name for the session.
    pub sess_id: Option<String>,
    /// `master` or `worker`.
    pub role: String,
    /// Whose it is.
    pub access_key: Option<String>,
    /// Its image, `name:tag`.
    pub lang: Option<String>,
    /// One of [`STATUSES`].
    pub status: Option<String>,
    /// Why it is as it is.
    pub status_info: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it ended.
    pub terminated_at: Option<Timestamp>,
    /// The agent it is or was on.
    pub agent: Option<String>,
    /// The container's id.
    pub container_id: Option<String>,
    /// Memory, MiB.
    pub mem_slot: i64,
    /// Cores.
    pub cpu_slot: f64,
    /// GPUs.
    pub gpu_slot: f64,
    /// Queries.
    pub num_queries: i64,
    /// What it used, as it was when it ended.
    pub used: Used,
}

/// What a kernel used until it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, ms.
    pub cpu_used: i64,
    /// Most memory in use at once, bytes.
    pub mem_max_bytes: i64,
    /// Received, bytes.
    pub net_rx_bytes: i64,
    /// Sent, bytes.
    pub net_tx_bytes: i64,
    /// Read from disks, bytes.
    pub io_read_bytes: i64,
    /// Written to disks, bytes.
    pub io_write_bytes: i64,
    /// Most scratch space in use at once, bytes.
    pub io_max_scratch_size: i64,
}

/// The columns of a [`KernelRow`], behind the parent's place.
macro_rules! columns {
    () => {
        "SELECT p.n, k.id, k.sess_id, k.role, k.access_key, k.lang, k.status::text, k.status_info, k.created_at, \
         k.terminated_at, k.agent, k.container_id, k.mem_slot, k.cpu_slot, k.gpu_slot, \
         coalesce(k.num_queries, 0), coalesce(k.cpu_used, 0), coalesce(k.mem_max_bytes, 0), \
         coalesce(k.net_rx_bytes, 0), coalesce(k.net_tx_bytes, 0), coalesce(k.io_read_bytes, 0), \
         coalesce(k.io_write_bytes, 0), coalesce(k.io_max_scratch_size, 0) "
    };
}

/// A page of each parent's kernels, newest first; `$1` status, `$2` limit, `$3` offset, `$4` rows of all.
macro_rules! of_each {
    ($parents:literal, $theirs:literal) => {
        concat!(
            columns!(),
            "FROM ",
            $parents,
            " CROSS JOIN LATERAL (SELECT * FROM kernels WHERE ",
            $theirs,
            " AND ($1::text IS NULL OR status = $1::text::kernelstatus) \
             ORDER BY created_at DESC NULLS LAST, id LIMIT $2 OFFSET $3) AS k \
             ORDER BY p.n, k.created_at DESC NULLS LAST, k.id LIMIT $4"
        )
    };
}

fn kernel(row: &Row) -> KernelRow {
    KernelRow {
        id: row.get(1),
        sess_id: row.get(2),
        role: row.get(3),
        access_key: row.get(4),
        lang: row.get(5),
        status: row.get(6),
        status_info: row.get(7),
        created_at: row.get(8),
        terminated_at: row.get(9),
        agent: row.get(10),
        container_id: row.get(11),
        mem_slot: row.get(12),
        cpu_slot: row.get(13),
        gpu_slot: row.get(14),
        num_queries: row.get(15),
        used: Used {
            cpu_used: row.get(16),
            mem_max_bytes: row.get(17),
            net_rx_bytes: row.get(18),
            net_tx_bytes: row.get(19),
            io_read_bytes: row.get(20),
            io_write_bytes: row.get(21),
            io_max_scratch_size: row.get(22),
        },
    }
}

/// The sessions of each of these access keys, newest first; `status`: only those.
///
/// # Errors
/// PostgreSQL is away or refuses, or there are too many.
pub async fn sessions_of_keys(
    postgres: &Postgres,
    keys: &[String],
    status: Option<&str>,
    page: Page,
) -> Result<Vec<Vec<KernelRow>>, AdminError> {
    const SQL: &str =
        of_each!("unnest($5::text[]) WITH ORDINALITY AS p(key, n)", "access_key = p.key AND role = 'master'");
    let rows = postgres.query(SQL, &[&status, &page.limit, &page.offset, &ROWS_ASKED, &keys]).await?;
    Ok(by_parent(&not_too_many(rows)?, keys.len(), kernel))
}

/// The newest session of that name; `owner`: of that access key alone.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn newest_session(
    postgres: &Postgres,
    sess_id: &str,
    owner: Option<&str>,
) -> Result<Option<KernelRow>, PgError> {
    const SQL: &str = concat!(
        columns!(),
        "FROM (VALUES (1::bigint)) AS p(n) CROSS JOIN kernels AS k WHERE k.sess_id = $1 AND k.role = 'master' \
         AND ($2::text IS NULL OR k.access_key = $2) ORDER BY k.created_at DESC NULLS LAST, k.id LIMIT 1"
    );
    Ok(postgres.query_opt(SQL, &[&sess_id, &owner]).await?.as_ref().map(kernel))
}

/// The workers of each of these sessions (the client's name, and whose it is; `None`: anybody's), newest first.
///
/// # Errors
/// PostgreSQL is away or refuses, or there are too many.
pub async fn workers_of_sessions(
    postgres: &Postgres,
    sessions: &[(String, Option<String>)],
    status: Option<&str>,
    page: Page,
) -> Result<Vec<Vec<KernelRow>>, AdminError> {
    const SQL: &str = of_each!(
        "unnest($5::text[], $6::text[]) WITH ORDINALITY AS p(sess_id, key, n)",
        "kernels.sess_id = p.sess_id AND role = 'worker' AND (p.key IS NULL OR access_key = p.key)"
    );
    let names: Vec<&str> = sessions.iter().map(|(name, _)| name.as_str()).collect();
    let keys: Vec<Option<&str>> = sessions.iter().map(|(_, key)| key.as_deref()).collect();
    let rows = postgres.query(SQL, &[&status, &page.limit, &page.offset, &ROWS_ASKED, &names, &keys]).await?;
    Ok(by_parent(&not_too_many(rows)?, sessions.len(), kernel))
}

/// The kernels on each of these agents, of any role, newest first.
///
/// # Errors
/// PostgreSQL is away or refuses, or there are too many.
pub async fn on_agents(
    postgres: &Postgres,
    agents: &[String],
    status: Option<&str>,
    page: Page,
) -> Result<Vec<Vec<KernelRow>>, AdminError> {
    const SQL: &str = of_each!("unnest($5::text[]) WITH ORDINALITY AS p(agent, n)", "kernels.agent = p.agent");
    let rows = postgres.query(SQL, &[&status, &page.limit, &page.offset, &ROWS_ASKED, &agents]).await?;
    Ok(by_parent(&not_too_many(rows)?, agents.len(), kernel))
}

/// How many sessions an access key has.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn count_of_key(postgres: &Postgres, key: &str, status: Option<&str>) -> Result<i64, PgError> {
    const SQL: &str = "SELECT count(*) FROM kernels WHERE access_key = $1 AND role = 'master' \
         AND ($2::text IS NULL OR status = $2::text::kernelstatus)";
    Ok(postgres.query_opt(SQL, &[&key, &status]).await?.map_or(0, |row| row.get(0)))
}

/// The access keys that have a live session of that name; at most so many.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn live_owners(postgres: &Postgres, sess_id: &str, most: i64) -> Result<Vec<String>, PgError> {
    const SQL: &str = "SELECT access_key FROM kernels WHERE sess_id = $1 AND role = 'master' \
         AND access_key IS NOT NULL AND status NOT IN ('TERMINATED', 'ERROR') ORDER BY access_key LIMIT $2";
    Ok(postgres.query(SQL, &[&sess_id, &most]).await?.iter().map(|row| row.get(0)).collect())
}
