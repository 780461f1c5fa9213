//! Table `agents`.

use crate::{
    store::postgres::{PgError, Postgres},
    wire::event::Heartbeat,
};

/// What placing a session needs to know of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRow {
    /// Its id.
    pub id: String,
    /// `ALIVE`, `LOST`, `RESTARTING` or `TERMINATED`.
    pub status: String,
    /// Whether it gets new sessions.
    pub schedulable: bool,
    /// Where it takes calls, `tcp://ip:port`.
    pub addr: String,
    /// Free memory in MiB.
    pub free_mem: i64,
    /// Free cores.
    pub free_cpu: f64,
    /// Free GPUs.
    pub free_gpu: f64,
    /// Whether it can mount folders read-only.
    pub read_only_mounts: bool,
}

/// What an agent has to give, overbooked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// MiB.
    pub mem: i64,
    /// Cores.
    pub cpu: f64,
    /// GPUs.
    pub gpu: f64,
}

/// The columns of an [`AgentRow`], in the order in which [`agent`] reads them.
macro_rules! row {
    () => {
        "id, status::text, schedulable, addr, mem_slots - used_mem_slots, cpu_slots - used_cpu_slots, \
         gpu_slots - used_gpu_slots, read_only_mounts"
    };
}

fn agent(row: &tokio_postgres::Row) -> AgentRow {
    AgentRow {
        id: row.get(0),
        status: row.get(1),
        schedulable: row.get(2),
        addr: row.get(3),
        free_mem: row.get(4),
        free_cpu: row.get(5),
        free_gpu: row.get(6),
        read_only_mounts: row.get(7),
    }
}

/// The agents that are alive, cordoned ones included.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn alive(postgres: &Postgres) -> Result<Vec<AgentRow>, PgError> {
    const SQL: &str = concat!("SELECT ", row!(), " FROM agents WHERE status = 'ALIVE' ORDER BY id");
    Ok(postgres.query(SQL, &[]).await?.iter().map(agent).collect())
}

/// All agents that ever were, by id.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn all(postgres: &Postgres) -> Result<Vec<AgentRow>, PgError> {
    const SQL: &str = concat!("SELECT ", row!(), " FROM agents ORDER BY id");
    Ok(postgres.query(SQL, &[]).await?.iter().map(agent).collect())
}

/// Enters what a heartbeat says: a new agent, one that is back, or changed slots. True if it was not alive before.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn heard(postgres: &Postgres, id: &str, beat: &Heartbeat, has: Capacity) -> Result<bool, PgError> {
    const SQL: &str = "WITH before AS (SELECT status FROM agents WHERE id = $1) \
         INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, \
         used_mem_slots, used_cpu_slots, used_gpu_slots, addr, first_contact, read_only_mounts) \
         VALUES ($1, 'ALIVE', $2, $3, $4, $5, 0, 0, 0, $6, now(), $7) \
         ON CONFLICT (id) DO UPDATE SET status = 'ALIVE', region = $2, mem_slots = $3, cpu_slots = $4, \
         gpu_slots = $5, addr = $6, lost_at = NULL, read_only_mounts = $7 \
         RETURNING coalesce((SELECT status FROM before) <> 'ALIVE', true)";
    let row = postgres
        .query_opt(SQL, &[&id, &beat.region, &has.mem, &has.cpu, &has.gpu, &beat.addr, &beat.read_only_mounts])
        .await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// An agent is gone: LOST, or TERMINATED where it said so itself. True if it was alive.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn gone(postgres: &Postgres, id: &str, status: &str) -> Result<bool, PgError> {
    const SQL: &str = "UPDATE agents SET status = $2::text::agentstatus, lost_at = now() \
         WHERE id = $1 AND status = 'ALIVE' RETURNING id";
    Ok(postgres.query_opt(SQL, &[&id, &status]).await?.is_some())
}

/// Whether an agent is alive, as far as PostgreSQL knows.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn is_alive(postgres: &Postgres, id: &str) -> Result<bool, PgError> {
    const SQL: &str = "SELECT status = 'ALIVE' FROM agents WHERE id = $1";
    Ok(postgres.query_opt(SQL, &[&id]).await?.is_some_and(|row| row.get(0)))
}
