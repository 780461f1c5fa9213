//! A private PostgreSQL: `initdb` and `postgres` from the PATH or from Debian's folders.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    find_program,
    guard::{Guarded, Home, START_LIMIT, serve},
};
use crate::config::{Connections, HostPort, Secret};

/// The superuser of a test server.
const USER: &str = "postgres";
/// Its password, which is asked for over TCP.
const PASSWORD: &str = "test-secret";

/// A running PostgreSQL with the user `postgres`; TCP asks for a password, the Unix socket does not.
pub struct Postgres {
    /// The server process.
    pub server: Guarded,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    /// The folder of its Unix socket.
    pub socket_dir: PathBuf,
    bin: PathBuf,
}

impl Postgres {
    /// Starts a new server with an empty cluster. Data is not synced to disk.
    #[must_use]
    pub fn start() -> Postgres {
        let bin = bin_dir();
        let (home, port, server) = serve("pg", &bin.join("postgres"), "QUIT", |home, port| {
            make_cluster(home, &bin);
            arguments(&home.path, port)
        });
        let postgres = Postgres { server, port, socket_dir: home.path, bin };
        postgres.wait_until_it_answers();
        postgres
    }

    /// The server that all tests of this program share; it ends with the program.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// Makes a new, empty database and returns its name.
    #[must_use]
    pub fn new_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", &[&name]);
        name
    }

    /// Runs SQL with `psql` as somebody other than the code under test; returns what it printed, unaligned.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.run("psql", &["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql])
    }

    /// The options that lead to a database of this server.
    #[must_use]
    pub fn connections(&self, database: &str) -> Connections {
        let local = |port| HostPort { host: "127.0.0.1".into(), port };
        Connections {
            namespace: "local".into(),
            etcd_addr: vec![local(2379)],
            redis_addr: local(6379),
            db_addr: local(self.port),
            db_name: database.into(),
            db_user: USER.into(),
            db_password: Some(Secret::new(PASSWORD)),
            db_password_file: None,
        }
    }

    /// A server that starts takes connections before it takes sessions.
    fn wait_until_it_answers(&self) {
        let started = Instant::now();
        while !self.output("pg_isready", &["-q"]).status.success() {
            assert!(started.elapsed() < START_LIMIT, "PostgreSQL does not start; its log:\n{}", self.server.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.output(program, args);
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {problem}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn output(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.bin.join(program));
        command.args(["-h".as_ref(), self.socket_dir.as_os_str()]).args(["-p", &self.port.to_string(), "-U", USER]);
        command.args(args).output().expect("PostgreSQL's client programs run")
    }
}

/// The folder with `initdb` and `postgres` of the newest PostgreSQL of this machine.
fn bin_dir() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    folders.reverse();
    let initdb = find_program("initdb", &folders).expect("PostgreSQL's server programs (Debian: postgresql)");
    let initdb = initdb.canonicalize().expect("initdb was just found");
    initdb.parent().expect("a file has a folder").to_owned()
}

fn make_cluster(home: &Home, bin: &Path) {
    let password_file = home.path.join("password");
    std::fs::write(&password_file, PASSWORD).expect("the password file written");
    let mut command = home.command(bin.join("initdb"));
    command.args(["--no-sync", "--encoding=UTF8", "--no-locale", "--auth-local=trust", "--auth-host=scram-sha-256"]);
    command.args(["-U", USER]).arg("--pwfile").arg(&password_file).arg("-D").arg(home.path.join("data"));
    let output = command.output().expect("initdb runs");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

fn arguments(folder: &Path, port: u16) -> Vec<String> {
    let folder = folder.display();
    let data = format!("{folder}/data");
    let settings = [
        "listen_addresses=127.0.0.1".into(),
        format!("port={port}"),
        format!("unix_socket_directories={folder}"),
        "fsync=off".into(),
        "synchronous_commit=off".into(),
        "full_page_writes=off".into(),
        "max_connections=200".into(),
        "shared_buffers=32MB".into(),
    ];
    ["-D".into(), data].into_iter().chain(settings.into_iter().flat_map(|it| ["-c".to_owned(), it])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_apart_and_the_server_ends_with_its_handle() {
        let postgres = Postgres::start();
        let (one, two) = (postgres.new_database(), postgres.new_database());
        postgres.psql(&one, "create table t (n int); insert into t values (7)");
        assert_eq!(postgres.psql(&one, "select n from t"), "7");
        assert_eq!(postgres.psql(&two, "select to_regclass('t') is null"), "t");
        let (pid, folder) = (postgres.server.pid(), postgres.socket_dir.clone());
        drop(postgres);
        assert!(nix::sys::signal::kill(pid, None).is_err(), "the server still runs");
        assert!(!folder.exists(), "its folder is still there");
    }
}
