//! Table `vfolders`: folders, what they hold, and which sessions have them.
//!
//! What must be atomic is one function of migration 6.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    store::postgres::{PgError, Postgres},
    vfolder::Permission,
};

/// A folder as an agent mounts it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// The folder's name, which is also where it appears.
    pub name: String,
    /// The volume it is on.
    pub host: String,
    /// Its id.
    pub id: Uuid,
    /// Whether it may be read only.
    pub read_only: bool,
}

/// A folder as a key sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Accessible {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The volume it is on.
    pub host: String,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Whether it is the key's own.
    pub is_owner: bool,
    /// What the key may do with it.
    pub permission: Permission,
}

/// How many files and KiB a folder holds and may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Files, as counted.
    pub num_files: i64,
    /// Most files; `None`: any number.
    pub max_files: Option<i64>,
    /// KiB, as counted.
    pub cur_size: i64,
    /// Most KiB; `None`: any number.
    pub max_size: Option<i64>,
    /// How many changes of its files ever began: see [`recount`].
    pub writes: i64,
}

/// Where in a change of a folder's files something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the files change.
    Begin,
    /// Meanwhile.
    Middle,
    /// After they have changed; never refused.
    End,
}

/// What became of a new folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// It is there.
    Done,
    /// The key has, or was let into, one of that name.
    Exists,
    /// The key is unknown or inactive.
    NoKey,
}

/// What became of a folder's removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delete {
    /// It is gone.
    Done,
    /// The key does not own it, or it is gone already.
    NotFound,
    /// A live session has it.
    InUse,
}

/// What became of more files or KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// They are counted.
    Done,
    /// The folder is gone.
    NotFound,
    /// There would be too many files.
    TooManyFiles,
    /// It would be too large.
    TooLarge,
}

/// Those of a key's folders that have one of these names: its own, and those that it was let into.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn mounts(postgres: &Postgres, access_key: &str, names: &[String]) -> Result<Vec<Mount>, PgError> {
    const SQL: &str = "SELECT DISTINCT ON (name) name, host, id, permission = 'ro' \
         FROM backendai_accessible_vfolders WHERE access_key = $1 AND name = ANY($2) \
         ORDER BY name, is_owner DESC, created_at, id";
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows = postgres.query(SQL, &[&access_key, &names]).await?;
    Ok(rows.iter().map(mount).collect())
}

/// Makes a folder.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn create(
    postgres: &Postgres,
    id: Uuid,
    host: &str,
    name: &str,
    access_key: &str,
) -> Result<Create, PgError> {
    const SQL: &str = "SELECT backendai_vfolder_create($1, $2, $3, $4)";
    let answer = text(postgres.query_opt(SQL, &[&id, &host, &name, &access_key]).await?);
    Ok(match answer.as_str() {
        "ok" => Create::Done,
        "exists" => Create::Exists,
        _ => Create::NoKey,
    })
}

/// All folders that a key owns or was let into, oldest first.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn list(postgres: &Postgres, access_key: &str) -> Result<Vec<Accessible>, PgError> {
    const SQL: &str = "SELECT id, name, host, created_at, is_owner, permission::text \
         FROM backendai_accessible_vfolders WHERE access_key = $1 ORDER BY created_at, id";
    let rows = postgres.query(SQL, &[&access_key]).await?;
    Ok(rows.iter().map(accessible).collect())
}

/// The folder that a key means by a name; its own before one of another.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn find(postgres: &Postgres, access_key: &str, name: &str) -> Result<Option<Accessible>, PgError> {
    const SQL: &str = "SELECT id, name, host, created_at, is_owner, permission::text \
         FROM backendai_accessible_vfolders WHERE access_key = $1 AND name = $2 \
         ORDER BY is_owner DESC, created_at, id LIMIT 1";
    Ok(postgres.query_opt(SQL, &[&access_key, &name]).await?.as_ref().map(accessible))
}

/// Removes a folder that a key owns. With `force` also while a live session has it.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn delete(postgres: &Postgres, id: Uuid, access_key: &str, force: bool) -> Result<Delete, PgError> {
    const SQL: &str = "SELECT backendai_vfolder_delete($1, $2, $3)";
    let answer = text(postgres.query_opt(SQL, &[&id, &access_key, &force]).await?);
    Ok(match answer.as_str() {
        "ok" => Delete::Done,
        "in-use" => Delete::InUse,
        _ => Delete::NotFound,
    })
}

/// Notes that a session has these folders; how many of them there still are.
///
/// # Errors
/// PostgreSQL is away or refuses (the session is unknown).
pub async fn attach(postgres: &Postgres, kernel: Uuid, folders: &[Uuid]) -> Result<usize, PgError> {
    const SQL: &str = "WITH used AS (UPDATE vfolders SET last_used = now() WHERE id = ANY($2) RETURNING id), \
         noted AS (INSERT INTO vfolder_attachment (vfolder, kernel) SELECT id, $1 FROM used ON CONFLICT DO NOTHING) \
         SELECT count(*) FROM used";
    if folders.is_empty() {
        return Ok(0);
    }
    let row = postgres.query_opt(SQL, &[&kernel, &folders]).await?;
    Ok(row.map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
}

/// Notes that a session has no folders any more.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn detach(postgres: &Postgres, kernel: Uuid) -> Result<(), PgError> {
    const SQL: &str = "DELETE FROM vfolder_attachment WHERE kernel = $1";
    postgres.query(SQL, &[&kernel]).await.map(drop)
}

/// Notes that a folder was used now.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn touch(postgres: &Postgres, id: Uuid) -> Result<(), PgError> {
    const SQL: &str = "UPDATE vfolders SET last_used = now() WHERE id = $1";
    postgres.query(SQL, &[&id]).await.map(drop)
}

/// What a folder holds and may hold.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn quota(postgres: &Postgres, id: Uuid) -> Result<Option<Quota>, PgError> {
    const SQL: &str = "SELECT coalesce(num_files, 0)::int8, max_files::int8, coalesce(cur_size, 0)::int8, \
         max_size::int8, writes FROM vfolders WHERE id = $1";
    let row = postgres.query_opt(SQL, &[&id]).await?;
    Ok(row.map(|row| Quota {
        num_files: row.get(0),
        max_files: row.get(1),
        cur_size: row.get(2),
        max_size: row.get(3),
        writes: row.get(4),
    }))
}

/// Counts more or fewer files and KiB, unless that led over a limit. Less of something is never refused. Each
/// change of a folder's files is one count that says [`Moment::Begin`] and one that says [`Moment::End`].
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn count(postgres: &Postgres, id: Uuid, files: i64, kib: i64, moment: Moment) -> Result<Count, PgError> {
    const SQL: &str = "SELECT backendai_vfolder_count($1, $2, $3, $4)";
    let writers: i32 = match moment {
        Moment::Begin => 1,
        Moment::Middle => 0,
        Moment::End => -1,
    };
    let answer = text(postgres.query_opt(SQL, &[&id, &files, &kib, &writers]).await?);
    Ok(match answer.as_str() {
        "ok" => Count::Done,
        "files" => Count::TooManyFiles,
        "size" => Count::TooLarge,
        _ => Count::NotFound,
    })
}

/// Sets what a folder holds to what was found in it, unless somebody began to change it since `seen` or is at it;
/// whether it was set.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn recount(postgres: &Postgres, id: Uuid, seen: &Quota, files: i64, kib: i64) -> Result<bool, PgError> {
    const SQL: &str = "SELECT backendai_vfolder_recount($1, $2, $3, $4)";
    let row = postgres.query_opt(SQL, &[&id, &seen.writes, &files, &kib]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// The folders of the whole namespace after one, by id: id and volume, at most `limit` of them.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn after(postgres: &Postgres, id: Uuid, limit: i64) -> Result<Vec<(Uuid, String)>, PgError> {
    const SQL: &str = "SELECT id, host FROM vfolders WHERE id > $1 ORDER BY id LIMIT $2";
    let rows = postgres.query(SQL, &[&id, &limit]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn mount(row: &Row) -> Mount {
    Mount { name: row.get(0), host: row.get(1), id: row.get(2), read_only: row.get(3) }
}

fn accessible(row: &Row) -> Accessible {
    Accessible {
        id: row.get(0),
        name: row.get(1),
        host: row.get(2),
        created_at: row.get(3),
        is_owner: row.get(4),
        permission: permission(row.get(5)),
    }
}

/// The column is an enum of these three.
pub(super) fn permission(text: &str) -> Permission {
    text.parse().unwrap_or(Permission::ReadOnly)
}

fn text(row: Option<Row>) -> String {
    row.map(|row| row.get(0)).unwrap_or_default()
}
