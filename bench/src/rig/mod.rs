//! Everything that a measurement runs against: stores, gateway, simulated agents, keys, sessions.
//!
//! The stores come from `./dev up`, as a person starts them, with data of their own that are removed at the end.
//! Gateways are started here, since engine, cores and number of workers are what is compared. Servers under test
//! share one set of cores, and the generator, the fleet and the stores have another.

mod child;
mod interrupt;
pub mod nginx;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use backendai::config::{Connections, CpuList, HostPort, Secret};
use tempfile::TempDir;

pub use self::child::{Child, until};
use crate::{
    error::Error,
    fleet,
    load::{self, Watched},
    process,
    sign::{self, Key, Request},
};

/// Where things run.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Cores of the servers that are measured [default: the first one]
    #[arg(long, value_name = "LIST")]
    pub server_cores: Option<CpuList>,

    /// Cores of the generator and of everything else [default: all others, or the same where there is one]
    #[arg(long, value_name = "LIST")]
    pub load_cores: Option<CpuList>,

    /// First port to use
    #[arg(long, value_name = "PORT", default_value = "22700")]
    pub ports: u16,

    /// Simulated agents
    #[arg(long, value_name = "N", default_value = "4")]
    pub agents: u16,
}

/// Stores that run, and what it takes to start gateways on them.
pub struct Rig {
    settings: BTreeMap<String, String>,
    server_cores: Vec<usize>,
    load_cores: Vec<usize>,
    ports: u16,
    agents: u16,
    // In the order in which they end.
    _up: Child,
    folder: TempDir,
}

/// A gateway that serves.
pub struct Gateway {
    /// The supervisor.
    pub child: Child,
    /// Where the API is.
    pub api: SocketAddr,
    /// Where operators ask.
    pub admin: SocketAddr,
    /// From starting the program to the first answer of the API.
    pub first_answer: Duration,
}

/// What drives a gateway's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// tokio's.
    Epoll,
    /// glommio's.
    IoUring,
}

/// Ports beyond those of `./dev up`.
const NGINX_PORT: u16 = 40;
const FLEET_PORT: u16 = 50;
/// Building may come first.
const UP_LIMIT: Duration = Duration::from_secs(1800);
/// Longest time for a gateway to serve.
const START_LIMIT: Duration = Duration::from_secs(60);

// === impl Engine ===

impl Engine {
    /// Both.
    pub const ALL: [Engine; 2] = [Engine::Epoll, Engine::IoUring];

    /// As the gateway's option names it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Epoll => "epoll",
            Engine::IoUring => "io-uring",
        }
    }
}

// === impl Rig ===

impl Rig {
    /// Starts the stores, and binds this process to the cores of the load.
    ///
    /// # Errors
    /// Something is missing, or does not start.
    pub fn start(options: &Place) -> Result<Rig, Error> {
        let (server_cores, load_cores) = cores(options)?;
        process::many_descriptors();
        process::pin(&load_cores)?;
        let folder = tempfile::Builder::new().prefix("backendai-bench-").tempdir();
        let folder = folder.map_err(Error::io("a folder for the data"))?;
        let log = folder.path().join("up.log");
        let mut up = child::command(&load_cores, root().join("dev"));
        up.args(["up", "--no-demo", "--ports", &options.ports.to_string(), "--data"]).arg(folder.path());
        if let Some(programs) = std::env::var_os("DEV_BIN") {
            up.env("DEV_BIN", fs::canonicalize(programs).map_err(Error::io("DEV_BIN"))?);
        }
        let mut up = Child::start("./dev up", &mut up, &log)?;
        interrupt::clean_up(up.pid(), folder.path().to_owned())?;
        until("./dev up", UP_LIMIT, || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            up.check().map_err(|error| Error::failed(format!("{error}\n{said}")))?;
            Ok(said.contains("Ctrl-C ends everything").then_some(()))
        })?;
        let settings = settings(&folder.path().join("env"))?;
        let (ports, agents) = (options.ports, options.agents);
        let rig = Rig { settings, server_cores, load_cores, ports, agents, _up: up, folder };
        // Gateways of several kinds are what is compared, and simulated agents take this one's place.
        rig.dev("stop", "agent")?;
        rig.dev("stop", "gateway")?;
        Ok(rig)
    }

    /// Starts a gateway of that many workers; it serves when this returns.
    ///
    /// # Errors
    /// It does not start.
    pub fn gateway(&self, engine: Engine, workers: usize) -> Result<Gateway, Error> {
        let program = Path::new(self.setting("BIN")?).join("backendai-gateway");
        let mut gateway = child::command(&self.server_cores, program);
        gateway.envs(&self.settings).env("BACKEND_ENGINE", engine.name()).env("BACKEND_WORKERS", workers.to_string());
        let api = self.address("BACKEND_SERVICE_PORT")?;
        let admin = self.address("BACKEND_ADMIN_PORT")?;
        let log = self.folder.path().join(format!("gateway-{}.log", engine.name()));
        let began = Instant::now();
        let mut child = Child::start("the gateway", &mut gateway, &log)?;
        let ready = |address: SocketAddr, target: &str, child: &mut Child| {
            until("the gateway", START_LIMIT, || {
                let said = || fs::read_to_string(&log).unwrap_or_default();
                child.check().map_err(|error| Error::failed(format!("{error}\n{}", said())))?;
                Ok(get(address, target).filter(|(status, _)| *status == 200))
            })
        };
        ready(api, "/v4", &mut child)?;
        let first_answer = began.elapsed();
        ready(admin, "/readyz", &mut child)?;
        Ok(Gateway { child, api, admin, first_answer })
    }

    /// Starts nginx on the servers' cores.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn nginx(&self, body: &str) -> Result<(Child, SocketAddr), Error> {
        nginx::start(self.folder.path(), self.ports + NGINX_PORT, &self.server_cores, body)
    }

    /// Starts the simulated agents; they are known when this returns.
    ///
    /// # Errors
    /// They do not start, or no gateway takes notice.
    pub fn fleet(&self) -> Result<Child, Error> {
        let program = std::env::current_exe().map_err(Error::io("this program"))?;
        let mut fleet = child::command(&self.load_cores, program);
        let events = self.address("BACKEND_EVENTS_PORT")?.to_string();
        let (agents, port) = (self.agents.to_string(), (self.ports + FLEET_PORT).to_string());
        fleet.args(["fleet", "--agents", &agents, "--port", &port, "--events", &events]);
        let child = Child::start_until("the fleet", &mut fleet, fleet::READY)?;
        let known = "SELECT count(*) FROM agents WHERE status = 'ALIVE' AND region = 'bench'";
        until("the simulated agents", START_LIMIT, || Ok((self.sql(known)?.trim() == agents).then_some(())))?;
        Ok(child)
    }

    /// Makes new key pairs that nothing limits.
    ///
    /// # Errors
    /// PostgreSQL does not take them.
    pub fn keys(&self, count: usize) -> Result<Vec<Key>, Error> {
        let keys: Vec<Key> = (0..count)
            .map(|number| Key { access: format!("AKIABENCH{number:06}"), secret: format!("{number:040}") })
            .collect();
        let rows = keys.iter().map(|Key { access, secret }| {
            format!("(1, '{access}', '{secret}', true, false, 'default', 1000000, 0, 2000000000, 0)")
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        self.sql(&format!(
            "INSERT INTO keypairs (user_id, access_key, secret_key, is_active, is_admin, resource_policy, \
             concurrency_limit, concurrency_used, rate_limit, num_queries) VALUES {rows} ON CONFLICT DO NOTHING"
        ))?;
        Ok(keys)
    }

    /// The servers whose CPU time is told.
    ///
    /// # Errors
    /// A store does not run.
    pub fn watched(&self, server: &Child) -> Result<Vec<Watched>, Error> {
        let server = Watched { name: "server".to_owned(), roots: vec![server.pid()] };
        let store = |name: &str| Ok(Watched { name: name.to_owned(), roots: vec![self.pid(name)?] });
        Ok(vec![server, store("redis")?, store("postgres")?])
    }

    /// How many cores the servers have.
    pub fn cores(&self) -> usize {
        self.server_cores.len()
    }

    fn pid(&self, name: &str) -> Result<i32, Error> {
        let file = self.folder.path().join("run").join(format!("{name}.pid"));
        let text = fs::read_to_string(file).map_err(Error::io(format!("the pid of {name}")))?;
        let pid = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| Error::failed(format!("{name} does not run")))
    }

    fn dev(&self, action: &str, name: &str) -> Result<(), Error> {
        let mut dev = Command::new(root().join("dev"));
        dev.args([action, "--data"]).arg(self.folder.path()).arg(name);
        let status = dev.stdin(Stdio::null()).status().map_err(Error::io("./dev"))?;
        if status.success() { Ok(()) } else { Err(Error::failed(format!("./dev {action} {name}: {status}"))) }
    }

    /// Runs a statement; gives what psql prints.
    fn sql(&self, statement: &str) -> Result<String, Error> {
        let to = self.connections()?;
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", &to.db_addr.host]);
        psql.args(["-p", &to.db_addr.port.to_string(), "-U", &to.db_user, "-d", &to.db_name, "-c", statement]);
        psql.env("PGPASSWORD", to.db_password.as_ref().map_or("", Secret::reveal));
        let done = psql.stdin(Stdio::null()).output().map_err(Error::io("psql"))?;
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
            false => Err(Error::failed(String::from_utf8_lossy(&done.stderr))),
        }
    }

    fn connections(&self) -> Result<Connections, Error> {
        let address = |name: &str| -> Result<HostPort, Error> {
            self.setting(name)?.parse().map_err(|error| Error::failed(format!("{name}: {error}")))
        };
        Ok(Connections {
            namespace: self.setting("BACKEND_NAMESPACE")?.to_owned(),
            etcd_addr: vec![address("BACKEND_ETCD_ADDR")?],
            redis_addr: address("BACKEND_REDIS_ADDR")?,
            db_addr: address("BACKEND_DB_ADDR")?,
            db_name: self.setting("BACKEND_DB_NAME")?.to_owned(),
            db_user: self.setting("BACKEND_DB_USER")?.to_owned(),
            db_password: Some(Secret::new(self.setting("BACKEND_DB_PASSWORD")?)),
            db_password_file: None,
        })
    }

    fn address(&self, port: &str) -> Result<SocketAddr, Error> {
        let port: u16 = self.setting(port)?.parse().map_err(|_| Error::failed(format!("{port} is no port")))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn setting(&self, name: &str) -> Result<&str, Error> {
        let value = self.settings.get(name).map(String::as_str);
        value.ok_or_else(|| Error::failed(format!("./dev up wrote no {name}")))
    }
}

/// An unsigned GET, for what is no load: status and body.
pub fn get(address: SocketAddr, target: &str) -> Option<(u16, Vec<u8>)> {
    let request = Request::get(target, sign::V4).to_bytes(&address.to_string(), None, true, jiff::Timestamp::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(load::ask(address, &request)).ok()
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Cores of the servers and of the load.
fn cores(options: &Place) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let mine = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).map_err(Error::failed)?;
    let mine: Vec<usize> =
        (0..nix::sched::CpuSet::count()).filter(|core| mine.is_set(*core).unwrap_or(false)).collect();
    let server = match &options.server_cores {
        Some(list) => list.cores().to_vec(),
        None => mine.iter().take(1).copied().collect(),
    };
    let others: Vec<usize> = mine.iter().filter(|core| !server.contains(core)).copied().collect();
    let load = match &options.load_cores {
        Some(list) => list.cores().to_vec(),
        None if others.is_empty() => mine,
        None => others,
    };
    Ok((server, load))
}

/// What `./dev up` wrote for shells: read by one.
fn settings(file: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut bash = Command::new("bash");
    bash.args(["-c", "set -a; . \"$1\"; env -0", "bash"]).arg(file).env_clear();
    bash.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let printed = bash.output().map_err(Error::io("bash"))?.stdout;
    let text = String::from_utf8_lossy(&printed).into_owned();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    let ours = pairs.filter(|(name, _)| name.starts_with("BACKEND_") || *name == "BIN");
    Ok(ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
