//! Removing files.

use std::rc::Rc;

use super::{
    Error, FolderPath, Folders, Permission,
    aside::to_the_end,
    folders::remove,
    fs::{Folder, Found, FsError, Removal, Usage},
};
use crate::{engine, store::postgres::vfolders::Moment};

// === impl Folders ===

impl Folders {
    /// Removes files, and, if `recursive`, directories with what is in them. If a path is wrong, nothing is removed.
    /// Goes on to its end if the future is dropped.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotPermitted`], or of a path.
    pub async fn delete_files(
        self: &Rc<Self>,
        key: &str,
        name: &str,
        paths: Vec<FolderPath>,
        recursive: bool,
    ) -> Result<(), Error> {
        let (id, folder) = self.open(key, name, Permission::WriteDelete).await?;
        let this = self.clone();
        to_the_end(async move {
            this.count(id, Usage::default(), Moment::Begin).await?;
            let (taken, mut result) = engine::offload(move || take(&folder, &paths, recursive)).await;
            let mut gone = Usage::default();
            for removal in taken {
                let (removed, ended) = remove(removal).await;
                gone = gone.plus(removed);
                result = result.and(ended);
            }
            this.end_change(id, gone).await;
            Ok(result?)
        })
        .await
    }
}

/// Those that are taken out of the folder, up to the first that cannot be.
fn take(folder: &Folder, paths: &[FolderPath], recursive: bool) -> (Vec<Removal>, Result<(), FsError>) {
    if let Err(problem) = paths.iter().try_for_each(|path| check(folder, path, recursive)) {
        return (Vec::new(), Err(problem));
    }
    let mut taken = Vec::with_capacity(paths.len());
    for path in paths {
        match folder.take(path) {
            Ok(removal) => taken.push(removal),
            // Named twice, or inside of another one.
            Err(FsError::NotFound(_)) => {}
            Err(problem) => return (taken, Err(problem)),
        }
    }
    (taken, Ok(()))
}

fn check(folder: &Folder, path: &FolderPath, recursive: bool) -> Result<(), FsError> {
    match folder.find(path)? {
        Found::Directory if !recursive => Err(FsError::IsADirectory(path.to_string())),
        _ => Ok(()),
    }
}
