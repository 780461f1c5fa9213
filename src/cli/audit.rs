//! Notes what a command changes in the audit log: begun before it is done, its outcome before it is answered. What
//! cannot be noted is not done.

use std::future::Future;

use nix::unistd::{Uid, User, gethostname};
use serde_json::Value;
use tokio_postgres::{Client, error::SqlState};

use super::CliError;
use crate::store::postgres::{
    audit::{self, Entry, Outcome, Via},
    migrate,
};

/// Does `work`, noted as `action` on `target`. `detail` is what was asked for, without secrets.
///
/// # Errors
/// Those of `work`; or the log took no entry, and `work` was not begun; or it took no outcome.
pub async fn noted<T>(
    client: &Client,
    action: &str,
    target_type: &str,
    target: &str,
    detail: &Value,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let id = begin(client, action, target_type, target, detail).await?;
    let result = work.await;
    let outcome = result.as_ref().map_or_else(outcome, |_| Outcome::Done);
    let entered = client.execute(audit::CLOSE, &[&id, &outcome.name(), &outcome.message()]).await;
    match (result, entered) {
        (Ok(_), Err(error)) => Err(CliError::NotEntered { action: action.to_owned(), error }),
        (result, _) => result,
    }
}

async fn begin(
    client: &Client,
    action: &str,
    target_type: &str,
    target: &str,
    detail: &Value,
) -> Result<i64, CliError> {
    let actor = actor();
    let entry =
        Entry { actor: &actor, via: Via::Manager, source: None, request_id: None, action, target_type, target, detail };
    match client.query_one(audit::NOTE, &entry.columns().params()).await {
        Ok(row) => Ok(row.get(0)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            // The schema is too old, and that message names the command that mends it.
            migrate::check(client).await?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Who runs this: `user@host`.
fn actor() -> String {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |it| it.name);
    let host = gethostname().unwrap_or_default();
    format!("{user}@{}", host.to_string_lossy())
}

/// What was refused changed nothing; of what failed nobody knows.
fn outcome(error: &CliError) -> Outcome {
    match error {
        CliError::Refused(why) => Outcome::Refused(why.clone()),
        CliError::Content { .. } | CliError::Read { .. } | CliError::Unconfirmed { .. } | CliError::Declined => {
            Outcome::Refused(error.to_string())
        }
        other => Outcome::Failed(other.to_string()),
    }
}
