//! The command line, and the two commands that run against what somebody else started.

use std::{net::SocketAddr, time::Duration};

use backendai::config::CpuList;

use crate::{
    compare,
    error::Error,
    fleet::Fleet,
    load::{self, End, Plan, Report, Watched},
    memory, process, rollover, sessions,
    sign::Key,
    workload::{Session, Workload},
};

/// Measures a gateway on this machine
#[derive(Debug, clap::Parser)]
#[command(name = "bench", version)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Send requests to a server that runs
    Load(LoadOptions),
    /// Be simulated agents, until ended
    Fleet(FleetOptions),
    /// CPU time of a request on both engines, against nginx: the table of budgets
    Compare(compare::Options),
    /// Two workers against one
    Scaling(compare::ScalingOptions),
    /// Sessions made and ended in a second
    Sessions(sessions::Options),
    /// Memory of idle workers and connections
    Memory(memory::Options),
    /// Replace workers under load and count failed requests
    Rollover(rollover::Options),
}

/// Options of `load`.
#[derive(Debug, clap::Args)]
pub struct LoadOptions {
    /// The server, on this machine's loopback
    #[arg(long, value_name = "IP:PORT")]
    target: SocketAddr,

    /// What to send
    #[arg(value_enum, default_value = "version")]
    workload: Workload,

    /// Sessions that the connections are spread over; for `sessions` their names, made and ended over and over
    #[arg(long = "session", value_name = "NAME", required_if_eq_any = [("workload", "kernel"), ("workload", "execute"), ("workload", "sessions")])]
    sessions: Vec<String>,

    /// The key pair's public half
    #[arg(long, env = "BACKEND_ACCESS_KEY", value_name = "KEY", default_value = "")]
    access_key: String,

    /// The key pair's secret half
    #[arg(long, env = "BACKEND_SECRET_KEY", value_name = "KEY", default_value = "", hide_env_values = true)]
    secret_key: String,

    /// Connections at once
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,

    /// A connection for each request
    #[arg(long)]
    close: bool,

    /// How long
    #[arg(long, value_name = "SECONDS", default_value = "5", conflicts_with = "count")]
    seconds: f64,

    /// How many requests, instead
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Cores of the generator
    #[arg(long, value_name = "LIST")]
    cores: Option<CpuList>,

    /// Server processes whose CPU time is told, with all that descend from them
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<i32>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `fleet`.
#[derive(Debug, clap::Args)]
pub struct FleetOptions {
    /// How many agents
    #[arg(long, value_name = "N", default_value = "4")]
    agents: u16,

    /// The port of the first; the others follow, then the two of the terminal
    #[arg(long, value_name = "PORT", default_value = "22750")]
    port: u16,

    /// Where a gateway takes events
    #[arg(long, value_name = "IP:PORT")]
    events: SocketAddr,

    /// Cores
    #[arg(long, value_name = "LIST")]
    cores: Option<CpuList>,
}

/// Runs a load and prints what came of it; false if a request failed.
///
/// # Errors
/// The load cannot be run.
pub fn load(options: &LoadOptions) -> Result<bool, Error> {
    pin(options.cores.as_ref())?;
    process::many_descriptors();
    let key = Key { access: options.access_key.clone(), secret: options.secret_key.clone() };
    let names = if options.sessions.is_empty() { &["".to_owned()][..] } else { &options.sessions };
    let host = options.target.to_string();
    let script = |name: &String| {
        options.workload.script(&host, &Session { key: key.clone(), name: name.clone() }, options.close)
    };
    let plan = Plan {
        target: options.target,
        connections: options.connections,
        keep_alive: !options.close,
        scripts: names.iter().map(script).collect(),
        end: options.count.map_or_else(|| End::Time(Duration::from_secs_f64(options.seconds)), End::Count),
    };
    let watched = options.pids.iter().map(|pid| Watched { name: format!("process {pid}"), roots: vec![*pid] });
    let report = Report::of(&watched.collect::<Vec<_>>(), || load::run(plan))?;
    if options.json {
        println!("{:#}", report.to_json())
    } else {
        println!("{report}")
    }
    Ok(report.failed() == 0)
}

/// Runs simulated agents until this process is ended.
///
/// # Errors
/// They cannot be started.
pub fn fleet(options: &FleetOptions) -> Result<(), Error> {
    pin(options.cores.as_ref())?;
    process::many_descriptors();
    crate::fleet::run(Fleet { agents: options.agents, port: options.port, events: options.events })
}

fn pin(cores: Option<&CpuList>) -> Result<(), Error> {
    cores.map_or(Ok(()), |cores| process::pin(cores.cores()))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
        let load =
            |rest: &[&str]| Options::try_parse_from([&["bench", "load", "--target", "127.0.0.1:1"], rest].concat());
        assert!(load(&["auth", "--count", "10"]).is_ok());
        assert!(load(&["kernel"]).is_err());
        assert!(load(&["kernel", "--session", "a"]).is_ok());
        assert!(load(&["--count", "1", "--seconds", "2"]).is_err());
    }
}
