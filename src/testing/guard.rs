//! One server process, its folder, and the guard that outlives the test program just long enough to remove both.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::unistd::{Pid, Uid, User};

use super::free_port;

/// How long a server may take until it takes connections.
pub(super) const START_LIMIT: Duration = Duration::from_secs(60);

/// How often a server is started anew when it ends at once, as it does when somebody took its port meanwhile.
const ATTEMPTS: usize = 3;

/// A folder for one server, below the system's temporary folder, that the server's user owns.
pub(super) struct Home {
    pub(super) path: PathBuf,
    pub(super) user: Option<User>,
}

/// A running server. Dropping it ends the server and removes its folder.
pub struct Guarded {
    guard: Child,
    server: Pid,
    folder: PathBuf,
}

/// Starts a server in a new folder on a free port. `prepare` fills the folder and gives the arguments.
/// `signal` (a name without `SIG`) ends the server.
pub(super) fn serve(
    kind: &str,
    program: &Path,
    signal: &str,
    prepare: impl Fn(&Home, u16) -> Vec<String>,
) -> (Home, u16, Guarded) {
    let mut log = String::new();
    for _ in 0..ATTEMPTS {
        let (home, port) = (Home::make(kind), free_port());
        let server = home.start(program, &prepare(&home, port), signal);
        if server.wait_for(port) {
            return (home, port, server);
        }
        log = server.log();
    }
    panic!("{} ends at once; its log:\n{log}", program.display());
}

/// Where a program is: on the PATH, or in one of `also` (folders).
#[must_use]
pub fn find_program(name: &str, also: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(also.iter().cloned()).map(|folder| folder.join(name)).find(|file| file.is_file())
}

// === impl Home ===

impl Home {
    /// Makes a new folder. PostgreSQL refuses to run as root, so root gives the folder to `postgres` or `nobody`.
    pub(super) fn make(kind: &str) -> Home {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("backendai-test-{kind}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder for a test server");
        let user = Uid::effective().is_root().then(unprivileged);
        if let Some(user) = &user {
            chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("the folder's owner changed");
        }
        Home { path, user }
    }

    /// A command that runs in this folder as the folder's owner.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.path).env("HOME", &self.path).env_remove("LC_ALL").env("LANG", "C.UTF-8");
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    fn start(&self, program: &Path, args: &[String], signal: &str) -> Guarded {
        let mut command = self.command("/bin/sh");
        command.arg("-c").arg(include_str!("guard.sh")).arg("guard").arg(&self.path).arg(signal).arg(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = command.spawn().expect("/bin/sh runs");
        let mut line = String::new();
        BufReader::new(guard.stdout.take().expect("a pipe was asked for")).read_line(&mut line).expect("the pid");
        let server = Pid::from_raw(line.trim().parse().expect("guard.sh prints the server's pid"));
        Guarded { guard, server, folder: self.path.clone() }
    }
}

/// Whom a server runs as when the tests run as root.
fn unprivileged() -> User {
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .expect("a user `postgres` or `nobody` for the servers of the tests")
}

// === impl Guarded ===

impl Guarded {
    /// The server's process id, for tests that stop, resume or kill it.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.server
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Whether the server took a connection before it ended.
    fn wait_for(&self, port: u16) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let started = Instant::now();
        while started.elapsed() < START_LIMIT {
            if TcpStream::connect(address).is_ok() {
                return true;
            }
            if !self.runs() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("a test server does not answer on port {port}; its log:\n{}", self.log());
    }

    /// Whether the process is there and not a zombie that its guard has yet to collect.
    fn runs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.server)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
