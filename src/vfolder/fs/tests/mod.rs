//! Against a real file system.

mod escapes;
mod races;
mod work;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::*;

/// A volume with one folder, and beside it what nobody may reach.
struct Volume {
    dir: tempfile::TempDir,
    id: Uuid,
    folder: Folder,
}

const SECRET: &str = "nobody may read or change this";

impl Volume {
    fn new() -> Volume {
        let dir = tempfile::tempdir().unwrap();
        let id = Uuid::new_v4();
        let folder = Folder::create(&dir.path().join("volume"), id).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), SECRET).unwrap();
        Volume { dir, id, folder }
    }

    /// The volume's own directory.
    fn volume(&self) -> PathBuf {
        self.dir.path().join("volume")
    }

    /// A place in the folder, as a session that has it mounted names it.
    fn at(&self, path: &str) -> PathBuf {
        self.volume().join(self.id.simple().to_string()).join(path)
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Nothing outside was touched.
    fn assert_outside_is_whole(&self) {
        let names: Vec<_> = fs::read_dir(self.outside()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read_to_string(self.outside().join("secret")).unwrap(), SECRET);
    }

    fn upload(&self, path: &str, content: &str) -> Result<Usage, FsError> {
        let mut incoming = self.folder.begin_upload(p(path))?;
        incoming.write(content.as_bytes())?;
        let mut staged = incoming.finish()?;
        let counted = staged.usage();
        let placed = staged.place();
        let change = counted.minus(staged.end());
        placed.map(|()| change)
    }

    fn download(&self, path: &str) -> Result<String, FsError> {
        let opened = self.folder.open_file(&p(path))?;
        Ok(String::from_utf8(opened.read(0, 1 << 20)?).unwrap())
    }

    fn remove(&self, path: &str) -> Result<Usage, FsError> {
        Ok(finish(self.folder.take(&p(path))?))
    }

    fn names(&self, path: Option<&str>) -> Result<Vec<String>, FsError> {
        let entries = self.folder.list(path.map(p).as_ref())?;
        Ok(entries.into_iter().map(|entry| entry.filename).collect())
    }

    fn count(&self) -> Usage {
        let mut walk = self.folder.walk(SystemTime::now());
        while !walk.step(3).unwrap() {}
        walk.counted()
    }

    /// What is in the folder's directory, reserved names too.
    fn all_names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.at("")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn p(path: &str) -> FolderPath {
    FolderPath::parse(path).unwrap()
}

fn finish(mut removal: Removal) -> Usage {
    while !removal.step(3).unwrap() {}
    removal.removed()
}

fn usage(files: i64, kib: i64) -> Usage {
    Usage { files, kib }
}

fn link(to: impl AsRef<Path>, at: PathBuf) {
    symlink(to, at).unwrap();
}
