//! Type `VirtualFolder`.

use std::sync::Arc;

use async_graphql::Object;

use super::scalar::{DateTime, Uuid};
use crate::store::postgres::admin::vfolders::VfolderRow;

/// A virtual folder.
pub struct VirtualFolder(pub Arc<VfolderRow>);

/// A virtual folder. Sizes are in KiB.
#[Object(rename_fields = "snake_case")]
impl VirtualFolder {
    async fn id(&self) -> Option<Uuid> {
        Some(Uuid(self.0.id))
    }

    async fn host(&self) -> Option<&str> {
        Some(&self.0.host)
    }

    async fn name(&self) -> Option<&str> {
        Some(&self.0.name)
    }

    async fn max_files(&self) -> Option<i32> {
        self.0.max_files
    }

    async fn max_size(&self) -> Option<i32> {
        self.0.max_size
    }

    async fn created_at(&self) -> Option<DateTime> {
        self.0.created_at.map(DateTime)
    }

    async fn last_used(&self) -> Option<DateTime> {
        self.0.last_used.map(DateTime)
    }

    async fn num_files(&self) -> Option<i32> {
        self.0.num_files
    }

    async fn cur_size(&self) -> Option<i32> {
        self.0.cur_size
    }
}
