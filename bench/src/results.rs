//! Results as files that a repository can keep: no machine's name, no path, but what kind of machine it was and
//! whether it was quiet.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    budget::{self, Row},
    error::Error,
    rig,
};

/// Where a measurement is written.
#[derive(Clone, Debug, clap::Args)]
pub struct Destination {
    /// Folder for NAME.md and NAME.json [default: bench/results]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
}

/// What kind of machine this is, and how busy it was before the measurement.
#[derive(Clone, Debug)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    load: f64,
    at: jiff::Timestamp,
}

// === impl Machine ===

impl Machine {
    /// As it is now: to be called before anything is started.
    pub fn now() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Machine {
            cpu: model.map_or("unknown CPU", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN),
            at: jiff::Timestamp::now(),
        }
    }

    /// Whether others were running when the measurement began; then its numbers are worth little.
    pub fn is_busy(&self) -> bool {
        self.load > 0.25 * self.cores as f64
    }

    fn line(&self) -> String {
        let Machine { cpu, cores, kernel, load, at } = self;
        let busy = if self.is_busy() { "; **the machine was not quiet, these numbers are worth little**" } else { "" };
        let build = if optimized() { "" } else { "; **not a release build, or one that was given (DEV_BIN)**" };
        let day = at.strftime("%Y-%m-%d");
        format!("{day}, {cores} cores ({cpu}), Linux {kernel}, load average before: {load:.2}{busy}{build}.")
    }
}

/// Whether the servers are surely a release build: then they were built by the same call of `./dev bench`.
fn optimized() -> bool {
    !cfg!(debug_assertions) && std::env::var_os("DEV_BIN").is_none()
}

/// Writes a measurement down and prints it.
///
/// # Errors
/// The folder cannot be written.
pub fn publish(
    options: &Destination,
    name: &str,
    title: &str,
    machine: &Machine,
    rows: &[Row],
    details: &Value,
) -> Result<(), Error> {
    let text = format!("# {title}\n\n{}\n\n{}", machine.line(), budget::markdown(rows));
    println!("{text}");
    let folder = options.results.clone().unwrap_or_else(|| rig::root().join("bench/results"));
    fs::create_dir_all(&folder).map_err(Error::io("the folder of results"))?;
    let document = json!({
        "title": title,
        "date": machine.at.to_string(),
        "cpu": machine.cpu,
        "cores": machine.cores,
        "kernel": machine.kernel,
        "load_before": machine.load,
        "optimized": optimized(),
        "rows": budget::to_json(rows),
        "details": details,
    });
    let write = |kind: &str, text: String| {
        fs::write(folder.join(format!("{name}.{kind}")), text).map_err(Error::io("the result"))
    };
    write("md", text)?;
    write("json", format!("{document:#}\n"))
}
