//! Types `ComputeSession`, `ComputeWorker` and `Computation`: rows of `kernels`.

use std::sync::Arc;

use async_graphql::{Context, MergedObject, Object, Result};

use super::{
    Fault,
    env::{KernelList, Parent, with},
    fault::nullable,
    query::{page, status_of},
    scalar::{DateTime, Uuid},
};
use crate::store::{
    postgres::admin::kernels::{KernelRow, STATUSES, Used},
    redis::stats::KernelStats,
};

/// What all three types have.
pub struct Kernel(Arc<KernelRow>);

/// What only sessions have.
pub struct Workers(Arc<KernelRow>);

/// A session: its master kernel.
#[derive(MergedObject)]
pub struct ComputeSession(Kernel, Workers);

/// A kernel that works for a session's master.
#[derive(MergedObject)]
pub struct ComputeWorker(Kernel);

/// Any kernel: a master or a worker.
#[derive(MergedObject)]
pub struct Computation(Kernel);

/// A part of the list of sessions.
pub struct ComputeSessionList {
    /// Whose.
    pub access_key: String,
    /// Which of them.
    pub list: KernelList,
}

/// Which kernels are meant by a query's arguments.
///
/// # Errors
/// There is no such status, or a number is negative.
pub fn list(of: Parent, status: Option<String>, limit: Option<i32>, offset: Option<i32>) -> Result<KernelList, Fault> {
    Ok(KernelList { of, status: status_of(status.as_deref(), &STATUSES)?, page: page(limit, offset)? })
}

// === impl ComputeSession, ComputeWorker, Computation ===

impl ComputeSession {
    /// Of a row whose role is `master`.
    pub fn of(row: Arc<KernelRow>) -> Self {
        ComputeSession(Kernel(row.clone()), Workers(row))
    }
}

impl ComputeWorker {
    /// Of a row whose role is `worker`.
    pub fn of(row: Arc<KernelRow>) -> Self {
        ComputeWorker(Kernel(row))
    }
}

impl Computation {
    /// Of any row.
    pub fn of(row: Arc<KernelRow>) -> Self {
        Computation(Kernel(row))
    }
}

// === impl Kernel ===

impl Kernel {
    fn is_live(&self) -> bool {
        !matches!(self.0.status.as_deref(), Some("TERMINATED" | "ERROR"))
    }

    /// A statistic: of the agent's last report while the kernel lives, then of its row.
    async fn used(
        &self,
        ctx: &Context<'_>,
        live: fn(&KernelStats) -> i64,
        ended: fn(&Used) -> i64,
    ) -> Result<Option<i64>> {
        if !self.is_live() {
            return Ok(Some(ended(&self.0.used)));
        }
        let id = self.0.id;
        let stats = with(ctx, |env| async move { env.stats(id).await }).await?;
        Ok(Some(live(&stats)))
    }
}

#[Object(rename_fields = "snake_case")]
impl Kernel {
    async fn sess_id(&self) -> Option<&str> {
        self.0.sess_id.as_deref()
    }

    async fn id(&self) -> Option<Uuid> {
        Some(Uuid(self.0.id))
    }

    async fn role(&self) -> Option<&str> {
        Some(&self.0.role)
    }

    async fn lang(&self) -> Option<&str> {
        self.0.lang.as_deref()
    }

    async fn status(&self) -> Option<&str> {
        self.0.status.as_deref()
    }

    async fn status_info(&self) -> Option<&str> {
        self.0.status_info.as_deref()
    }

    async fn created_at(&self) -> Option<DateTime> {
        self.0.created_at.map(DateTime)
    }

    async fn terminated_at(&self) -> Option<DateTime> {
        self.0.terminated_at.map(DateTime)
    }

    async fn agent(&self) -> Option<&str> {
        self.0.agent.as_deref()
    }

    async fn container_id(&self) -> Option<&str> {
        self.0.container_id.as_deref()
    }

    /// MiB.
    async fn mem_slot(&self) -> Option<i64> {
        Some(self.0.mem_slot)
    }

    /// Cores.
    async fn cpu_slot(&self) -> Option<f64> {
        Some(self.0.cpu_slot)
    }

    /// GPUs.
    async fn gpu_slot(&self) -> Option<f64> {
        Some(self.0.gpu_slot)
    }

    /// Queries up to this moment.
    async fn num_queries(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        nullable(async {
            if !self.is_live() {
                return Ok(Some(self.0.num_queries));
            }
            let id = self.0.id;
            let counted = with(ctx, |env| async move { env.queries(id).await }).await?;
            Ok(Some(counted.map_or(self.0.num_queries, |queries| i64::try_from(queries).unwrap_or(i64::MAX))))
        })
        .await
    }

    /// Processor time, ms.
    async fn cpu_used(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.cpu_used.round() as i64, |ended| ended.cpu_used).await.transpose()
    }

    async fn mem_max_bytes(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.mem_max_bytes, |ended| ended.mem_max_bytes).await.transpose()
    }

    async fn mem_cur_bytes(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.mem_cur_bytes, |_| 0).await.transpose()
    }

    async fn net_rx_bytes(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.net_rx_bytes, |ended| ended.net_rx_bytes).await.transpose()
    }

    async fn net_tx_bytes(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.net_tx_bytes, |ended| ended.net_tx_bytes).await.transpose()
    }

    async fn io_read_bytes(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.io_read_bytes, |ended| ended.io_read_bytes).await.transpose()
    }

    async fn io_write_bytes(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.io_write_bytes, |ended| ended.io_write_bytes).await.transpose()
    }

    async fn io_max_scratch_size(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.io_max_scratch_size, |ended| ended.io_max_scratch_size).await.transpose()
    }

    async fn io_cur_scratch_size(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        self.used(ctx, |live| live.io_cur_scratch_size, |_| 0).await.transpose()
    }
}

// === impl Workers ===

#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl Workers {
    /// The session's workers, newest first.
    async fn workers(
        &self,
        ctx: &Context<'_>,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<ComputeWorker>>>> {
        nullable(async {
            let list = list(Parent::Session, status, limit, offset)?;
            let parent = (self.0.sess_id.clone().unwrap_or_default(), self.0.access_key.clone());
            let rows = with(ctx, |env| async move { env.kernels(list, parent).await }).await?;
            Ok(Some(rows.into_iter().map(ComputeWorker::of).map(Some).collect()))
        })
        .await
    }
}

// === impl ComputeSessionList ===

/// A part of a list of sessions, and how long the whole list is.
#[Object(rename_fields = "snake_case")]
impl ComputeSessionList {
    /// The sessions of this part, newest first.
    async fn items(&self, ctx: &Context<'_>) -> Option<Result<Vec<Option<ComputeSession>>>> {
        sessions(ctx, self.list, self.access_key.clone()).await.transpose()
    }

    /// How many there are of that key and status.
    async fn total_count(&self, ctx: &Context<'_>) -> Option<Result<i64>> {
        nullable(async {
            let (key, status) = (self.access_key.clone(), self.list.status);
            Ok(Some(with(ctx, |env| async move { env.count(&key, status).await }).await?))
        })
        .await
    }
}

/// A key's sessions.
///
/// # Errors
/// PostgreSQL is away, or there are too many.
pub async fn sessions(
    ctx: &Context<'_>,
    list: KernelList,
    access_key: String,
) -> Result<Option<Vec<Option<ComputeSession>>>> {
    let rows = with(ctx, |env| async move { env.kernels(list, (access_key, None)).await }).await?;
    Ok(Some(rows.into_iter().map(ComputeSession::of).map(Some).collect()))
}
