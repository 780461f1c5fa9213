//! Memory of workers that do nothing, and of connections that wait.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    budget::{self, Row},
    error::Error,
    load::{CONNECTIONS_MAX, Connection},
    process::{self, Memory},
    results::{self, Machine},
    rig::{self, Engine, Rig},
    sign::{Request, V4},
};

/// Options of `memory`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    rig: rig::Place,
    #[command(flatten)]
    results: results::Destination,

    /// Idle connections, each of which was used once
    #[arg(long, value_name = "N", default_value = "10000")]
    connections: usize,

    /// Workers
    #[arg(long, value_name = "N", default_value = "1")]
    workers: usize,
}

/// Measures, prints and writes. True if the budgets are held.
///
/// # Errors
/// Something is missing or does not work.
pub fn run(options: &Options) -> Result<bool, Error> {
    let machine = Machine::now();
    let rig = Rig::start(&options.rig)?;
    let limit = usize::try_from(process::many_descriptors()).unwrap_or(usize::MAX).saturating_sub(100);
    let connections = options.connections.clamp(1, limit.min(CONNECTIONS_MAX));
    let (mut rows, mut details) = (Vec::new(), serde_json::Map::new());
    for engine in Engine::ALL {
        let gateway = rig.gateway(engine, options.workers.max(1))?;
        let workers: Vec<i32> = process::tree(gateway.child.pid()).into_iter().skip(1).collect();
        let idle = total(&workers)?;
        let with = with_connections(gateway.api, connections, || total(&workers))?;
        let count = workers.len().max(1) as f64;
        let grown = with.resident.saturating_sub(idle.resident) as f64 / connections as f64;
        let named = |what: &str| format!("{what}, {}", engine.name());
        rows.push(Row::at_most(
            named("resident memory of an idle worker"),
            idle.resident as f64 / 1024.0 / count,
            "MiB",
            16.0,
        ));
        rows.push(Row::at_most(named("resident memory of an idle keep-alive connection"), grown, "KiB", 10.0));
        details.insert(
            engine.name().to_owned(),
            json!({
                "workers": workers.len(),
                "connections": connections,
                "idle_kib": {"resident": idle.resident, "proportional": idle.proportional},
                "connected_kib": {"resident": with.resident, "proportional": with.proportional},
            }),
        );
    }
    results::publish(&options.results, "memory", "Memory", &machine, &rows, &details.into())?;
    Ok(budget::all_hold(&rows))
}

fn total(workers: &[i32]) -> Result<Memory, Error> {
    workers.iter().try_fold(Memory::default(), |sum, pid| {
        let Memory { resident, proportional } = process::memory(*pid)?;
        Ok(Memory { resident: sum.resident + resident, proportional: sum.proportional + proportional })
    })
}

/// Looks while so many connections wait, each after an answer.
fn with_connections<T>(api: SocketAddr, count: usize, look: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let request = Request::get("/v4", V4).to_bytes(&api.to_string(), None, false, Timestamp::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("no runtime"))?.block_on(async {
        let mut open = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::open(api).await.map_err(Error::failed)?;
            let answer = connection.ask(&request).await.map_err(Error::failed)?;
            if answer.status != 200 || answer.close {
                return Err(Error::failed(format!("connection {}: {answer:?}", open.len())));
            }
            connection.forget(answer.len);
            open.push(connection);
        }
        look()
    })
}
