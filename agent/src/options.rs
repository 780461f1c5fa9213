//! The agent's options: command line, then environment, then default.

use std::{ffi::OsString, net::Ipv4Addr, path::PathBuf, str::FromStr};

use backendai::config::{self, Failure, HostPort};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::shell::ports::PortRange;

/// What the machine gives to kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slots {
    /// Cores.
    pub cpu: f64,
    /// Memory in MiB.
    pub mem: u64,
    /// Graphics processors.
    pub gpu: f64,
}

/// How kernels are kept apart from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RuntimeKind {
    /// A process group per kernel.
    Process,
}

/// Backend.AI's agent: runs kernels on this machine for the gateways of its namespace.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "backendai-agent", version, max_term_width = 100)]
pub struct Options {
    /// The cluster's name: gateways, agents and databases of one namespace belong together
    #[arg(long, env = "BACKEND_NAMESPACE", default_value = "local", value_name = "NAME")]
    pub namespace: String,

    /// An etcd endpoint; repeatable, or several separated by commas
    #[arg(
        long,
        env = "BACKEND_ETCD_ADDR",
        default_value = "127.0.0.1:2379",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub etcd_addr: Vec<HostPort>,

    /// The port of the calls from gateways
    #[arg(long, env = "BACKEND_AGENT_PORT", default_value_t = 6001, value_name = "PORT")]
    pub agent_port: u16,

    /// The address that gateways reach this agent at; 127.0.0.1 with --insecure
    #[arg(long, env = "BACKEND_AGENT_IP", value_name = "ADDRESS")]
    pub agent_ip: Option<Ipv4Addr>,

    /// The agent's name in the cluster; `i-` and the host's name by default
    #[arg(long, env = "BACKEND_AGENT_ID", value_name = "NAME")]
    pub agent_id: Option<String>,

    /// The agent's region, for operators to tell machines apart
    #[arg(long, env = "BACKEND_REGION", default_value = "local/unknown", value_name = "NAME")]
    pub region: String,

    /// The folder that holds the kernels' folders
    #[arg(long, env = "BACKEND_SCRATCH_ROOT", default_value = "/var/lib/backendai/scratches", value_name = "DIR")]
    pub scratch_root: PathBuf,

    /// What the machine has, as cpu=4,mem=8192,gpu=0 (memory in MiB); what is left out is measured
    #[arg(long, env = "BACKEND_SLOTS", value_name = "LIST")]
    pub slots: Option<SlotsGiven>,

    /// Seconds without a call or running code after which a kernel is ended; 0: never
    #[arg(long, env = "BACKEND_IDLE_TIMEOUT", default_value_t = 600, value_name = "SECONDS")]
    pub idle_timeout: u64,

    /// How kernels are kept apart from the machine
    #[arg(long, env = "BACKEND_RUNTIME", value_enum, default_value_t = RuntimeKind::Process)]
    pub runtime: RuntimeKind,

    /// Run kernels that only process groups and resource limits keep apart, reachable on loopback only
    #[arg(long, env = "BACKEND_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure: bool,

    /// Leave kernels running at the agent's end, for its next start to take over
    #[arg(long, env = "BACKEND_KEEP_KERNELS", value_parser = clap::builder::FalseyValueParser::new())]
    pub keep_kernels: bool,

    /// The Python interpreter (3.6 or later) of Python kernels; `python3` of PATH by default
    #[arg(long, env = "BACKEND_PYTHON", value_name = "PATH")]
    pub python: Option<PathBuf>,

    /// The ports of kernels' terminals, two for each
    #[arg(long, env = "BACKEND_TERMINAL_PORTS", default_value = "30000-32699", value_name = "FROM-TO")]
    pub terminal_ports: PortRange,

    /// Log also why things were decided
    #[arg(short, long, env = "BACKEND_VERBOSE", value_parser = clap::builder::FalseyValueParser::new())]
    pub verbose: bool,

    /// Log everything that happens
    #[arg(long, env = "BACKEND_DEBUG", value_parser = clap::builder::FalseyValueParser::new())]
    pub debug: bool,
}

/// The parts of `--slots` that were given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SlotsGiven {
    cpu: Option<f64>,
    mem: Option<u64>,
    gpu: Option<f64>,
}

/// Why the agent cannot start with these options.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Kernels would not be kept apart, and the operator did not say that this is wanted.
    #[error(
        "kernels of this release share the agent's user, files and network: --insecure says that this is wanted here"
    )]
    NotInsecure,
    /// Without isolation only loopback is served.
    #[error("--agent-ip {0} is not a loopback address, and --insecure serves loopback only")]
    NotLoopback(Ipv4Addr),
    /// No interpreter.
    #[error("no Python interpreter: {0} (--python names one)")]
    NoPython(String),
}

// === impl Slots ===

impl FromStr for SlotsGiven {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut given = SlotsGiven::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, number) = part.split_once('=').ok_or_else(|| format!("`{part}` is not name=number"))?;
            let bad = || format!("`{number}` is not a number of {name} that a machine can have");
            match name.trim() {
                "cpu" => given.cpu = Some(amount(number).ok_or_else(bad)?),
                "gpu" => given.gpu = Some(amount(number).ok_or_else(bad)?),
                "mem" => given.mem = Some(number.trim().parse().map_err(|_| bad())?),
                other => return Err(format!("`{other}` is none of cpu, mem, gpu")),
            }
        }
        Ok(given)
    }
}

fn amount(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

impl Slots {
    /// What was given, and for the rest what the machine has.
    pub fn resolve(given: SlotsGiven) -> Slots {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Slots {
            cpu: given.cpu.unwrap_or(cores as f64),
            mem: given.mem.unwrap_or_else(memory_mib),
            gpu: given.gpu.unwrap_or(0.0),
        }
    }
}

/// The machine's memory in MiB, from /proc/meminfo.
fn memory_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

// === impl Options ===

impl Options {
    /// The options of a command line, its program's name first, and of the environment.
    ///
    /// # Errors
    /// Help was asked for, or something is unknown or bad.
    pub fn from_command_line(args: impl IntoIterator<Item = OsString>) -> Result<Options, Failure> {
        let matches = config::resolve(Options::command(), args)?;
        Options::from_arg_matches(&matches).map_err(|error| Failure::Bad(error.to_string()))
    }

    /// The address to serve, or why these options may not be served at all.
    ///
    /// # Errors
    /// `--insecure` is missing, or the address is not loopback.
    pub fn address(&self) -> Result<Ipv4Addr, OptionsError> {
        if !self.insecure {
            return Err(OptionsError::NotInsecure);
        }
        let ip = self.agent_ip.unwrap_or(Ipv4Addr::LOCALHOST);
        if ip.is_loopback() { Ok(ip) } else { Err(OptionsError::NotLoopback(ip)) }
    }

    /// The agent's name.
    pub fn id(&self) -> String {
        self.agent_id.clone().unwrap_or_else(|| {
            let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
            format!("i-{}", host.as_deref().unwrap_or("unnamed"))
        })
    }

    /// The interpreter as an absolute path.
    ///
    /// # Errors
    /// There is none.
    pub fn interpreter(&self) -> Result<PathBuf, OptionsError> {
        if let Some(path) = &self.python {
            return std::path::absolute(path)
                .ok()
                .filter(|path| path.is_file())
                .ok_or_else(|| OptionsError::NoPython(format!("{} is no file", path.display())));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join("python3"))
            .find(|file| file.is_file())
            .ok_or_else(|| OptionsError::NoPython("there is no python3 in PATH".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn slots_are_read_in_any_order_and_may_be_partial() {
        let given: SlotsGiven = "mem=8192,cpu=1.5".parse().unwrap();
        assert_eq!(given, SlotsGiven { cpu: Some(1.5), mem: Some(8192), gpu: None });
        for bad in ["cpu", "cpu=x", "cpu=-1", "cpu=nan", "mem=1.5", "disk=3"] {
            assert!(bad.parse::<SlotsGiven>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_bad_is_named_in_one_line() {
        for (args, name) in [(["--agent-port", "many"], "--agent-port"), (["--nonsense", "x"], "--nonsense")] {
            let args = std::iter::once("backendai-agent").chain(args).map(OsString::from);
            match Options::from_command_line(args) {
                Err(Failure::Bad(line)) => assert!(line.contains(name) && !line.contains('\n'), "{line}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn nothing_but_loopback_is_served_and_that_only_when_asked_for() {
        let parse = |args: &[&str]| Options::parse_from([&["backendai-agent"], args].concat()).address();
        assert!(matches!(parse(&[]), Err(OptionsError::NotInsecure)));
        assert_eq!(parse(&["--insecure"]).unwrap(), Ipv4Addr::LOCALHOST);
        assert!(matches!(parse(&["--insecure", "--agent-ip", "10.0.0.1"]), Err(OptionsError::NotLoopback(_))));
    }
}
