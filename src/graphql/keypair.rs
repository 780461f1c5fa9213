//! Type `KeyPair`.

use std::sync::Arc;

use async_graphql::{Context, Object, Result};

use super::{
    env::{Parent, with},
    fault::nullable,
    kernel::{self, ComputeSession},
    query::page,
    scalar::DateTime,
    usage::Usage,
    vfolder::VirtualFolder,
};
use crate::store::postgres::admin::keypairs::KeypairRow;

/// A key pair.
pub struct KeyPair(pub Arc<KeypairRow>);

impl KeyPair {
    async fn usage(&self, ctx: &Context<'_>) -> Result<Usage> {
        let key = self.0.access_key.clone();
        Ok(with(ctx, |env| async move { env.usage(key).await }).await?)
    }
}

/// A key pair. A limit that is null does not limit.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl KeyPair {
    async fn user_id(&self) -> Option<i32> {
        self.0.user_id
    }

    async fn access_key(&self) -> Option<&str> {
        Some(&self.0.access_key)
    }

    async fn secret_key(&self) -> Option<&str> {
        self.0.secret_key.as_ref().map(|secret| secret.reveal())
    }

    async fn is_active(&self) -> Option<bool> {
        self.0.is_active
    }

    async fn is_admin(&self) -> Option<bool> {
        self.0.is_admin
    }

    async fn resource_policy(&self) -> Option<&str> {
        self.0.resource_policy.as_deref()
    }

    async fn created_at(&self) -> Option<DateTime> {
        self.0.created_at.map(DateTime)
    }

    async fn last_used(&self, ctx: &Context<'_>) -> Option<Result<DateTime>> {
        nullable(async { Ok(self.usage(ctx).await?.last.max(self.0.last_used).map(DateTime)) }).await
    }

    async fn concurrency_limit(&self) -> Option<i32> {
        self.0.concurrency_limit
    }

    async fn concurrency_used(&self) -> Option<i32> {
        self.0.concurrency_used
    }

    /// Requests in a window of 15 minutes.
    async fn rate_limit(&self) -> Option<i32> {
        self.0.rate_limit
    }

    /// Queries up to this moment.
    async fn num_queries(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        nullable(async { Ok(Some(self.usage(ctx).await?.queries)) }).await
    }

    /// The folders that it owns, by name.
    async fn vfolders(
        &self,
        ctx: &Context<'_>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<VirtualFolder>>>> {
        nullable(async {
            let (page, key) = (page(limit, offset)?, self.0.access_key.clone());
            let rows = with(ctx, |env| async move { env.folders(page, key).await }).await?;
            Ok(Some(rows.into_iter().map(VirtualFolder).map(Some).collect()))
        })
        .await
    }

    /// Its sessions, living and ended, newest first.
    async fn compute_sessions(
        &self,
        ctx: &Context<'_>,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<ComputeSession>>>> {
        nullable(async {
            let list = kernel::list(Parent::Key, status, limit, offset)?;
            kernel::sessions(ctx, list, self.0.access_key.clone()).await
        })
        .await
    }
}
