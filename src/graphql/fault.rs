//! Why a resolver gave nothing.

use crate::store::postgres::{PgError, admin::AdminError, explain};

/// What a client is told; [`async_graphql::Error`] keeps it as its source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A store failed. What it said is in the log, not in the answer.
    #[error("a store could not be asked")]
    Broken,
}

/// A resolver's result in the order in which a fault makes the field null, and nothing around it.
pub async fn nullable<T>(
    resolved: impl Future<Output = async_graphql::Result<Option<T>>>,
) -> Option<async_graphql::Result<T>> {
    resolved.await.transpose()
}

impl Fault {
    /// A failure of ours, noted in the log.
    pub fn broken(why: &str) -> Self {
        tracing::error!(why, "a GraphQL query failed");
        Fault::Broken
    }
}

impl From<PgError> for Fault {
    fn from(error: PgError) -> Self {
        match &error {
            // Class 22 of SQL's errors: data that no column can hold, such as a text with a zero in it.
            PgError::Refused(refused) if refused.code().is_some_and(|code| code.code().starts_with("22")) => {
                Fault::Invalid(explain(refused))
            }
            PgError::Refused(refused) => Fault::broken(&explain(refused)),
            PgError::Away(_) => Fault::broken(&error.to_string()),
        }
    }
}

impl From<crate::registry::Error> for Fault {
    fn from(error: crate::registry::Error) -> Self {
        match error {
            crate::registry::Error::Postgres(error) => error.into(),
            error => Fault::broken(&error.to_string()),
        }
    }
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Postgres(error) => error.into(),
            AdminError::TooMany => Fault::Invalid(error.to_string()),
        }
    }
}
