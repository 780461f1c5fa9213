//! Memory of workers that do nothing, and of connections and terminals that wait.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    budget::{self, Row},
    error::Error,
    load::{CONNECTIONS_MAX, Connection},
    process::{self, Memory},
    results::{self, Machine},
    rig::{self, Engine, Gateway, Rig},
    sign::{Request, V4},
    terminals,
    workload::{self, Session},
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

    /// Idle terminals, each of a session of its own
    #[arg(long, value_name = "N", default_value = "1000")]
    terminals: usize,

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
    let keys = rig.keys(16)?;
    let (mut rows, mut details) = (Vec::new(), serde_json::Map::new());
    for engine in Engine::ALL {
        let gateway = rig.gateway(engine, options.workers.max(1))?;
        let _fleet = rig.fleet()?;
        let workers: Vec<i32> = process::tree(gateway.child.pid()).into_iter().skip(1).collect();
        let idle = total(&workers)?;
        let with = with_connections(gateway.api, connections, || total(&workers))?;
        let terminals = options.terminals.clamp(2, (limit / 4).max(2));
        let (gateway, sessions) = renewed(&rig, engine, gateway, workload::sessions(&keys, terminals))?;
        let viewers: Vec<i32> = process::tree(gateway.child.pid()).into_iter().skip(1).collect();
        let (before, viewed) = with_terminals(gateway.api, &sessions, || total(&viewers))?;
        let terminal = viewed.resident.saturating_sub(before.resident) as f64 / (sessions.len() - 1) as f64;
        workload::end(gateway.api, &sessions)?;
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
        rows.push(Row::at_most(named("resident memory of an idle terminal"), terminal, "KiB", 24.0));
        details.insert(
            engine.name().to_owned(),
            json!({
                "workers": workers.len(),
                "connections": connections,
                "idle_kib": {"resident": idle.resident, "proportional": idle.proportional},
                "terminals": sessions.len(),
                "before_terminals_kib": {"resident": before.resident, "proportional": before.proportional},
                "terminals_kib": {"resident": viewed.resident, "proportional": viewed.proportional},
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

/// Makes the sessions, and then another gateway of the same kind: what was used for something else, and is free again,
/// would be counted for nothing.
fn renewed(
    rig: &Rig,
    engine: Engine,
    gateway: Gateway,
    sessions: Vec<Session>,
) -> Result<(Gateway, Vec<Session>), Error> {
    workload::begin(gateway.api, &sessions)?;
    let workers = process::tree(gateway.child.pid()).len().saturating_sub(1).max(1);
    drop(gateway);
    Ok((rig.gateway(engine, workers)?, sessions))
}

/// Looks before the terminals are opened, and while they are.
fn with_terminals<T>(
    api: SocketAddr,
    sessions: &[Session],
    look: impl Fn() -> Result<T, Error>,
) -> Result<(T, T), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("no runtime"))?.block_on(async {
        // What the first one brings for all is not what each costs.
        let (first, others) = sessions.split_at(1.min(sessions.len()));
        let _one = terminals::open(api, first).await?;
        let before = look()?;
        let _open = terminals::open(api, others).await?;
        Ok((before, look()?))
    })
}
