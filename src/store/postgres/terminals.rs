//! Table `kernels`, as streams see it: where a terminal is, and which sessions have ended just now.

use uuid::Uuid;

use crate::store::postgres::{PgError, Postgres};

/// What a session's row says of its kernel's terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalRow {
    /// `RUNNING`, `RESTARTING`, ….
    pub status: String,
    /// Why it has that status, where that was noted.
    pub status_info: Option<String>,
    /// Where the agent takes calls, `tcp://ip:port`.
    pub agent_addr: String,
    /// The host of the kernel's ports, where it is not the agent's.
    pub kernel_host: Option<String>,
    /// Where the terminal reads.
    pub stdin_port: i32,
    /// Where the terminal writes.
    pub stdout_port: i32,
}

/// What the row of a session says of its terminal.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn find(postgres: &Postgres, id: Uuid) -> Result<Option<TerminalRow>, PgError> {
    const SQL: &str = "SELECT status::text, status_info, agent_addr, kernel_host, stdin_port, stdout_port \
         FROM kernels WHERE id = $1";
    let read = |row: tokio_postgres::Row| TerminalRow {
        status: row.get::<_, Option<String>>(0).unwrap_or_default(),
        status_info: row.get(1),
        agent_addr: row.get(2),
        kernel_host: row.get(3),
        stdin_port: row.get(4),
        stdout_port: row.get(5),
    };
    Ok(postgres.query_opt(SQL, &[&id]).await?.map(read))
}

/// A key's sessions of that name that ended at most `seconds` ago.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn ended_lately(
    postgres: &Postgres,
    access_key: &str,
    sess_id: &str,
    seconds: f64,
) -> Result<Vec<Uuid>, PgError> {
    const SQL: &str = "SELECT id FROM kernels WHERE access_key = $1 AND sess_id = $2 AND role = 'master' \
         AND status IN ('TERMINATED', 'ERROR') AND terminated_at > now() - make_interval(secs => $3) \
         ORDER BY terminated_at LIMIT 16";
    let rows = postgres.query(SQL, &[&access_key, &sess_id, &seconds]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
