//! Workers replaced under load, over and over: no request may fail.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::LocalSet;

use crate::{
    budget::{self, Row},
    error::Error,
    load::{self, End, Outcome, Plan},
    process,
    results::{self, Machine},
    rig::{self, Engine, Gateway, Rig},
    workload::{self, Workload},
};

/// Options of `rollover`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    rig: rig::Place,
    #[command(flatten)]
    results: results::Destination,

    /// The engine
    #[arg(long, value_enum, default_value = "epoll")]
    engine: Engine,

    /// How often all workers are replaced
    #[arg(long, value_name = "N", default_value = "20")]
    times: usize,

    /// Workers
    #[arg(long, value_name = "N", default_value = "2")]
    workers: usize,

    /// Connections that are kept, and as many that carry one request each
    #[arg(long, value_name = "N", default_value = "32")]
    connections: usize,
}

/// Longest time for one replacement of all workers.
const ROLL_LIMIT: Duration = Duration::from_secs(90);
/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// Measures, prints and writes. True if no request failed.
///
/// # Errors
/// Something is missing or does not work.
pub fn run(options: &Options) -> Result<bool, Error> {
    let machine = Machine::now();
    let rig = Rig::start(&options.rig)?;
    let keys = rig.keys(1)?;
    let gateway = rig.gateway(options.engine, options.workers.max(1))?;
    let sessions = workload::sessions(&keys, 1);
    let plan = |keep_alive: bool, told: &Rc<Cell<bool>>| Plan {
        target: gateway.api,
        connections: options.connections,
        keep_alive,
        scripts: sessions.iter().map(|it| Workload::Auth.script(&gateway.api.to_string(), it, !keep_alive)).collect(),
        end: End::Told(told.clone(), ROLL_LIMIT * u32::try_from(options.times).unwrap_or(u32::MAX)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("no runtime"))?;
    let done = LocalSet::new().block_on(&runtime, async {
        let told = Rc::new(Cell::new(false));
        let roll = async {
            let rolled = roll(&gateway, options.times).await;
            told.set(true);
            rolled
        };
        tokio::join!(load::drive(plan(true, &told)), load::drive(plan(false, &told)), roll)
    });
    let (kept, single, rolled) = (done.0?, done.1?, done.2?);
    let failed: u64 = [&kept, &single].into_iter().flat_map(|outcome| outcome.errors.values()).sum();
    let rows = [
        Row::at_least("replacements of all workers", rolled.len() as f64, "", options.times as f64),
        Row::at_most(
            format!("failed requests of {}", kept.answered + single.answered + failed),
            failed as f64,
            "",
            0.0,
        ),
    ];
    let told = |outcome: &Outcome| json!({"answered": outcome.answered, "errors": outcome.errors});
    let details = json!({
        "engine": options.engine.name(),
        "workers": options.workers,
        "kept connections": told(&kept),
        "single requests": told(&single),
        "seconds of each replacement": rolled.iter().map(Duration::as_secs_f64).collect::<Vec<_>>(),
    });
    let title = "Workers replaced under load";
    results::publish(&options.results, "rollover", title, &machine, &rows, &details)?;
    Ok(budget::all_hold(&rows))
}

/// Has all workers replaced so many times; how long each time took.
async fn roll(gateway: &Gateway, times: usize) -> Result<Vec<Duration>, Error> {
    let mut took = Vec::new();
    for time in 1..=times {
        let before = workers(gateway);
        let began = Instant::now();
        gateway.child.signal(Signal::SIGHUP);
        while workers(gateway).iter().any(|pid| before.contains(pid)) || !is_whole(gateway.admin, before.len()).await {
            if began.elapsed() > ROLL_LIMIT {
                return Err(Error::failed(format!("replacement {time} does not end")));
            }
            tokio::time::sleep(LOOK).await;
        }
        took.push(began.elapsed());
    }
    Ok(took)
}

fn workers(gateway: &Gateway) -> Vec<i32> {
    process::tree(gateway.child.pid()).into_iter().skip(1).collect()
}

/// Whether that many workers say that they serve.
async fn is_whole(admin: SocketAddr, count: usize) -> bool {
    let request = crate::sign::Request::get("/workers", crate::sign::V4);
    let bytes = request.to_bytes(&admin.to_string(), None, true, jiff::Timestamp::now());
    let Ok((200, body)) = load::ask(admin, &bytes).await else { return false };
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let listed = document.as_array().cloned().unwrap_or_default();
    listed.iter().filter(|worker| worker.get("state").is_some_and(|state| state == "ready")).count() == count
}
