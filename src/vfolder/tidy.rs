//! Mending what killed processes and sessions, which write without being counted, leave behind.

use std::{path::PathBuf, time::SystemTime};

use uuid::Uuid;

use super::{
    Error, Folders,
    folders::{STEP, remove},
    fs::{Folder, FsError, Usage, Walk},
};
use crate::{
    engine,
    store::postgres::vfolders::{self, Quota},
};

// === impl Folders ===

impl Folders {
    /// Counts the folders after one (by id) anew, at most `limit` of them, and clears temporary files away that are
    /// older than a day; the last of them, or `None` if there are no more. For the leader, from time to time.
    ///
    /// # Errors
    /// PostgreSQL is away. A volume that is away is logged and passed over.
    pub async fn tidy(&self, after: Option<Uuid>, limit: i64) -> Result<Option<Uuid>, Error> {
        let folders = vfolders::after(&self.postgres, after.unwrap_or(Uuid::nil()), limit).await?;
        let mut last = None;
        for (id, host) in folders {
            last = Some(id);
            let done = match self.volumes().path(&host) {
                Ok(volume) => self.recount(id, volume).await.map(drop),
                Err(error) => Err(error),
            };
            match done {
                Err(Error::Postgres(error)) => return Err(error.into()),
                Err(error) => tracing::warn!(%error, folder = %id.simple(), "a folder cannot be counted"),
                Ok(()) => {}
            }
        }
        Ok(last)
    }

    /// Removes what is left of whole folders that were removed, on every volume that is there.
    pub async fn clear_volumes(&self) {
        let volumes = self.volumes();
        for volume in volumes.hosts().filter_map(|host| volumes.path(host).ok()) {
            let left = engine::offload(move || Folder::left_over(&volume)).await.unwrap_or_default();
            for removal in left {
                if let (_, Err(error)) = remove(removal).await {
                    tracing::warn!(%error, "the rest of a removed folder cannot be removed");
                }
            }
        }
    }

    /// Counts a folder, and corrects its row unless somebody changed it meanwhile: then a later count does.
    pub(super) async fn recount(&self, id: Uuid, volume: PathBuf) -> Result<Usage, Error> {
        let seen = vfolders::quota(&self.postgres, id).await?.ok_or(Error::NotFound)?;
        let folder = engine::offload(move || Folder::open(&volume, id)).await?;
        let found = count(folder.walk(SystemTime::now())).await?;
        if is_off(&seen, found) {
            vfolders::recount(&self.postgres, id, &seen, found.files, found.kib).await?;
        }
        Ok(found)
    }
}

fn is_off(seen: &Quota, found: Usage) -> bool {
    (seen.num_files, seen.cur_size) != (found.files, found.kib)
}

async fn count(mut walk: Walk) -> Result<Usage, FsError> {
    loop {
        let (back, done) = engine::offload(move || {
            let done = walk.step(STEP);
            (walk, done)
        })
        .await;
        walk = back;
        if done? {
            return Ok(walk.counted());
        }
    }
}
