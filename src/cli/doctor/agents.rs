//! The agents that are said to be alive: whether their ports take connections from here.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::{net::TcpStream, time::timeout};
use tokio_postgres::Client;

use super::{
    check::{Checks, Needed, Outcome, check},
    finding::{Finding, NAMED, count, or_ok},
};
use crate::config::HostPort;

/// Longest time for one connection.
const TIME: Duration = Duration::from_millis(1500);
/// How many are tried at once, and how many at all: that takes three times [`TIME`] at most, less than a
/// check may.
const AT_ONCE: usize = 256;
const MOST: i64 = 3 * 256;

pub fn checks(database: Needed<'_, Client>) -> Checks<'_> {
    vec![check("agents", database, agents)]
}

async fn agents(client: &Client) -> Outcome {
    // A sample where there are too many to try all.
    let sql = "SELECT id, addr, count(*) OVER () FROM agents WHERE status = 'ALIVE' ORDER BY random() LIMIT $1";
    let rows = client.query(sql, &[&MOST]).await?;
    let alive = rows.first().map_or(0, |row| row.get::<_, i64>(2));
    if alive == 0 {
        let what = "no agent is alive, so that no session can be made";
        return Ok(vec![Finding::warning(what, "start one: backendai-agent; see its log where one runs")]);
    }
    let tries =
        rows.iter().map(|row| async { (row.get::<_, String>(0), row.get::<_, String>(1), reach(row.get(1)).await) });
    let answers: Vec<_> = stream::iter(tries).buffer_unordered(AT_ONCE).collect().await;
    let mut away: Vec<(String, String)> =
        answers.into_iter().filter_map(|(id, addr, answer)| Some((id, format!("{addr}: {}", answer.err()?)))).collect();
    away.sort();
    let mend = "see that it runs, and that this machine may reach its port";
    let more = away.len().saturating_sub(NAMED);
    let mut found: Vec<Finding> = away
        .into_iter()
        .take(NAMED)
        .map(|(id, why)| Finding::failed(format!("agent {id} is ALIVE and does not take connections at {why}"), mend))
        .collect();
    if more > 0 {
        found.push(Finding::failed(format!("nor do {more} other agents"), mend));
    }
    Ok(or_ok(
        found,
        format!("{} alive, {} tried", count(usize::try_from(alive).unwrap_or_default(), "agent"), rows.len()),
    ))
}

async fn reach(addr: &str) -> Result<(), String> {
    let at: HostPort = addr.strip_prefix("tcp://").unwrap_or(addr).parse().map_err(|it| format!("{it}"))?;
    match timeout(TIME, TcpStream::connect((at.host.as_str(), at.port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", TIME.as_secs_f32())),
    }
}
