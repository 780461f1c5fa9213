//! Type `Agent`.

use std::sync::Arc;

use async_graphql::{Context, Object, Result};

use super::{
    env::{Parent, with},
    fault::nullable,
    kernel::{self, Computation},
    scalar::DateTime,
};
use crate::store::postgres::admin::agents::AgentRow;

/// A compute node.
pub struct Agent(pub Arc<AgentRow>);

/// A compute node. Memory is in MiB, processors and GPUs in fractions of devices.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl Agent {
    async fn id(&self) -> Option<&str> {
        Some(&self.0.id)
    }

    async fn status(&self) -> Option<&str> {
        Some(&self.0.status)
    }

    async fn region(&self) -> Option<&str> {
        Some(&self.0.region)
    }

    async fn mem_slots(&self) -> Option<i64> {
        Some(self.0.mem_slots)
    }

    async fn cpu_slots(&self) -> Option<f64> {
        Some(self.0.cpu_slots)
    }

    async fn gpu_slots(&self) -> Option<f64> {
        Some(self.0.gpu_slots)
    }

    async fn used_mem_slots(&self) -> Option<i64> {
        Some(self.0.used_mem_slots)
    }

    async fn used_cpu_slots(&self) -> Option<f64> {
        Some(self.0.used_cpu_slots)
    }

    async fn used_gpu_slots(&self) -> Option<f64> {
        Some(self.0.used_gpu_slots)
    }

    async fn addr(&self) -> Option<&str> {
        Some(&self.0.addr)
    }

    async fn first_contact(&self) -> Option<DateTime> {
        self.0.first_contact.map(DateTime)
    }

    async fn lost_at(&self) -> Option<DateTime> {
        self.0.lost_at.map(DateTime)
    }

    /// Whether it gets new sessions.
    async fn schedulable(&self) -> Option<bool> {
        Some(self.0.schedulable)
    }

    /// From when on its sessions are ended.
    async fn drain_at(&self) -> Option<DateTime> {
        self.0.drain_at.map(DateTime)
    }

    /// What runs or ran on it, masters and workers, newest first.
    async fn computations(
        &self,
        ctx: &Context<'_>,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<Computation>>>> {
        nullable(async {
            let list = kernel::list(Parent::Agent, status, limit, offset)?;
            let parent = (self.0.id.clone(), None);
            let rows = with(ctx, |env| async move { env.kernels(list, parent).await }).await?;
            Ok(Some(rows.into_iter().map(Computation::of).map(Some).collect()))
        })
        .await
    }
}
