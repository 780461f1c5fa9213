//! What the commands do, noted in the audit log: who ran them, on what, and how it went.
//!
//! An entry is there before the action begins, and what cannot be noted is not done.

use nix::unistd::{Uid, User, gethostname};
use serde_json::Value;
use tokio_postgres::{Client, error::SqlState};

use super::CliError;
use crate::store::postgres::{
    audit::{BEGIN, END, Entry, Outcome, Via},
    explain,
};

/// Does `work`, and notes it: begun before, and how it went after.
///
/// # Errors
/// The work's own; or it was not begun, since it could not be noted; or it was done, and only its outcome is not noted.
pub async fn noted<T>(
    client: &Client,
    action: &str,
    target_type: &str,
    target: &str,
    detail: &Value,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let actor = actor();
    let entry =
        Entry { actor: &actor, via: Via::Manager, source: None, request_id: None, action, target_type, target, detail };
    let id: i64 = client.query_one(BEGIN, &entry.columns().params()).await.map_err(no_log)?.get(0);
    let done = work.await;
    let outcome = match &done {
        Ok(_) => Outcome::Done,
        Err(CliError::Refused(why)) => Outcome::Refused(why.clone()),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    match (client.execute(END, &[&id, &outcome.name(), &outcome.message()]).await, done) {
        (Err(error), Ok(_)) => Err(CliError::Refused(format!(
            "{action} of {target} was done, but the audit log could not be told so: {}",
            explain(&error)
        ))),
        (_, done) => done,
    }
}

/// Who runs this program: `user@host`.
fn actor() -> String {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let host = gethostname().map_or_else(|_| "localhost".into(), |host| host.to_string_lossy().into_owned());
    format!("{user}@{host}")
}

fn no_log(error: tokio_postgres::Error) -> CliError {
    match error.code() {
        Some(code) if *code == SqlState::UNDEFINED_TABLE => {
            CliError::Refused("the database has no audit log yet: run `backendai-manager schema upgrade`".into())
        }
        _ => error.into(),
    }
}
