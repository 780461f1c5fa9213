//! Folders themselves: made, listed, looked at, removed; and the directories in them.

use std::{path::PathBuf, rc::Rc};

use uuid::Uuid;

use super::{
    Accessible, Error, FolderName, FolderPath, Limit, Permission, Volumes,
    aside::to_the_end,
    fs::{Entry, Folder, FsError, Removal, Usage},
};
use crate::{
    engine,
    store::postgres::{
        Postgres,
        vfolders::{self, Count, Create, Delete, Moment},
    },
};

/// A worker's virtual folders. Keys are access keys that were authenticated.
pub struct Folders {
    pub(super) postgres: Postgres,
    volumes: Box<dyn Fn() -> Volumes>,
}

/// What a folder is and holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Its row.
    pub folder: Accessible,
    /// Files in the whole tree, and their KiB, counted now.
    pub usage: Usage,
}

/// Things that are looked at or removed in one go on a thread for files.
pub(super) const STEP: usize = 2000;

// === impl Folders ===

impl Folders {
    /// On these stores; `volumes` gives the volumes as they are configured now.
    pub fn new(postgres: Postgres, volumes: impl Fn() -> Volumes + 'static) -> Rc<Self> {
        Rc::new(Folders { postgres, volumes: Box::new(volumes) })
    }

    /// Makes a folder on a volume, or on the default one; its id.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::BadHost`], [`Error::NoHost`], [`Error::KeyInactive`].
    pub async fn create(&self, key: &str, name: &FolderName, host: Option<&str>) -> Result<Uuid, Error> {
        let volumes = (self.volumes)();
        let host = volumes.choose(host)?;
        if vfolders::find(&self.postgres, key, name.as_str()).await?.is_some() {
            return Err(Error::AlreadyExists);
        }
        // Files first: a row must not exist without its directory, which agents would then make as they like.
        let (id, volume) = (Uuid::new_v4(), volumes.path(host)?);
        let made_at = volume.clone();
        engine::offload(move || Folder::create(&made_at, id)).await?;
        let created = vfolders::create(&self.postgres, id, host, name.as_str(), key).await;
        if !matches!(created, Ok(Create::Done)) {
            self.remove_files(volume, id).await.unwrap_or_else(|error| left_behind(id, &error));
        }
        match created? {
            Create::Done => Ok(id),
            Create::Exists => Err(Error::AlreadyExists),
            Create::NoKey => Err(Error::KeyInactive),
        }
    }

    /// All folders that a key owns or was let into.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn list(&self, key: &str) -> Result<Vec<Accessible>, Error> {
        Ok(vfolders::list(&self.postgres, key).await?)
    }

    /// What a folder is and holds. Its counts are mended if they were off.
    ///
    /// # Errors
    /// [`Error::NotFound`], or its volume is away.
    pub async fn info(&self, key: &str, name: &str) -> Result<Info, Error> {
        let folder = self.find(key, name, Permission::ReadOnly).await?;
        let usage = self.recount(folder.id, self.volume(&folder)?).await?;
        Ok(Info { folder, usage })
    }

    /// Removes a folder with its files, which go in the background. With `force` also while a live session has it,
    /// and while its volume is away.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotOwner`], [`Error::InUse`].
    pub async fn delete(self: &Rc<Self>, key: &str, name: &str, force: bool) -> Result<(), Error> {
        let folder = self.find(key, name, Permission::ReadOnly).await?;
        if !folder.is_owner {
            return Err(Error::NotOwner);
        }
        let volume = self.volume(&folder)?;
        if !force {
            let volume = volume.clone();
            engine::offload(move || Folder::check_volume(&volume)).await?;
        }
        let (this, key) = (self.clone(), key.to_owned());
        to_the_end(async move {
            match vfolders::delete(&this.postgres, folder.id, &key, force).await? {
                Delete::Done => {}
                Delete::NotFound => return Err(Error::NotFound),
                Delete::InUse => return Err(Error::InUse),
            }
            this.remove_files(volume, folder.id).await.unwrap_or_else(|error| left_behind(folder.id, &error));
            Ok(())
        })
        .await
    }

    /// Makes a directory with those above it; one that exists is fine.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotPermitted`], or of its path.
    pub async fn make_directory(&self, key: &str, name: &str, path: FolderPath) -> Result<(), Error> {
        let (_, files) = self.open(key, name, Permission::ReadWrite).await?;
        Ok(engine::offload(move || files.make_directory(&path)).await?)
    }

    /// What is in a directory (`None`: the folder's own).
    ///
    /// # Errors
    /// [`Error::NotFound`], or of its path.
    pub async fn files(&self, key: &str, name: &str, path: Option<FolderPath>) -> Result<Vec<Entry>, Error> {
        let (_, files) = self.open(key, name, Permission::ReadOnly).await?;
        Ok(engine::offload(move || files.list(path.as_ref())).await?)
    }

    /// The folder that a key means, if it may do with it what takes `needed`.
    pub(super) async fn find(&self, key: &str, name: &str, needed: Permission) -> Result<Accessible, Error> {
        let folder = vfolders::find(&self.postgres, key, name).await?.ok_or(Error::NotFound)?;
        if folder.permission.allows(needed) { Ok(folder) } else { Err(Error::NotPermitted(needed)) }
    }

    /// The same, and its files.
    pub(super) async fn open(&self, key: &str, name: &str, needed: Permission) -> Result<(Uuid, Folder), Error> {
        let folder = self.find(key, name, needed).await?;
        let (id, volume) = (folder.id, self.volume(&folder)?);
        Ok((id, engine::offload(move || Folder::open(&volume, id)).await?))
    }

    pub(super) fn volumes(&self) -> Volumes {
        (self.volumes)()
    }

    fn volume(&self, folder: &Accessible) -> Result<PathBuf, Error> {
        self.volumes().path(&folder.host)
    }

    /// Counts what is added, if the folder may hold it.
    pub(super) async fn count(&self, id: Uuid, change: Usage, moment: Moment) -> Result<(), Error> {
        match vfolders::count(&self.postgres, id, change.files, change.kib, moment).await? {
            Count::Done => Ok(()),
            Count::NotFound => Err(Error::NotFound),
            Count::TooManyFiles => Err(Error::QuotaExceeded(Limit::Files)),
            Count::TooLarge => Err(Error::QuotaExceeded(Limit::Size)),
        }
    }

    /// Ends a change, and counts off what is gone or was never added. If that fails, the counts are too high until
    /// they are mended.
    pub(super) async fn end_change(&self, id: Uuid, gone: Usage) {
        if let Err(error) = self.count(id, Usage::default().minus(gone), Moment::End).await {
            tracing::warn!(%error, folder = %id.simple(), "the counts of a folder are off until it is counted anew");
        }
    }

    /// Takes a folder's files away at once, and removes them in the background.
    async fn remove_files(&self, volume: PathBuf, id: Uuid) -> Result<(), FsError> {
        if let Some(removal) = engine::offload(move || Folder::take_away(&volume, id)).await? {
            engine::spawn(async move {
                let (_, result) = remove(removal).await;
                result.unwrap_or_else(|error| left_behind(id, &error));
            });
        }
        Ok(())
    }
}

/// Removes something step by step; what was removed, and whether that is all.
pub(super) async fn remove(mut removal: Removal) -> (Usage, Result<(), FsError>) {
    /// A session that goes on making files in a removed directory must not keep a task for ever.
    const STEPS: usize = 100_000;
    for _ in 0..STEPS {
        let (back, done) = engine::offload(move || {
            let done = removal.step(STEP);
            (removal, done)
        })
        .await;
        removal = back;
        match done {
            Ok(true) => return (removal.removed(), Ok(())),
            Ok(false) => {}
            Err(error) => return (removal.removed(), Err(error)),
        }
    }
    (removal.removed(), Ok(()))
}

fn left_behind(id: Uuid, error: &FsError) {
    tracing::warn!(%error, folder = %id.simple(), "files of a folder that is gone are left on its volume");
}
