//! Table `kernels`, and the functions that keep its sums: slots of agents, sessions of keys.

use rmpv::Value;
use serde_json::json;
use uuid::Uuid;

use crate::store::postgres::{PgError, Postgres};

/// What a live session's row says.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The kernel's id, on agents and in Redis.
    pub id: Uuid,
    /// The client's name for the session.
    pub sess_id: String,
    /// Whose it is.
    pub access_key: String,
    /// Its image, `name:tag`.
    pub lang: String,
    /// `PREPARING`, `RUNNING`, ….
    pub status: String,
    /// The agent it is on.
    pub agent: String,
    /// Where that agent takes calls, `tcp://ip:port`.
    pub agent_addr: String,
    /// Memory in MiB.
    pub mem_slot: i64,
    /// Milliseconds since it was created.
    pub age_ms: i64,
    /// Queries that PostgreSQL knows of; Redis knows better.
    pub num_queries: i64,
    /// Why it ends, if somebody said so.
    pub status_info: Option<String>,
}

/// What to reserve for a new session.
#[derive(Clone, Debug)]
pub struct Reservation<'a> {
    /// The kernel's id.
    pub id: Uuid,
    /// The client's name for it.
    pub sess_id: &'a str,
    /// Who pays.
    pub access_key: &'a str,
    /// `name:tag`.
    pub lang: &'a str,
    /// The agent to take the slots from.
    pub agent: &'a str,
    /// MiB.
    pub mem_slot: i64,
    /// Cores.
    pub cpu_slot: f64,
    /// Fraction of GPUs.
    pub gpu_slot: f64,
    /// `NAME=value` each.
    pub environ: &'a [String],
    /// The client's tag.
    pub tag: Option<&'a str>,
    /// The gateway node that creates it.
    pub node: &'a str,
}

/// How a reservation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The row is there, PREPARING, and its slots are taken.
    Ok,
    /// A live session of that name is there already.
    Exists,
    /// The key has as many sessions as it may.
    Quota,
    /// The key is unknown or inactive.
    NoKey,
    /// The agent has too little left, or is not alive.
    AgentFull,
}

/// What an agent reports of a new kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Started {
    /// The container's id, or what the agent has instead.
    pub container_id: String,
    /// The host for the kernel's ports, where it is not the agent's.
    pub kernel_host: Option<String>,
    /// Cores given.
    pub cpu_set: Vec<i32>,
    /// GPUs given.
    pub gpu_set: Vec<i32>,
    /// Ports: REPL in, REPL out, terminal in, terminal out.
    pub ports: [i32; 4],
}

/// The columns of a [`SessionRow`], in the order in which [`session`] reads them.
macro_rules! row {
    () => {
        "id, sess_id, access_key, lang, status::text, agent, agent_addr, mem_slot, \
         (extract(epoch from now() - created_at) * 1000)::bigint, coalesce(num_queries, 0), status_info"
    };
}
macro_rules! live {
    () => {
        "status NOT IN ('TERMINATED', 'ERROR') AND role = 'master'"
    };
}

fn session(row: &tokio_postgres::Row) -> SessionRow {
    SessionRow {
        id: row.get(0),
        sess_id: row.get::<_, Option<String>>(1).unwrap_or_default(),
        access_key: row.get::<_, Option<String>>(2).unwrap_or_default(),
        lang: row.get::<_, Option<String>>(3).unwrap_or_default(),
        status: row.get::<_, Option<String>>(4).unwrap_or_default(),
        agent: row.get::<_, Option<String>>(5).unwrap_or_default(),
        agent_addr: row.get(6),
        mem_slot: row.get(7),
        age_ms: row.get::<_, Option<i64>>(8).unwrap_or_default(),
        num_queries: row.get(9),
        status_info: row.get(10),
    }
}

/// A key's live session of that name.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn find_live(postgres: &Postgres, access_key: &str, sess_id: &str) -> Result<Option<SessionRow>, PgError> {
    const SQL: &str = concat!("SELECT ", row!(), " FROM kernels WHERE access_key = $1 AND sess_id = $2 AND ", live!());
    Ok(postgres.query_opt(SQL, &[&access_key, &sess_id]).await?.as_ref().map(session))
}

/// Takes a place in the key's quota and slots on the agent, and inserts the row as PREPARING: all or nothing.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn reserve(postgres: &Postgres, r: &Reservation<'_>) -> Result<Reserved, PgError> {
    const SQL: &str = "SELECT backendai_session_reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let rows = postgres
        .query(
            SQL,
            &[
                &r.id,
                &r.sess_id,
                &r.access_key,
                &r.lang,
                &r.agent,
                &r.mem_slot,
                &r.cpu_slot,
                &r.gpu_slot,
                &r.environ,
                &r.tag,
                &r.node,
            ],
        )
        .await;
    let answer: Option<String> = match rows {
        Ok(rows) => rows.first().map(|row| row.get(0)),
        // The row of another that was faster: the unique index speaks before the function can.
        Err(PgError::Refused(error)) if is_unique_violation(&error) => return Ok(Reserved::Exists),
        Err(error) => return Err(error),
    };
    Ok(match answer.as_deref() {
        Some("ok") => Reserved::Ok,
        Some("exists") => Reserved::Exists,
        Some("quota") => Reserved::Quota,
        Some("no-key") => Reserved::NoKey,
        _ => Reserved::AgentFull,
    })
}

fn is_unique_violation(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION)
}

/// PREPARING becomes RUNNING with what the agent reported; false if the row is no longer PREPARING.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn started(postgres: &Postgres, id: Uuid, s: &Started) -> Result<bool, PgError> {
    const SQL: &str = "UPDATE kernels SET status = 'RUNNING', container_id = $2, kernel_host = $3, cpu_set = $4, \
         gpu_set = $5, repl_in_port = $6, repl_out_port = $7, stdin_port = $8, stdout_port = $9 \
         WHERE id = $1 AND status = 'PREPARING' RETURNING id";
    let [repl_in, repl_out, stdin, stdout] = &s.ports;
    let row = postgres
        .query_opt(
            SQL,
            &[&id, &s.container_id, &s.kernel_host, &s.cpu_set, &s.gpu_set, repl_in, repl_out, stdin, stdout],
        )
        .await?;
    Ok(row.is_some())
}

/// Marks a live session as being ended by this node; false if it is not RUNNING any more.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn terminating(postgres: &Postgres, id: Uuid, node: &str) -> Result<bool, PgError> {
    const SQL: &str = "UPDATE kernels SET status = 'TERMINATING', owner_node = $2 \
         WHERE id = $1 AND status NOT IN ('TERMINATING', 'TERMINATED', 'ERROR') RETURNING id";
    Ok(postgres.query_opt(SQL, &[&id, &node]).await?.is_some())
}

/// A session that was to end could not be ended: it runs on.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn not_terminated(postgres: &Postgres, id: Uuid) -> Result<(), PgError> {
    const SQL: &str =
        "UPDATE kernels SET status = 'RUNNING', status_info = NULL WHERE id = $1 AND status = 'TERMINATING'";
    postgres.query(SQL, &[&id]).await.map(drop)
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As somebody wanted.
    Terminated,
    /// By a fault.
    Error,
}

/// Ends a session: the row, its slots, its place in the quota; false if it had ended before. Idempotent.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn finish(postgres: &Postgres, id: Uuid, end: End, info: &str, stats: &Stats) -> Result<bool, PgError> {
    const SQL: &str = "SELECT backendai_session_finish($1, $2::text::kernelstatus, $3, $4)";
    let status = match end {
        End::Terminated => "TERMINATED",
        End::Error => "ERROR",
    };
    let row = postgres.query_opt(SQL, &[&id, &status, &info, &stats.to_json()]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// The last statistics of a kernel as its agent reported them: names and numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats(pub serde_json::Map<String, serde_json::Value>);

impl Stats {
    /// From the map that an agent answers; anything but a map of numbers is nothing.
    pub fn from_agent(value: &Value) -> Option<Self> {
        let map = value.as_map()?;
        let number = |value: &Value| match value {
            Value::Integer(n) => n.as_i64().map(|n| json!(n)),
            Value::F64(n) => Some(json!(n)),
            Value::F32(n) => Some(json!(n)),
            _ => None,
        };
        let entries = map.iter().filter_map(|(name, value)| Some((name.as_str()?.to_owned(), number(value)?)));
        Some(Stats(entries.collect()))
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Object(self.0.clone())
    }
}

/// Sessions that somebody began to make, to restart or to end and has not finished for `older_than_s` seconds, and
/// those that the leader is to end (their `owner_node` is empty).
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn half_done(postgres: &Postgres, older_than_s: f64) -> Result<Vec<SessionRow>, PgError> {
    const SQL: &str = concat!(
        "SELECT ",
        row!(),
        " FROM kernels WHERE status IN ('PREPARING', 'TERMINATING', 'RESTARTING') AND role = 'master' \
         AND (status_changed < now() - make_interval(secs => $1) OR (status = 'TERMINATING' AND owner_node = '')) \
         ORDER BY status_changed LIMIT 100"
    );
    Ok(postgres.query(SQL, &[&older_than_s]).await?.iter().map(session).collect())
}

/// Has the leader end the sessions on agents that are drained; gives their number.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn drain_agents(postgres: &Postgres) -> Result<usize, PgError> {
    const SQL: &str = "SELECT backendai_sessions_to_end(ARRAY(SELECT kernels.id FROM agents \
         JOIN kernels ON kernels.agent = agents.id WHERE agents.drain_at <= now() \
         AND kernels.status NOT IN ('TERMINATED', 'ERROR')), 'agent-drained')";
    Ok(postgres.query(SQL, &[]).await?.len())
}

/// Counts one query in the row itself, for while Redis is away; gives the count.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn count_query(postgres: &Postgres, id: Uuid) -> Result<u64, PgError> {
    const SQL: &str =
        "UPDATE kernels SET num_queries = coalesce(num_queries, 0) + 1 WHERE id = $1 RETURNING num_queries";
    let row = postgres.query_opt(SQL, &[&id]).await?;
    Ok(row.map_or(0, |row| row.get::<_, i64>(0).max(0).unsigned_abs()))
}

/// A session's queries, and which of `batches` are in them, as of one moment.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn counted(postgres: &Postgres, id: Uuid, batches: &[Uuid]) -> Result<(u64, Vec<Uuid>), PgError> {
    const SQL: &str = "SELECT coalesce(num_queries, 0)::bigint, \
         ARRAY(SELECT id FROM ledger_flushes WHERE id = ANY($2)) FROM kernels WHERE id = $1";
    let row = postgres.query_opt(SQL, &[&id, &batches]).await?;
    Ok(row.map(|row| (row.get::<_, i64>(0).max(0).unsigned_abs(), row.get(1))).unwrap_or_default())
}

/// Ids of the live sessions on an agent, and whether each has been RUNNING for that long.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn live_on(postgres: &Postgres, agent: &str, settled_s: f64) -> Result<Vec<(Uuid, bool)>, PgError> {
    const SQL: &str = "SELECT id, status = 'RUNNING' AND status_changed < now() - make_interval(secs => $2) \
         FROM kernels WHERE agent = $1 AND status NOT IN ('TERMINATED', 'ERROR')";
    let rows = postgres.query(SQL, &[&agent, &settled_s]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, Option<bool>>(1).unwrap_or(false))).collect())
}

/// Which of these sessions are live.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn live_among(postgres: &Postgres, ids: &[Uuid]) -> Result<Vec<Uuid>, PgError> {
    const SQL: &str = "SELECT id FROM kernels WHERE id = ANY($1) AND status NOT IN ('TERMINATED', 'ERROR')";
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(postgres.query(SQL, &[&ids]).await?.iter().map(|row| row.get(0)).collect())
}

/// The status of a session's row.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn status(postgres: &Postgres, id: Uuid) -> Result<Option<String>, PgError> {
    const SQL: &str = "SELECT status::text FROM kernels WHERE id = $1";
    Ok(postgres.query_opt(SQL, &[&id]).await?.and_then(|row| row.get(0)))
}
