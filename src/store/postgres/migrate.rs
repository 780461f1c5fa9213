//! Where a database's schema stands, and how it becomes this release's.
//!
//! Migration 1 is the schema of existing installations, which Alembic made and marked in `alembic_version`; it
//! runs only on an empty database, and a database with that mark stands at 1. The later ones add to it and take
//! nothing away, so that a manager of release 1.0 goes on working beside this one. `alembic_version` is kept
//! for it, and what was applied here is noted in `backendai_migrations`.
//!
//! Each migration runs in a transaction of its own that first takes an advisory lock and then looks again where
//! the schema stands, so that two nodes that start at once do not collide.

use jiff::Timestamp;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::explain;

/// The Alembic revision of migration 1: the newest of release 1.0.4 of the original manager.
pub const ALEMBIC_HEAD: &str = "c3e74dcf1808";

/// The advisory lock of migrations: "backend" in ASCII.
const LOCK: i64 = 0x0062_6163_6b65_6e64;

/// One step of the schema.
#[derive(Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its place in the order, from 1.
    pub version: i32,
    /// Its file's name, without `.sql`.
    pub name: &'static str,
    sql: &'static str,
}

/// Where a database's schema stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The newest migration that was applied; 0 for an empty database.
    pub version: i32,
    /// What `alembic_version` says, for a manager of release 1.0.
    pub alembic: Option<String>,
    has_ledger: bool,
}

/// A migration that this database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its place in the order.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When it was applied, or when a database that Alembic made was taken over.
    pub applied_at: Timestamp,
}

/// Why a schema cannot be used, or not be made current.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// There are no tables.
    #[error("the database has no tables yet: run `backendai-manager schema oneshot head`")]
    Empty,
    /// Migrations are missing.
    #[error("the database schema is at {at}, this release needs {needed}: run `backendai-manager schema upgrade`")]
    TooOld {
        /// The newest migration that was applied.
        at: i32,
        /// The newest migration of this release.
        needed: i32,
    },
    /// A newer release has migrated it.
    #[error(
        "the database schema is at {at}, this release knows up to {known}: install the release that made it \
         (`backendai-manager schema show` tells what was applied)"
    )]
    TooNew {
        /// The newest migration that was applied.
        at: i32,
        /// The newest migration of this release.
        known: i32,
    },
    /// Alembic made it, but not up to the revision that migration 1 equals.
    #[error(
        "the database is at Alembic revision {revision}, which this release cannot take over: bring it to \
         {ALEMBIC_HEAD} with the Python manager (`alembic upgrade {ALEMBIC_HEAD}`, from a newer one `alembic \
         downgrade {ALEMBIC_HEAD}`), then run `backendai-manager schema upgrade`"
    )]
    OtherAlembic {
        /// What `alembic_version` says.
        revision: String,
    },
    /// There are tables of an installation, but no mark of how new they are.
    #[error(
        "the database has tables but no row in alembic_version: if release 1.0.4 of the Python manager made them, \
         run its `alembic stamp {ALEMBIC_HEAD}`, then `backendai-manager schema upgrade`"
    )]
    Unmarked,
    /// `oneshot` is for empty databases.
    #[error("the database is not empty (its schema is at {at}): run `backendai-manager schema upgrade`")]
    NotEmpty {
        /// The newest migration that was applied.
        at: i32,
    },
    /// A migration failed and was undone.
    #[error("migration {name} failed and changed nothing: {}", explain(.error))]
    Failed {
        /// The migration's name.
        name: &'static str,
        /// What PostgreSQL said.
        error: tokio_postgres::Error,
    },
    /// PostgreSQL refused a query or went away.
    #[error("{}", explain(.0))]
    Database(#[from] tokio_postgres::Error),
}

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $name, ".sql")),
        }),*]
    };
}

/// All migrations of this release, in order.
pub static MIGRATIONS: &[Migration] = migrations![
    1 "0001_existing_schema",
    2 "0002_session_state",
    3 "0003_one_live_session",
    4 "0004_notify",
    5 "0005_session_functions",
    6 "0006_vfolder_sharing",
    7 "0007_admin_lists",
    8 "0008_administration",
    9 "0009_reconcile",
    10 "0010_read_only_mounts",
];

/// Which tables tell where a schema stands.
const LOOK: &str = "SELECT to_regclass('backendai_migrations') IS NOT NULL, to_regclass('alembic_version') IS NOT \
                    NULL, coalesce(to_regclass('keypairs'), to_regclass('kernels'), to_regclass('agents')) IS NOT NULL";

const MAKE_LEDGER: &str = "CREATE TABLE IF NOT EXISTS backendai_migrations (version integer PRIMARY KEY, \
                           name varchar(128) NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";

const NOTE: &str = "INSERT INTO backendai_migrations (version, name) VALUES ($1, $2)";

/// The newest migration of this release.
#[must_use]
pub fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |it| it.version)
}

/// Refuses a schema that a gateway of this release cannot work on.
///
/// # Errors
/// The schema is missing, too old, too new or not known; the message names the command that mends it.
pub async fn check(client: &Client) -> Result<(), SchemaError> {
    let standing = standing(client).await?;
    match standing.version {
        0 => Err(SchemaError::Empty),
        at if at < newest() => Err(SchemaError::TooOld { at, needed: newest() }),
        _ => Ok(()),
    }
}

/// Where the schema of a database stands.
///
/// # Errors
/// It is newer than this release, or stands where this release has no way on from.
pub async fn standing(client: &impl GenericClient) -> Result<Standing, SchemaError> {
    let row = client.query_one(LOOK, &[]).await?;
    let (has_ledger, has_alembic, has_tables): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    let alembic = if has_alembic { alembic_revision(client).await? } else { None };
    let ours = if has_ledger { newest_applied(client).await? } else { None };
    judge(ours, alembic, has_tables, has_ledger)
}

/// The migrations that a database has, oldest first. One that Alembic made and nobody has upgraded yet has none.
///
/// # Errors
/// As [`standing`].
pub async fn applied(client: &impl GenericClient) -> Result<Vec<Applied>, SchemaError> {
    if !client.query_one(LOOK, &[]).await?.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT version, name, applied_at FROM backendai_migrations ORDER BY version", &[]).await?;
    Ok(rows.iter().map(|it| Applied { version: it.get(0), name: it.get(1), applied_at: it.get(2) }).collect())
}

/// The migrations that a database lacks, in order.
///
/// # Errors
/// As [`standing`].
pub async fn pending(client: &impl GenericClient) -> Result<&'static [Migration], SchemaError> {
    Ok(standing(client).await?.pending())
}

/// Applies what is pending, and tells of each migration as it is done. Each one is kept even if a later one fails.
///
/// # Errors
/// As [`standing`], or a migration failed; that one then changed nothing.
pub async fn upgrade(client: &mut Client, mut done: impl FnMut(&'static Migration)) -> Result<(), SchemaError> {
    while let Some(migration) = step(client).await? {
        done(migration);
    }
    Ok(())
}

/// Makes an empty database current; one that is current already stays as it is.
///
/// # Errors
/// As [`upgrade`], and [`SchemaError::NotEmpty`] for a database that only `upgrade` may change.
pub async fn oneshot_head(client: &mut Client, done: impl FnMut(&'static Migration)) -> Result<(), SchemaError> {
    match standing(client).await?.version {
        0 => upgrade(client, done).await,
        at if at == newest() => Ok(()),
        at => Err(SchemaError::NotEmpty { at }),
    }
}

// === impl Migration ===

impl Migration {
    /// Its statements.
    #[must_use]
    pub fn sql(&self) -> &'static str {
        self.sql
    }
}

// === impl Standing ===

impl Standing {
    /// The migrations that are yet to come, in order.
    #[must_use]
    pub fn pending(&self) -> &'static [Migration] {
        let first = MIGRATIONS.iter().position(|it| it.version > self.version).unwrap_or(MIGRATIONS.len());
        MIGRATIONS.get(first..).unwrap_or_default()
    }
}

/// The rules of where a schema stands. `ours`: the newest row of our own ledger.
fn judge(
    ours: Option<i32>,
    alembic: Option<String>,
    has_tables: bool,
    has_ledger: bool,
) -> Result<Standing, SchemaError> {
    let version = match (&alembic, ours) {
        (Some(revision), _) if revision != ALEMBIC_HEAD => {
            return Err(SchemaError::OtherAlembic { revision: revision.clone() });
        }
        (_, Some(at)) if at > newest() => return Err(SchemaError::TooNew { at, known: newest() }),
        (_, Some(at)) => at,
        (Some(_), None) => 1,
        (None, None) if has_tables => return Err(SchemaError::Unmarked),
        (None, None) => 0,
    };
    Ok(Standing { version, alembic, has_ledger })
}

async fn alembic_revision(client: &impl GenericClient) -> Result<Option<String>, tokio_postgres::Error> {
    let row = client.query_opt("SELECT version_num FROM alembic_version LIMIT 1", &[]).await?;
    Ok(row.map(|it| it.get(0)))
}

async fn newest_applied(client: &impl GenericClient) -> Result<Option<i32>, tokio_postgres::Error> {
    Ok(client.query_one("SELECT max(version) FROM backendai_migrations", &[]).await?.get(0))
}

/// Applies the next migration, if there is one.
async fn step(client: &mut Client) -> Result<Option<&'static Migration>, SchemaError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let standing = standing(&transaction).await?;
    let Some(next) = standing.pending().first() else { return Ok(None) };
    let failed = |error| SchemaError::Failed { name: next.name, error };
    apply(&transaction, &standing, next).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(Some(next))
}

async fn apply(
    transaction: &Transaction<'_>,
    standing: &Standing,
    next: &Migration,
) -> Result<(), tokio_postgres::Error> {
    transaction.batch_execute(next.sql).await?;
    if !standing.has_ledger {
        transaction.batch_execute(MAKE_LEDGER).await?;
        for past in MIGRATIONS.iter().filter(|it| it.version <= standing.version) {
            transaction.execute(NOTE, &[&past.version, &past.name]).await?;
        }
    }
    transaction.execute(NOTE, &[&next.version, &next.name]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Option<String> {
        Some(ALEMBIC_HEAD.to_owned())
    }

    #[test]
    fn every_file_of_the_folder_is_a_migration_in_its_place() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
        let mut files: Vec<String> = folder.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let names: Vec<String> = MIGRATIONS.iter().map(|it| format!("{}.sql", it.name)).collect();
        assert_eq!(files, names);
        for (place, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, place);
            assert!(migration.name.starts_with(&format!("{place:04}_")), "{}", migration.name);
        }
    }

    #[test]
    fn a_schema_stands_where_its_marks_say() {
        assert_eq!(judge(None, None, false, false).unwrap().version, 0);
        assert_eq!(judge(None, head(), true, false).unwrap().version, 1);
        assert_eq!(judge(Some(3), head(), true, true).unwrap().version, 3);
        assert_eq!(judge(Some(3), None, true, true).unwrap().version, 3);
        assert_eq!(judge(Some(3), head(), true, true).unwrap().pending().first().unwrap().version, 4);
        assert_eq!(judge(Some(newest()), head(), true, true).unwrap().pending(), &[]);
    }

    #[test]
    fn a_schema_with_no_way_on_is_refused_with_what_to_do() {
        let message = |it: Result<Standing, SchemaError>| it.unwrap_err().to_string();
        let unmarked = message(judge(None, None, true, false));
        assert!(unmarked.contains("alembic stamp c3e74dcf1808"), "{unmarked}");
        let earlier = message(judge(None, Some("57e717103287".into()), true, false));
        assert!(earlier.contains("revision 57e717103287") && earlier.contains("upgrade c3e74dcf1808"), "{earlier}");
        let newer = message(judge(Some(newest() + 1), head(), true, true));
        assert!(newer.contains("install the release"), "{newer}");
    }
}
