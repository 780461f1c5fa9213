//! An agent with its own etcd and Redis, and a gateway that records events.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU16, AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use backendai::wire::{
    event::{Event, EventKind},
    rpc::{Answer, Header, RemoteError, Request},
    value::get,
    zmtp::{self, Limits, Session, SocketType},
};
use rmpv::Value;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything a test talks to.
pub struct World {
    pub agent: Agent,
    pub events: Events,
    pub redis_port: u16,
    pub etcd_port: u16,
    _servers: Vec<Server>,
    folder: tempfile::TempDir,
}

/// An agent that is ended with the test.
pub struct Agent {
    process: Child,
    pub port: u16,
}

struct Server(Child);

/// What the agent told.
pub struct Events {
    pub port: u16,
    received: mpsc::Receiver<Event>,
}

/// A connection of calls.
pub struct Client {
    stream: TcpStream,
    session: Session,
    next: u32,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody has, below the range of outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 11_000).unwrap();
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (start + offset) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The living processes that bear a kernel's mark.
pub fn processes_of(kernel: &str) -> Vec<i32> {
    let entry = format!("BACKENDAI_KERNEL_ID={kernel}");
    let bears = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(bears).collect()
}

/// Whether a process is there and no zombie.
pub fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

// === impl World ===

impl World {
    /// A world whose agent serves.
    pub fn start() -> World {
        World::with(&[])
    }

    /// Likewise, with more options.
    pub fn with(options: &[&str]) -> World {
        let folder = tempfile::Builder::new().prefix("bai").tempdir().unwrap();
        let (etcd_port, etcd) = start_etcd(folder.path());
        let (redis_port, redis) = start_redis(folder.path());
        let events = Events::listen();
        let agent = Agent::start(etcd_port, folder.path(), options); // it waits for what comes now
        std::fs::create_dir_all(folder.path().join("volumes/local")).unwrap();
        put(etcd_port, "volumes/_mount", folder.path().join("volumes").to_str().unwrap());
        put(etcd_port, "nodes/redis", &format!("127.0.0.1:{redis_port}"));
        put(etcd_port, "nodes/manager/event_addr", &format!("127.0.0.1:{}", events.port));
        put(etcd_port, "nodes/manager", "i-test");
        let mut world = World { agent, events, redis_port, etcd_port, _servers: vec![etcd, redis], folder };
        world.events.next(|kind| matches!(kind, EventKind::Started));
        world
    }

    /// A new connection of calls.
    pub fn client(&self) -> Client {
        Client::connect(self.agent.port)
    }

    /// Where kernels' folders are.
    pub fn scratch(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// A virtual folder with a file in it: the mount of it, and where it is.
    pub fn folder(&self, name: &str, mode: Option<&str>) -> (Value, PathBuf) {
        let id =
            format!("{:032x}", u128::from_be_bytes(std::array::from_fn(|at| *name.as_bytes().get(at).unwrap_or(&0))));
        let path = self.folder.path().join("volumes/local").join(&id);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), name).unwrap();
        let mut mount = vec![Value::from(name), "local".into(), id.into()];
        mount.extend(mode.map(Value::from));
        (Value::Array(mount), path)
    }

    /// Ends the agent by this signal and waits for that.
    pub fn end_agent(&mut self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.agent.process.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
        self.agent.process.wait().unwrap();
    }

    /// Starts another agent in the place of the ended one.
    pub fn start_agent_again(&mut self, options: &[&str]) {
        self.agent = Agent::start(self.etcd_port, self.folder.path(), options);
    }

    /// A value of etcd.
    pub fn get(&self, key: &str) -> String {
        let endpoint = format!("127.0.0.1:{}", self.etcd_port);
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoint, "get", "--print-value-only", &format!("/sorna/local/{key}")])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Writes a key of etcd.
pub fn put(port: u16, key: &str, value: &str) {
    let endpoint = format!("127.0.0.1:{port}");
    wait_until("etcd takes a key", || {
        let mut put = Command::new("etcdctl");
        put.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint, "put", &format!("/sorna/local/{key}"), value]);
        put.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    });
}

fn start_etcd(folder: &Path) -> (u16, Server) {
    let (client, peer) = (free_port(), free_port());
    let url = |port| format!("http://127.0.0.1:{port}");
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder.join("etcd")).args(["--log-level", "error", "--unsafe-no-fsync"]);
    command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
    command.args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)]);
    command.args(["--initial-cluster", &format!("default={}", url(peer))]);
    (client, Server(quiet(&mut command)))
}

fn start_redis(folder: &Path) -> (u16, Server) {
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
    (port, Server(quiet(&mut command)))
}

fn quiet(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

// === impl Agent ===

impl Agent {
    fn start(etcd_port: u16, folder: &Path, options: &[&str]) -> Agent {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_backendai-agent"));
        command.args(["--insecure", "--agent-id", "i-agent", "--agent-port", &port.to_string()]);
        command.args(["--etcd-addr", &format!("127.0.0.1:{etcd_port}"), "--scratch-root"]).arg(folder.join("s"));
        command.args(options);
        let log = std::fs::File::options().create(true).append(true).open(folder.join("agent.log")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Agent { process, port }
    }
}

// === impl Events ===

impl Events {
    /// Takes events on a new port.
    pub fn listen() -> Events {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (tell, received) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                std::thread::spawn(move || take_events(stream, &tell));
            }
        });
        Events { port, received }
    }

    /// The next event of this kind; others are dropped.
    pub fn next(&mut self, wanted: impl Fn(&EventKind) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.received.recv_timeout(left).expect("the event never came");
            if wanted(&event.kind) {
                return event;
            }
        }
    }

    /// The reason that the end of this kernel is told with.
    pub fn end_of(&mut self, kernel: &str) -> String {
        let event = self.next(|kind| matches!(kind, EventKind::KernelTerminated { id, .. } if id == kernel));
        match event.kind {
            EventKind::KernelTerminated { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn take_events(mut stream: TcpStream, tell: &mpsc::Sender<Event>) {
    let mut session = Session::new(SocketType::Pull, b"", Limits::EVENTS);
    while let Some(event) = next_event(&mut stream, &mut session) {
        if let zmtp::Event::Message(frames) = event {
            let _ = tell.send(Event::parse(&frames).unwrap());
        }
    }
}

/// The next event of a connection; none once it is closed.
pub fn next_event(stream: &mut TcpStream, session: &mut Session) -> Option<zmtp::Event> {
    loop {
        let event = session.next_event().unwrap();
        let out = session.output().split();
        stream.write_all(&out).ok()?;
        if event.is_some() {
            return event;
        }
        let mut buffer = vec![0; 64 << 10];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => session.feed(&buffer[..read]),
        }
    }
}

// === impl Client ===

impl Client {
    /// Connects, once somebody listens.
    pub fn connect(port: u16) -> Client {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = None;
        wait_until("the agent listens", || {
            stream = TcpStream::connect(address).ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { stream, session: Session::new(SocketType::Dealer, b"", Limits::RPC), next: 0 };
        assert!(matches!(client.event(), zmtp::Event::Ready { .. }));
        client
    }

    fn event(&mut self) -> zmtp::Event {
        next_event(&mut self.stream, &mut self.session).expect("the agent closed the connection")
    }

    /// Sends a call and gives its id.
    pub fn send(&mut self, method: &str, args: Vec<Value>) -> u32 {
        self.next += 1;
        let header = Header { pid: 1, random: 2, id: self.next, time: 0.0 };
        self.session.send(&Request::frames(&header, method, args));
        let out = self.session.output().split();
        self.stream.write_all(&out).unwrap();
        self.next
    }

    /// The next answer, whatever call it is of.
    pub fn receive(&mut self) -> (u32, Result<Value, RemoteError>) {
        loop {
            if let zmtp::Event::Message(frames) = self.event() {
                let answer = Answer::parse(&frames).unwrap();
                return (answer.header.id, answer.result().unwrap());
            }
        }
    }

    /// Calls and waits.
    pub fn call(&mut self, method: &str, args: Vec<Value>) -> Result<Value, RemoteError> {
        let sent = self.send(method, args);
        loop {
            let (id, result) = self.receive();
            if id == sent {
                return result;
            }
        }
    }

    /// Creates a Python kernel.
    pub fn create(&mut self) -> String {
        self.create_with(config(256)).unwrap()
    }

    /// Creates a kernel of this configuration.
    pub fn create_with(&mut self, config: Value) -> Result<String, RemoteError> {
        let id = new_kernel();
        self.call("create_kernel", vec![id.as_str().into(), config]).map(|_| id)
    }

    /// Creates a kernel with a terminal, and gives the ports of its input and output.
    pub fn create_shell(&mut self) -> (String, [u16; 2]) {
        let id = new_kernel();
        let made = self.call("create_kernel", vec![id.as_str().into(), config_of("git:latest", 256)]).unwrap();
        (id, terminal_ports(&made))
    }

    /// One call of `execute`.
    pub fn execute(
        &mut self,
        kernel: &str,
        run: &str,
        mode: &str,
        code: &str,
        options: Value,
    ) -> Result<Value, RemoteError> {
        self.call("execute", vec![2.into(), kernel.into(), run.into(), mode.into(), code.into(), options])
    }

    /// One call of `execute` in the mode `query`, with a run of its own.
    pub fn query(&mut self, kernel: &str, code: &str) -> Value {
        let run = self.new_run();
        self.execute(kernel, &run, "query", code, map([])).unwrap()
    }

    /// A run id that was not used yet.
    pub fn new_run(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("run{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs code to its end, and gives all of its console and its last answer.
    pub fn run(&mut self, kernel: &str, code: &str) -> (Vec<(String, String)>, Value) {
        let run = self.new_run();
        let answer = self.execute(kernel, &run, "query", code, map([])).unwrap();
        self.finish(kernel, &run, answer)
    }

    /// Goes on with a run while it says `continued`.
    pub fn finish(&mut self, kernel: &str, run: &str, mut answer: Value) -> (Vec<(String, String)>, Value) {
        let mut console = console(&answer);
        while status(&answer) == "continued" {
            answer = self.execute(kernel, run, "continue", "", map([])).unwrap();
            console.extend(self::console(&answer));
        }
        (console, answer)
    }

    /// All of a stream that code writes.
    pub fn stdout(&mut self, kernel: &str, code: &str) -> String {
        text(&self.run(kernel, code).0, "stdout")
    }
}

/// A kernel id that was not used yet.
fn new_kernel() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("k{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The ports of a terminal, from the answer that a kernel was made or restarted with.
pub fn terminal_ports(answer: &Value) -> [u16; 2] {
    ["stdin_port", "stdout_port"].map(|name| get(answer, name).unwrap().as_u64().unwrap().try_into().unwrap())
}

/// A configuration of a Python kernel with this much memory in MiB.
pub fn config(mem: i64) -> Value {
    config_of("python:latest", mem)
}

/// A configuration of a kernel of this image.
pub fn config_of(image: &str, mem: i64) -> Value {
    let limits = map([("mem_slot", mem.into()), ("cpu_slot", 1.0.into()), ("gpu_slot", 0.0.into())]);
    let environ = map([("FOO", "bar".into())]);
    map([("lang", image.into()), ("limits", limits), ("mounts", Value::Array(vec![])), ("environ", environ)])
}

/// A configuration of a Python kernel with these mounts.
pub fn config_with(mounts: &[&Value]) -> Value {
    let Value::Map(mut pairs) = config(256) else { unreachable!() };
    for (name, value) in &mut pairs {
        if name.as_str() == Some("mounts") {
            *value = mounts.iter().map(|mount| (*mount).clone()).collect();
        }
    }
    Value::Map(pairs)
}

pub fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

pub fn status(answer: &Value) -> &str {
    get(answer, "status").unwrap().as_str().unwrap()
}

/// The console as pairs of kind and text; media as `mime data`.
pub fn console(answer: &Value) -> Vec<(String, String)> {
    let records = get(answer, "console").unwrap().as_array().unwrap();
    let pair = |record: &Value| {
        let text = match &record[1] {
            Value::Array(media) => format!("{} {}", media[0].as_str().unwrap(), media[1].as_str().unwrap()),
            text => text.as_str().unwrap().to_owned(),
        };
        (record[0].as_str().unwrap().to_owned(), text)
    };
    records.iter().map(pair).collect()
}

/// What a console holds of one kind.
pub fn text(console: &[(String, String)], kind: &str) -> String {
    console.iter().filter(|(of, _)| of == kind).map(|(_, text)| text.as_str()).collect()
}

pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned())).collect()
}
