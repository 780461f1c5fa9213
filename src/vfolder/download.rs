//! Downloads: files that are open, read piece by piece as the client takes them.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Error, FolderPath, Folders, Permission,
    fs::{Folder, FsError, Opened},
};
use crate::{engine, store::postgres::vfolders};

/// Most files of one download: each is a descriptor while it lasts.
pub const MAX_DOWNLOAD_FILES: usize = 256;

/// Bytes that are read at once.
pub const PIECE: usize = 64 << 10;

/// The files of one request, in its order.
#[derive(Debug)]
pub struct Download {
    files: Vec<Source>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Source {
    path: FolderPath,
    opened: Arc<Opened>,
}

// === impl Folders ===

impl Folders {
    /// Opens files of a folder.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooManyFiles`], or of a path.
    pub async fn download(&self, key: &str, name: &str, paths: Vec<FolderPath>) -> Result<Download, Error> {
        if paths.len() > MAX_DOWNLOAD_FILES {
            return Err(Error::TooManyFiles(MAX_DOWNLOAD_FILES));
        }
        let (id, folder) = self.open(key, name, Permission::ReadOnly).await?;
        let files = engine::offload(move || paths.into_iter().map(|path| open(&folder, path)).collect());
        let files: Result<Vec<Source>, FsError> = files.await;
        if let Err(error) = vfolders::touch(&self.postgres, id).await {
            tracing::debug!(%error, "a folder's last use is not noted");
        }
        Ok(Download { files: files? })
    }
}

fn open(folder: &Folder, path: FolderPath) -> Result<Source, FsError> {
    let opened = Arc::new(folder.open_file(&path)?);
    Ok(Source { path, opened })
}

// === impl Download ===

impl Download {
    /// The files.
    #[must_use]
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files.iter().map(Source::size).sum()
    }
}

// === impl Source ===

impl Source {
    /// The path as the client named it.
    #[must_use]
    pub fn path(&self) -> &FolderPath {
        &self.path
    }

    /// Bytes: as many are given, or the download is broken off.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.opened.size()
    }

    /// At most [`PIECE`] bytes from an offset on; empty at the end.
    ///
    /// # Errors
    /// The file became shorter, or the volume fails.
    pub async fn read(&self, offset: u64) -> Result<Bytes, Error> {
        let opened = self.opened.clone();
        Ok(engine::offload(move || opened.read(offset, PIECE)).await?.into())
    }
}
