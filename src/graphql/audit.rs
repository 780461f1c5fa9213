//! Type `AuditEntry`: who did what.

use async_graphql::{Context, Object, Result};

use super::{Fault, env::with, fault::nullable, query::page, scalar::DateTime};
use crate::store::postgres::audit::{self, AuditRow, Filter};

/// Entries that a query gives where it says no limit.
const SHOWN: i32 = 100;

/// The audit log's queries.
#[derive(Default)]
pub struct AuditQuery;

/// An entry of the audit log.
pub struct AuditEntry(AuditRow);

/// The audit log.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl AuditQuery {
    /// What administrators did, newest first: 100 entries, unless `limit` says otherwise.
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        actor: Option<String>,
        action: Option<String>,
        target: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<AuditEntry>>>> {
        nullable(async {
            let page = page(limit.or(Some(SHOWN)), offset)?;
            let filter = Filter { actor, action, target };
            let rows = with(ctx, |env| async move { audit::list(&env.postgres, &filter, page).await });
            let rows = rows.await.map_err(Fault::from)?;
            Ok(Some(rows.into_iter().map(AuditEntry).map(Some).collect()))
        })
        .await
    }
}

/// An entry of the audit log. One without an outcome was broken off, or goes on: it may or may not have been done.
#[Object(rename_fields = "snake_case")]
impl AuditEntry {
    /// Its place in the log.
    async fn id(&self) -> Option<String> {
        Some(self.0.id.to_string())
    }

    /// When it was begun.
    async fn at(&self) -> Option<DateTime> {
        Some(DateTime(self.0.at))
    }

    /// Who: an access key; of `backendai-manager`, who ran it, `user@host`.
    async fn actor(&self) -> Option<&str> {
        Some(&self.0.actor)
    }

    /// By which way: `graphql`, `rest` or `manager`.
    async fn via(&self) -> Option<&str> {
        Some(&self.0.via)
    }

    /// The client's address, if it came over a network.
    async fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// As in the gateway's log.
    async fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The mutation, the route or the command.
    async fn action(&self) -> Option<&str> {
        Some(&self.0.action)
    }

    /// What kind of thing it was done to: `keypair`, `agent`, `session`, `vfolder`, `image`, `alias`, ….
    async fn target_type(&self) -> Option<&str> {
        Some(&self.0.target_type)
    }

    /// Its name.
    async fn target(&self) -> Option<&str> {
        Some(&self.0.target)
    }

    /// What was asked for, without secrets: JSON.
    async fn detail(&self) -> Option<String> {
        self.0.detail.as_ref().filter(|detail| !detail.is_null()).map(ToString::to_string)
    }

    /// `done`, `refused` or `failed`.
    async fn outcome(&self) -> Option<&str> {
        self.0.outcome.as_deref()
    }

    /// Why it was refused or failed.
    async fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// When it had its outcome.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }
}
