//! Table `audit_log`: who did what, on what, when, from where, and how it went.
//!
//! An entry is inserted before what it tells of is begun, and what cannot be noted is not done. Its outcome is
//! entered before the action is answered; an entry without one was broken off, and may or may not have been done.
//! The statements stand apart from the functions since `backendai-manager` runs them over a connection of another kind.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Row, types::ToSql};

use super::{
    PgError, Postgres,
    admin::{AdminError, Page},
};

/// What is begun.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Who: an access key; for `backendai-manager`, who ran it, `user@host`.
    pub actor: &'a str,
    /// By which way.
    pub via: Via,
    /// The client's address, if it came over a network.
    pub source: Option<&'a str>,
    /// The request's id, as in the log.
    pub request_id: Option<&'a str>,
    /// The mutation, the route or the command.
    pub action: &'a str,
    /// `keypair`, `agent`, `session`, `image`, `alias`, ….
    pub target_type: &'a str,
    /// What it is done to, by name.
    pub target: &'a str,
    /// What was asked for, without secrets.
    pub detail: &'a Value,
}

/// By which way an administrator came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The admin API.
    Graphql,
    /// The REST API, acting for another key.
    Rest,
    /// `backendai-manager`.
    Manager,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not done, for this reason.
    Refused(String),
    /// Something broke; it may have been done in part.
    Failed(String),
}

/// An entry as it is read.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Its place in the log.
    pub id: i64,
    /// When it was begun.
    pub at: Timestamp,
    /// See [`Entry`].
    pub actor: String,
    /// `graphql`, `rest` or `manager`.
    pub via: String,
    /// See [`Entry`].
    pub source: Option<String>,
    /// See [`Entry`].
    pub request_id: Option<String>,
    /// See [`Entry`].
    pub action: String,
    /// See [`Entry`].
    pub target_type: String,
    /// See [`Entry`].
    pub target: String,
    /// See [`Entry`].
    pub detail: Option<Value>,
    /// `done`, `refused`, `failed`; none where it was broken off, or goes on.
    pub outcome: Option<String>,
    /// Why it was refused or failed.
    pub message: Option<String>,
    /// When it had its outcome.
    pub ended_at: Option<Timestamp>,
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// About this target.
    pub target: Option<String>,
}

/// Characters that a column holds; what is longer is cut.
const ACTOR: usize = 64;
const REQUEST_ID: usize = 128;
const TARGET: usize = 256;

/// Inserts an entry (parameters: [`Entry::columns`]) and gives its id.
pub const NOTE: &str = "INSERT INTO audit_log (actor, via, source, request_id, action, target_type, target, detail) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";

/// Enters an outcome: id, outcome, message.
pub const CLOSE: &str =
    "UPDATE audit_log SET outcome = $2, message = $3, ended_at = clock_timestamp() WHERE id = $1 AND outcome IS NULL";

/// Notes what is about to be done; gives the entry's id for [`end`].
///
/// # Errors
/// PostgreSQL is away or refuses: then it must not be done.
pub async fn begin(postgres: &Postgres, entry: &Entry<'_>) -> Result<i64, PgError> {
    let columns = entry.columns();
    let row = postgres.query_opt(NOTE, &columns.params()).await?;
    row.map(|row| row.get(0)).ok_or_else(|| PgError::Away("the audit log took no entry".into()))
}

/// Enters how it went.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn end(postgres: &Postgres, id: i64, outcome: &Outcome) -> Result<(), PgError> {
    postgres.query(CLOSE, &[&id, &outcome.name(), &outcome.message()]).await.map(drop)
}

/// Entries, newest first.
///
/// # Errors
/// PostgreSQL is away or refuses, or there are too many.
pub async fn list(postgres: &Postgres, filter: &Filter, page: Page) -> Result<Vec<AuditRow>, AdminError> {
    const SQL: &str = "SELECT id, at, actor, via, source, request_id, action, target_type, target, detail, outcome, \
         message, ended_at FROM audit_log WHERE ($1::text IS NULL OR actor = $1) AND ($2::text IS NULL OR action = $2) \
         AND ($3::text IS NULL OR target = $3) ORDER BY id DESC LIMIT least($4::bigint, $6::bigint) OFFSET $5";
    let Filter { actor, action, target } = filter;
    let rows =
        postgres.query(SQL, &[actor, action, target, &page.limit, &page.offset, &super::admin::ROWS_ASKED]).await?;
    Ok(super::admin::not_too_many(rows)?.iter().map(entry).collect())
}

fn entry(row: &Row) -> AuditRow {
    AuditRow {
        id: row.get(0),
        at: row.get(1),
        actor: row.get(2),
        via: row.get(3),
        source: row.get(4),
        request_id: row.get(5),
        action: row.get(6),
        target_type: row.get(7),
        target: row.get(8),
        detail: row.get(9),
        outcome: row.get(10),
        message: row.get(11),
        ended_at: row.get(12),
    }
}

/// An entry's values as the table takes them.
pub struct Columns<'a> {
    actor: String,
    via: &'static str,
    source: Option<&'a str>,
    request_id: Option<String>,
    action: &'a str,
    target_type: &'a str,
    target: String,
    detail: Value,
}

// === impl Entry ===

impl Entry<'_> {
    /// The values of [`NOTE`].
    #[must_use]
    pub fn columns(&self) -> Columns<'_> {
        Columns {
            actor: fitting(self.actor, ACTOR),
            via: self.via.name(),
            source: self.source,
            request_id: self.request_id.map(|id| fitting(id, REQUEST_ID)),
            action: self.action,
            target_type: self.target_type,
            target: fitting(self.target, TARGET),
            detail: without_zeros(self.detail),
        }
    }
}

/// What a client sent, as a column takes it: no longer than it is wide, and without the zero that no text may have.
fn fitting(text: &str, width: usize) -> String {
    text.replace('\0', "\u{fffd}").chars().take(width).collect()
}

/// The same without the zeros that no text of PostgreSQL may have.
fn without_zeros(value: &Value) -> Value {
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(it) => Value::String(text(it)),
        Value::Array(items) => items.iter().map(without_zeros).collect(),
        Value::Object(members) => members.iter().map(|(name, it)| (text(name), without_zeros(it))).collect(),
        other => other.clone(),
    }
}

// === impl Columns ===

impl Columns<'_> {
    /// In the order of [`NOTE`].
    #[must_use]
    pub fn params(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.actor,
            &self.via,
            &self.source,
            &self.request_id,
            &self.action,
            &self.target_type,
            &self.target,
            &self.detail,
        ]
    }
}

// === impl Via ===

impl Via {
    fn name(self) -> &'static str {
        match self {
            Via::Graphql => "graphql",
            Via::Rest => "rest",
            Via::Manager => "manager",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// As the table has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused(_) => "refused",
            Outcome::Failed(_) => "failed",
        }
    }

    /// Why it was refused or failed.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Outcome::Done => None,
            Outcome::Refused(why) | Outcome::Failed(why) => Some(why),
        }
    }
}
