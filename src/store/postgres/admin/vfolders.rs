//! Table `vfolders`, as the admin API shows it: the folders that a key pair owns.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{AdminError, Page, ROWS_ASKED, by_parent, not_too_many};
use crate::store::postgres::Postgres;

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct VfolderRow {
    /// Its id.
    pub id: Uuid,
    /// The volume it is on.
    pub host: String,
    /// Its name.
    pub name: String,
    /// Most files.
    pub max_files: Option<i32>,
    /// Most KiB.
    pub max_size: Option<i32>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When a session last had it.
    pub last_used: Option<Timestamp>,
    /// Files.
    pub num_files: Option<i32>,
    /// KiB.
    pub cur_size: Option<i32>,
}

fn vfolder(row: &Row) -> VfolderRow {
    VfolderRow {
        id: row.get(1),
        host: row.get(2),
        name: row.get(3),
        max_files: row.get(4),
        max_size: row.get(5),
        created_at: row.get(6),
        last_used: row.get(7),
        num_files: row.get(8),
        cur_size: row.get(9),
    }
}

/// The folders of each of these access keys, by name.
///
/// # Errors
/// PostgreSQL is away or refuses, or there are too many.
pub async fn of_keys(postgres: &Postgres, keys: &[String], page: Page) -> Result<Vec<Vec<VfolderRow>>, AdminError> {
    const SQL: &str = "SELECT p.n, v.id, v.host, v.name, v.max_files, v.max_size, v.created_at, v.last_used, \
         v.num_files, v.cur_size FROM unnest($1::text[]) WITH ORDINALITY AS p(key, n) \
         CROSS JOIN LATERAL (SELECT * FROM vfolders WHERE belongs_to = p.key \
         ORDER BY name, id LIMIT $2 OFFSET $3) AS v ORDER BY p.n, v.name, v.id LIMIT $4";
    let rows = postgres.query(SQL, &[&keys, &page.limit, &page.offset, &ROWS_ASKED]).await?;
    Ok(by_parent(&not_too_many(rows)?, keys.len(), vfolder))
}
