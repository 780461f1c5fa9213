//! Table `agents`, all of it.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{AdminError, Page, ROWS_ASKED, not_too_many};
use crate::store::postgres::{PgError, Postgres};

/// Names of an agent's status.
pub const STATUSES: [&str; 4] = ["ALIVE", "LOST", "RESTARTING", "TERMINATED"];

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRow {
    /// Its id.
    pub id: String,
    /// One of [`STATUSES`].
    pub status: String,
    /// Where it is, in its operator's words.
    pub region: String,
    /// Memory it has to give, MiB.
    pub mem_slots: i64,
    /// Cores it has to give.
    pub cpu_slots: f64,
    /// GPUs it has to give.
    pub gpu_slots: f64,
    /// Memory given, MiB.
    pub used_mem_slots: i64,
    /// Cores given.
    pub used_cpu_slots: f64,
    /// GPUs given.
    pub used_gpu_slots: f64,
    /// Where it takes calls, `tcp://ip:port`.
    pub addr: String,
    /// When it was first heard of.
    pub first_contact: Option<Timestamp>,
    /// Since when it is gone.
    pub lost_at: Option<Timestamp>,
    /// Whether it gets new sessions.
    pub schedulable: bool,
    /// From when on its sessions are ended.
    pub drain_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "id, status::text, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots, used_gpu_slots, \
         addr, first_contact, lost_at, schedulable, drain_at"
    };
}

fn agent(row: &Row) -> AgentRow {
    AgentRow {
        id: row.get(0),
        status: row.get(1),
        region: row.get(2),
        mem_slots: row.get(3),
        cpu_slots: row.get(4),
        gpu_slots: row.get(5),
        used_mem_slots: row.get(6),
        used_cpu_slots: row.get(7),
        used_gpu_slots: row.get(8),
        addr: row.get(9),
        first_contact: row.get(10),
        lost_at: row.get(11),
        schedulable: row.get(12),
        drain_at: row.get(13),
    }
}

/// Agents by their ids; unknown ones are left out.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn find(postgres: &Postgres, ids: &[String]) -> Result<Vec<AgentRow>, PgError> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM agents WHERE id = ANY($1)");
    Ok(postgres.query(SQL, &[&ids]).await?.iter().map(agent).collect())
}

/// Agents, in the order of their ids; `status`: only those.
///
/// # Errors
/// PostgreSQL is away or refuses, or there are too many.
pub async fn list(postgres: &Postgres, status: Option<&str>, page: Page) -> Result<Vec<AgentRow>, AdminError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM agents WHERE $1::text IS NULL OR status = $1::text::agentstatus \
         ORDER BY id LIMIT least($2::bigint, $4::bigint) OFFSET $3"
    );
    let rows = postgres.query(SQL, &[&status, &page.limit, &page.offset, &ROWS_ASKED]).await?;
    Ok(not_too_many(rows)?.iter().map(agent).collect())
}

/// Keeps new sessions off an agent, or lets them come again, in which case it is drained no more; its row, if there
/// is one.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn set_schedulable(postgres: &Postgres, id: &str, schedulable: bool) -> Result<Option<AgentRow>, PgError> {
    const SQL: &str = concat!(
        "UPDATE agents SET schedulable = $2, drain_at = CASE WHEN $2 THEN NULL ELSE drain_at END WHERE id = $1 RETURNING ",
        columns!()
    );
    Ok(postgres.query_opt(SQL, &[&id, &schedulable]).await?.as_ref().map(agent))
}

/// Keeps new sessions off an agent, and has the leader end the others in `grace_s` seconds; its row, if there is one.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn drain(postgres: &Postgres, id: &str, grace_s: f64) -> Result<Option<AgentRow>, PgError> {
    const SQL: &str = concat!(
        "UPDATE agents SET schedulable = false, drain_at = now() + make_interval(secs => $2) WHERE id = $1 RETURNING ",
        columns!()
    );
    Ok(postgres.query_opt(SQL, &[&id, &grace_s]).await?.as_ref().map(agent))
}
