//! The service against a real PostgreSQL and a real file system, on both engines' common ground.

mod folders;
mod quotas;
mod sharing;
mod transfer;

use std::{cell::Cell, path::PathBuf, rc::Rc, time::Duration};

use super::*;
use crate::{
    engine::{self, Engine},
    store::postgres::{Postgres, connect::connect, migrate::oneshot_head},
    testing,
};

/// A namespace with two users: `OWNER` (user 1), `GUEST` and `GUEST2` (user 2), and `THIRD` (user 3).
struct World {
    server: &'static testing::Postgres,
    database: String,
    dir: tempfile::TempDir,
    folders: Rc<Folders>,
}

/// Runs a test's future in a worker of its own.
fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(Rc<World>) -> F + 'static) {
    run_on(Engine::Epoll, test);
}

fn run_on<F: Future<Output = ()> + 'static>(engine: Engine, test: impl FnOnce(Rc<World>) -> F + 'static) {
    let (server, database) = make_database();
    engine::block_on(engine, move || async move {
        let world = Rc::new(World::new(server, database).await);
        test(world).await;
    })
    .unwrap();
}

/// A database with this release's schema, made by the command line's client.
fn make_database() -> (&'static testing::Postgres, String) {
    let server = testing::Postgres::shared();
    let database = server.new_database();
    let at = server.connections(&database);
    let migrate = async move { oneshot_head(&mut connect(&at, "test").await.unwrap(), |_| ()).await.unwrap() };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(migrate);
    (server, database)
}

impl World {
    async fn new(server: &'static testing::Postgres, database: String) -> World {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(server, &database, dir.path().to_owned()).await;
        let world = World { server, database, dir, folders };
        for (key, user) in [("OWNER", "1"), ("GUEST", "2"), ("GUEST2", "2"), ("THIRD", "3"), ("NOBODY", "NULL")] {
            world.sql(&format!(
                "INSERT INTO keypairs (user_id, access_key, secret_key, is_active) VALUES ({user}, '{key}', 's', true)"
            ));
        }
        world
    }

    /// Another worker of the same namespace.
    async fn worker(&self) -> Rc<Folders> {
        folders(self.server, &self.database, self.dir.path().to_owned()).await
    }

    fn sql(&self, sql: &str) -> String {
        self.server.psql(&self.database, sql)
    }

    async fn folder(&self, name: &str) -> PathBuf {
        let id = self.folders.create("OWNER", &name.parse().unwrap(), None).await.unwrap();
        self.dir.path().join("vol").join(id.simple().to_string())
    }

    /// Lets a key into a folder of OWNER.
    async fn let_in(&self, name: &str, permission: Permission, user: &str, key: &str) {
        let invited = self.folders.invite("OWNER", name, permission, &[user.to_owned()]).await.unwrap();
        assert_eq!(invited, [user]);
        let all = self.folders.invitations(key).await.unwrap();
        self.folders.accept(key, all.last().unwrap().id, key).await.unwrap();
    }

    async fn counts(&self, name: &str) -> String {
        self.sql(&format!("SELECT num_files, cur_size, writers FROM vfolders WHERE name = '{name}'"))
    }
}

async fn folders(server: &testing::Postgres, database: &str, mount: PathBuf) -> Rc<Folders> {
    let up = Rc::new(Cell::new(false));
    let heard = up.clone();
    let postgres = Postgres::start(server.connections(database), move |_| heard.set(true));
    let connected = async {
        while !up.get() {
            engine::sleep(Duration::from_millis(2)).await;
        }
    };
    engine::timeout(Duration::from_secs(30), connected).await.unwrap();
    Folders::new(postgres, move || Volumes::new(&mount, &["vol", "second"], Some("vol")))
}

/// Waits until a directory is empty: what is dropped is removed by other threads.
async fn until_empty(path: &std::path::Path) {
    let empty = async {
        while std::fs::read_dir(path).unwrap().count() > 0 {
            engine::sleep(Duration::from_millis(1)).await;
        }
    };
    engine::timeout(Duration::from_secs(30), empty).await.expect("temporary files stay");
}

fn p(path: &str) -> FolderPath {
    FolderPath::parse(path).unwrap()
}

/// Uploads files of these contents.
async fn put(folders: &Rc<Folders>, key: &str, name: &str, files: &[(&str, &[u8])]) -> Result<usize, Error> {
    let mut upload = folders.upload(key, name).await?;
    for (path, content) in files {
        let mut file = upload.begin(p(path)).await?;
        for piece in content.chunks(100_000) {
            file = file.write(piece).await?;
        }
        upload.finish(file).await?;
    }
    upload.commit().await
}

async fn get(folders: &Folders, key: &str, name: &str, path: &str) -> Result<Vec<u8>, Error> {
    let download = folders.download(key, name, vec![p(path)]).await?;
    let file = &download.files()[0];
    let mut content = Vec::new();
    loop {
        let piece = file.read(content.len() as u64).await?;
        if piece.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(&piece);
    }
}
