//! The gateway under test, as its operator and its clients see it.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command as Process, ExitStatus, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use backendai_gateway::control::{Command, Reply, ask};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// No step of a test takes longer, on however slow a machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that is ended with its value.
pub struct Gateway {
    pub child: Child,
    pub ports: [u16; 3],
    pub api: SocketAddr,
    pub socket: PathBuf,
    pub log: PathBuf,
    pub folder: Rc<TempDir>,
}

impl Gateway {
    /// One whose workers all serve.
    pub fn start(args: &[&str]) -> Self {
        let gateway = Self::launch(args);
        gateway.until("running");
        gateway
    }

    pub fn start_at(ports: [u16; 3], folder: &Rc<TempDir>, args: &[&str]) -> Self {
        let gateway = Self::launch_at(ports, folder, "next.log", args);
        gateway.until("running");
        gateway
    }

    pub fn launch(args: &[&str]) -> Self {
        Self::launch_at(free_ports(), &Rc::new(tempfile::tempdir().unwrap()), "log", args)
    }

    pub fn launch_at(ports: [u16; 3], folder: &Rc<TempDir>, log: &str, args: &[&str]) -> Self {
        Self::launch_with(ports, folder, log, args, &[])
    }

    pub fn launch_with(
        ports: [u16; 3],
        folder: &Rc<TempDir>,
        log: &str,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let (socket, log) = (folder.path().join("control.sock"), folder.path().join(log));
        let [api, events, admin] = ports.map(|port| port.to_string());
        let mut command = Process::new(env::current_exe().unwrap());
        command.args(["--as-gateway", "--engine", "epoll", "--service-ip", "127.0.0.1"]);
        command.args(["--control-socket", socket.to_str().unwrap()]);
        for (option, value) in [("--service-port", &api), ("--events-port", &events), ("--admin-port", &admin)] {
            if !args.contains(&option) {
                command.args([option, value]);
            }
        }
        command.args(args).envs(variables.iter().copied()).stdin(Stdio::null()).stderr(File::create(&log).unwrap());
        let api = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        let child = command.spawn().unwrap();
        Gateway { child, ports, api, socket, log, folder: Rc::clone(folder) }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn ask(&self, command: Command) -> Reply {
        ask(&self.socket, command).unwrap_or_else(|error| panic!("{command:?}: {error}\n{}", self.log()))
    }

    pub fn status(&self) -> serde_json::Value {
        self.ask(Command::Status).data
    }

    /// Waits until the supervisor says that it is in this state.
    pub fn until(&self, state: &str) -> serde_json::Value {
        let mut last = serde_json::Value::Null;
        eventually(state, || {
            last = ask(&self.socket, Command::Status).map(|reply| reply.data).unwrap_or_default();
            last["state"] == state
        });
        last
    }

    pub fn pids(&self) -> BTreeSet<i32> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap();
        workers.iter().map(|worker| worker["pid"].as_i64().unwrap().try_into().unwrap()).collect()
    }

    pub fn wait_for(&self, what: &str, is: impl Fn(&BTreeSet<i32>) -> bool) {
        eventually(what, || is(&self.pids()));
    }

    /// Asks until so many workers have answered.
    pub fn pids_that_answer(&self, count: usize) -> BTreeSet<i32> {
        let mut pids = BTreeSet::new();
        for _ in 0..50 * count {
            pids.insert(self.get().0);
        }
        assert_eq!(pids.len(), count);
        pids
    }

    pub fn get(&self) -> (i32, String) {
        get(self.api).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        if thread::panicking() {
            println!("{}", self.log());
        }
    }
}

/// Requests one after the other, on two threads, until stopped.
pub struct Load {
    end: Arc<AtomicBool>,
    broken: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<usize>>,
}

impl Load {
    pub fn start(address: SocketAddr) -> Self {
        let (end, broken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..2).map(|_| {
            let (end, broken) = (Arc::clone(&end), Arc::clone(&broken));
            thread::spawn(move || {
                let mut answered = 0;
                while !end.load(Ordering::Relaxed) {
                    match get(address) {
                        Ok(_) => answered += 1,
                        Err(_) => drop(broken.fetch_add(1, Ordering::Relaxed)),
                    }
                }
                answered
            })
        });
        Load { threads: threads.collect(), end, broken }
    }

    /// How many requests were answered, and how many broke.
    pub fn stop(self) -> (usize, usize) {
        self.end.store(true, Ordering::Relaxed);
        let answered = self.threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        (answered, self.broken.load(Ordering::Relaxed))
    }
}

/// Who answers: the worker's pid, and the word that it was configured with.
pub fn get(address: SocketAddr) -> io::Result<(i32, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    let parts = body.as_deref().and_then(|body| body.split_once(' '));
    let (pid, word) = parts.ok_or_else(|| io::Error::other(format!("no answer but {answer:?}")))?;
    Ok((pid.parse().map_err(io::Error::other)?, word.to_owned()))
}

pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process runs; one that has ended and is not reaped yet does not.
pub fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Three ports outside of those that the kernel gives to clients.
pub fn free_ports() -> [u16; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + (std::process::id() % 8000) as u16;
    std::array::from_fn(|_| {
        loop {
            let port = 20_000 + (start - 20_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
            if TcpListener::bind(("0.0.0.0", port)).is_ok() {
                return port;
            }
        }
    })
}
