//! The three panes as texts: columns, rows, and what stands in their titles.

use super::{
    cluster::{Agent, Cluster, Session, Slots},
    columns::{Column, Kind},
    rates::{Done, Rate, total},
};
use crate::cli::amount;

/// A row, and how it should strike the eye.
pub struct Cells {
    /// One for each column.
    pub cells: Vec<String>,
    /// How it is.
    pub mood: Mood,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    Well,
    /// On its way.
    Changing,
    /// To be looked at.
    Bad,
}

const fn column(head: &'static str, rank: u8, kind: Kind) -> Column {
    Column { head, rank, kind }
}

/// The columns of each pane.
pub const COLUMNS: [&[Column]; 3] = [
    &[
        column("SLOT", 10, Kind::Number(4)),
        column("PID", 3, Kind::Number(5)),
        column("STATE", 6, Kind::Word(5)),
        column("CORE", 2, Kind::Number(4)),
        column("REQ/S", 9, Kind::Number(6)),
        column("FAIL/S", 0, Kind::Number(6)),
        column("P50", 7, Kind::Number(5)),
        column("P99", 8, Kind::Number(5)),
        column("CONNS", 1, Kind::Number(5)),
        column("CPU", 5, Kind::Number(4)),
        column("MEM", 4, Kind::Number(7)),
    ],
    &[
        column("AGENT", 9, Kind::Text(12)),
        column("STATUS", 8, Kind::Word(8)),
        column("CPU", 7, Kind::Number(7)),
        column("MEM GiB", 6, Kind::Number(9)),
        column("GPU", 4, Kind::Number(5)),
        column("SESSIONS", 5, Kind::Number(8)),
    ],
    &[
        column("SESSION", 9, Kind::Text(20)),
        column("KEY", 4, Kind::Text(8)),
        column("IMAGE", 5, Kind::Text(8)),
        column("STATUS", 8, Kind::Word(7)),
        column("AGENT", 3, Kind::Text(8)),
        column("AGE", 7, Kind::Number(6)),
        column("QUERIES", 6, Kind::Number(7)),
    ],
];

/// A worker's row.
pub fn worker(rate: &Rate) -> Cells {
    let now = &rate.now;
    let told = |text: fn(&Done) -> Option<String>| rate.done.as_ref().and_then(text).unwrap_or_else(|| "-".to_owned());
    let cells = vec![
        now.slot.to_string(),
        now.pid.to_string(),
        now.state.to_string(),
        now.core.map_or_else(|| "-".to_owned(), |core| core.to_string()),
        told(|it| Some(amount::number(it.requests))),
        told(|it| Some(amount::number(it.failed))),
        told(|it| it.quantile(0.5).map(amount::micros)),
        told(|it| it.quantile(0.99).map(amount::micros)),
        amount::number(now.connections as f64),
        told(|it| Some(amount::percent(it.cpu))),
        amount::bytes(now.resident_bytes),
    ];
    Cells { cells, mood: if now.state == "ready" { Mood::Well } else { Mood::Changing } }
}

/// An agent's row.
pub fn agent(agent: &Agent) -> Cells {
    let Slots { cpu, mem, gpu } = agent.slots;
    let alive = agent.status == "ALIVE";
    let status = match (alive, agent.cordoned) {
        (true, true) => "CORDONED".to_owned(),
        (false, true) => format!("{} cordoned", agent.status),
        (_, false) => agent.status.clone(),
    };
    let cells = vec![agent.id.clone(), status, of(cpu), gib(mem), of(gpu), agent.sessions.to_string()];
    let mood = match (alive, agent.cordoned) {
        (false, _) => Mood::Bad,
        (true, true) => Mood::Changing,
        (true, false) => Mood::Well,
    };
    Cells { cells, mood }
}

/// A session's row.
pub fn session(session: &Session) -> Cells {
    let Session { name, key, image, status, agent, age, queries } = session;
    let cells = vec![
        name.clone(),
        key.clone(),
        image.clone(),
        status.clone(),
        agent.clone(),
        amount::span(*age),
        amount::number(*queries as f64),
    ];
    Cells { cells, mood: if status == "RUNNING" { Mood::Well } else { Mood::Changing } }
}

/// All workers together, the most telling first.
pub fn workers_title(rates: &[Rate]) -> Vec<String> {
    let total = total(rates);
    let mut parts = Vec::new();
    if let Some(done) = &total.done {
        parts.push(format!("{} req/s", amount::number(done.requests)));
        if done.failed > 0.0 {
            parts.push(format!("{} failed/s", amount::number(done.failed)));
        }
        let quantile = |share| done.quantile(share).map_or_else(|| "-".to_owned(), amount::micros);
        parts.push(format!("p50 {} p99 {}", quantile(0.5), quantile(0.99)));
        parts.push(format!("CPU {}", amount::percent(done.cpu)));
    }
    parts.push(format!("{} conns", amount::number(total.connections as f64)));
    parts.push(amount::bytes(total.resident_bytes));
    parts
}

/// All agents together.
pub fn agents_title(cluster: &Cluster) -> Vec<String> {
    let sums = &cluster.sums;
    let mut parts = Vec::new();
    if sums.away > 0 {
        parts.push(format!("{} not alive", sums.away));
    }
    if sums.cordoned > 0 {
        parts.push(format!("{} cordoned", sums.cordoned));
    }
    parts.push(format!("CPU {}", of(sums.slots.cpu)));
    parts.push(format!("memory {} GiB", gib(sums.slots.mem)));
    parts.push(format!("GPU {}", of(sums.slots.gpu)));
    parts
}

/// Used and all.
fn of((used, all): (f64, f64)) -> String {
    format!("{}/{}", amount::slots(used), amount::slots(all))
}

/// MiB used and in all, in GiB.
fn gib((used, all): (f64, f64)) -> String {
    let gib = |mib: f64| amount::slots((mib / 1024.0 * 10.0).round() / 10.0);
    format!("{}/{}", gib(used), gib(all))
}
