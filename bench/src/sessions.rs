//! Sessions made and ended in a second, with everything committed; agents answer at once.

use std::time::Duration;

use serde_json::json;

use crate::{
    budget::{self, Row},
    error::Error,
    load::{self, End, Plan, Report},
    results::{self, Machine},
    rig::{self, Engine, Rig},
    workload::{self, Workload},
};

/// Options of `sessions`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    rig: rig::Place,
    #[command(flatten)]
    results: results::Destination,

    /// The engine
    #[arg(long, value_enum, default_value = "epoll")]
    engine: Engine,

    /// Workers
    #[arg(long, value_name = "N", default_value = "1")]
    workers: usize,

    /// Seconds
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    seconds: f64,

    /// Connections, each making and ending a session over and over
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,

    /// Key pairs that they are spread over: each one's quota is one row
    #[arg(long, value_name = "N", default_value = "32")]
    keys: usize,
}

/// Measures, prints and writes. True if the budget is held.
///
/// # Errors
/// Something is missing or does not work.
pub fn run(options: &Options) -> Result<bool, Error> {
    let machine = Machine::now();
    let rig = Rig::start(&options.rig)?;
    let keys = rig.keys(options.keys.max(1))?;
    let gateway = rig.gateway(options.engine, options.workers.max(1))?;
    let _fleet = rig.fleet()?;
    let host = gateway.api.to_string();
    let sessions = workload::sessions(&keys, options.connections);
    let plan = Plan {
        target: gateway.api,
        connections: options.connections,
        keep_alive: true,
        scripts: sessions.iter().map(|session| Workload::Sessions.script(&host, session, false)).collect(),
        end: End::Time(Duration::from_secs_f64(options.seconds)),
    };
    let report = Report::of(&rig.watched(&gateway.child)?, || load::run(plan))?;
    println!("{report}\n");
    // Two answers are one session.
    let rows = [
        Row::at_least("sessions made and ended in a second", report.rate() / 2.0, "/s", 1000.0),
        Row::at_most("requests that failed", report.failed() as f64, "", 0.0),
    ];
    let title = "Sessions made and ended, simulated agents, every step committed";
    let details = json!({"report": report.to_json(), "workers": options.workers, "engine": options.engine.name()});
    results::publish(&options.results, "sessions", title, &machine, &rows, &details)?;
    Ok(budget::all_hold(&rows))
}
