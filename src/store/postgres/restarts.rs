//! Table `kernels`, as far as restarts go.
//!
//! While an agent restarts a kernel the row is RESTARTING and names the node that asked. A restart that failed, so
//! that nobody knows what is left of the kernel, leaves it RESTARTING without a node: a client may try again, and if
//! none does, the leader ends the session.

use uuid::Uuid;

use super::{kernels::Started, vfolders::Mount};
use crate::store::postgres::{PgError, Postgres};

/// What the agent is told of a kernel that it is to restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// Its image, `name:tag`.
    pub lang: String,
    /// Where its agent takes calls.
    pub agent_addr: String,
    /// MiB.
    pub mem_slot: i64,
    /// Cores.
    pub cpu_slot: f64,
    /// Fraction of GPUs.
    pub gpu_slot: f64,
    /// `NAME=value` each.
    pub environ: Vec<String>,
    /// Cores that it has, as its agent last reported.
    pub cpu_set: Vec<i32>,
    /// GPUs that it has, as its agent last reported.
    pub gpu_set: Vec<i32>,
    /// Its virtual folders, as far as its key still has them.
    pub mounts: Vec<Mount>,
    /// Whether its agent can mount folders read-only.
    pub agent_read_only: bool,
}

/// RUNNING becomes RESTARTING; `None` if the session is not RUNNING, and no failed restart either.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn begin(postgres: &Postgres, id: Uuid, node: &str) -> Result<Option<Restart>, PgError> {
    const SQL: &str = "WITH taken AS ( \
             UPDATE kernels SET status = 'RESTARTING', owner_node = $2, status_changed = now() \
             WHERE id = $1 AND role = 'master' \
             AND (status = 'RUNNING' OR (status = 'RESTARTING' AND owner_node IS NULL)) \
             RETURNING lang, agent_addr, mem_slot, cpu_slot, gpu_slot, environ, cpu_set, gpu_set, agent, access_key \
         ), mounts AS ( \
             SELECT folder.id, host, name, permission = 'ro' AS read_only FROM taken, vfolder_attachment \
             JOIN backendai_accessible_vfolders AS folder ON folder.id = vfolder \
             WHERE kernel = $1 AND folder.access_key = taken.access_key \
         ) \
         SELECT lang, agent_addr, mem_slot, cpu_slot, gpu_slot, coalesce(environ, '{}'), coalesce(cpu_set, '{}'), \
         coalesce(gpu_set, '{}'), ARRAY(SELECT name FROM mounts ORDER BY id), \
         ARRAY(SELECT host FROM mounts ORDER BY id), ARRAY(SELECT id FROM mounts ORDER BY id), \
         ARRAY(SELECT read_only FROM mounts ORDER BY id), \
         coalesce((SELECT read_only_mounts FROM agents WHERE agents.id = agent), false) FROM taken";
    Ok(postgres.query_opt(SQL, &[&id, &node]).await?.as_ref().map(restart))
}

fn restart(row: &tokio_postgres::Row) -> Restart {
    let (names, hosts, ids): (Vec<String>, Vec<String>, Vec<Uuid>) = (row.get(8), row.get(9), row.get(10));
    let read_only: Vec<bool> = row.get(11);
    let mounts = names.into_iter().zip(hosts).zip(ids).zip(read_only);
    let mounts = mounts.map(|(((name, host), id), read_only)| Mount { name, host, id, read_only });
    Restart {
        lang: row.get::<_, Option<String>>(0).unwrap_or_default(),
        agent_addr: row.get(1),
        mem_slot: row.get(2),
        cpu_slot: row.get(3),
        gpu_slot: row.get(4),
        environ: row.get(5),
        cpu_set: row.get(6),
        gpu_set: row.get(7),
        mounts: mounts.collect(),
        agent_read_only: row.get(12),
    }
}

/// RESTARTING becomes RUNNING with what the agent reported; false if somebody ended the session meanwhile.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn done(postgres: &Postgres, id: Uuid, s: &Started) -> Result<bool, PgError> {
    const SQL: &str = "UPDATE kernels SET status = 'RUNNING', status_info = 'restarted', owner_node = NULL, \
         container_id = $2, kernel_host = coalesce($3, kernel_host), cpu_set = $4, gpu_set = $5, \
         repl_in_port = $6, repl_out_port = $7, stdin_port = $8, stdout_port = $9 \
         WHERE id = $1 AND status = 'RESTARTING' RETURNING id";
    let [repl_in, repl_out, stdin, stdout] = &s.ports;
    let row = postgres
        .query_opt(
            SQL,
            &[&id, &s.container_id, &s.kernel_host, &s.cpu_set, &s.gpu_set, repl_in, repl_out, stdin, stdout],
        )
        .await?;
    Ok(row.is_some())
}

/// The agent never heard of the restart: the session runs on as it was.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn not_begun(postgres: &Postgres, id: Uuid) -> Result<(), PgError> {
    const SQL: &str =
        "UPDATE kernels SET status = 'RUNNING', owner_node = NULL WHERE id = $1 AND status = 'RESTARTING'";
    postgres.query(SQL, &[&id]).await.map(drop)
}

/// The restart failed, and nobody knows what is left of the kernel.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn failed(postgres: &Postgres, id: Uuid) -> Result<(), PgError> {
    const SQL: &str = "UPDATE kernels SET owner_node = NULL, status_info = 'restart-failed' \
         WHERE id = $1 AND status = 'RESTARTING'";
    postgres.query(SQL, &[&id]).await.map(drop)
}

/// Whether the session's restart ended less than two seconds ago: its agent's word that the kernel of before has
/// ended may come that late, and says nothing of the new one.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn is_fresh(postgres: &Postgres, id: Uuid) -> Result<bool, PgError> {
    const SQL: &str = "SELECT true FROM kernels WHERE id = $1 AND status = 'RUNNING' AND status_info = 'restarted' \
         AND status_changed > now() - interval '2 seconds'";
    Ok(postgres.query_opt(SQL, &[&id]).await?.is_some())
}
