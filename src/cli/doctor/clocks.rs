//! Clocks: ours against the servers', and times of heartbeats that are yet to come.
//!
//! A signature is good for 15 minutes around its date, and an agent is lost when it was last heard of too long ago:
//! both compare times that different machines wrote.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_postgres::Client;

use super::{
    check::{Checks, Needed, Outcome, check},
    finding::{Finding, or_ok},
    redis::Server,
};
use crate::{
    cli::CliError,
    store::redis::{LIVENESS_DB, last_seen},
};

/// Seconds apart from which somebody should look, and from which it breaks things.
const WARNING_S: f64 = 2.0;
const FAILED_S: f64 = 60.0;

/// UNIX seconds by this machine's clock.
pub type Clock = fn() -> f64;

pub fn checks<'a>(database: Needed<'a, Client>, redis: Needed<'a, Server>, clock: Clock) -> Checks<'a> {
    vec![
        check("clock-postgresql", database, async move |client| {
            compare("PostgreSQL", clock, async {
                let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
                Ok(client.query_one(sql, &[]).await?.get(0))
            })
            .await
        }),
        check("clock-redis", redis, async move |server| compare("Redis", clock, server.time()).await),
        check("heartbeats", redis, async move |server| {
            let seen = server.hash(LIVENESS_DB, last_seen::KEY).await?;
            Ok(judge_heartbeats(&seen, clock()))
        }),
    ]
}

/// This machine's clock.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

async fn compare(whose: &str, clock: Clock, theirs: impl Future<Output = Result<f64, CliError>>) -> Outcome {
    let before = clock();
    let theirs = theirs.await?;
    Ok(vec![judge(whose, before, theirs, clock())])
}

/// A clock that was read at some time between two of ours is off by no less than how far it is outside of these.
fn judge(whose: &str, before: f64, theirs: f64, after: f64) -> Finding {
    let off = (before - theirs).max(theirs - after).max(0.0);
    let direction = if theirs > after { "ahead of" } else { "behind" };
    let mend = "keep the clocks of all machines right (NTP: chrony, systemd-timesyncd); signatures are good for \
                15 minutes around their dates";
    let what = format!("{whose}'s clock is {off:.1} s {direction} this machine's");
    match off {
        off if off > FAILED_S => Finding::failed(what, mend),
        off if off > WARNING_S => Finding::warning(what, mend),
        _ => Finding::ok(format!("{whose}'s clock and this machine's are less than {WARNING_S} s apart")),
    }
}

fn judge_heartbeats(seen: &HashMap<String, String>, now: f64) -> Vec<Finding> {
    let ahead = |at: &String| at.parse::<f64>().ok().map(|at| at - now);
    let mut early: Vec<(&String, f64)> =
        seen.iter().filter_map(|(agent, at)| Some((agent, ahead(at)?))).filter(|(_, by)| *by > WARNING_S).collect();
    early.sort_by(|a, b| a.0.cmp(b.0));
    let found = early.into_iter().map(|(agent, by)| {
        let what = format!("agent {agent} was last heard of {by:.1} s from now: until then it is not found lost");
        let mend = "the clock of the gateway that heard it was ahead: keep the clocks of all machines right (NTP)";
        if by > FAILED_S { Finding::failed(what, mend) } else { Finding::warning(what, mend) }
    });
    or_ok(found.collect(), format!("no heartbeat of {} is from the future", super::finding::count(seen.len(), "agent")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::State;

    #[test]
    fn a_clock_is_off_by_what_the_round_trip_does_not_explain() {
        let state = |before, theirs, after| judge("Redis", before, theirs, after).state;
        assert_eq!(state(100.0, 101.9, 100.0), State::Ok);
        assert_eq!(state(100.0, 104.0, 105.0), State::Ok, "it was read within a slow round trip");
        assert_eq!(state(100.0, 97.9, 100.0), State::Warning);
        assert_eq!(state(100.0, 102.2, 100.1), State::Warning);
        assert_eq!(state(100.0, 160.2, 100.1), State::Failed);
        let behind = judge("Redis", 100.0, 30.0, 100.0);
        assert_eq!(
            (behind.state, behind.what.as_str()),
            (State::Failed, "Redis's clock is 70.0 s behind this machine's")
        );
    }

    #[test]
    fn heartbeats_of_the_future_are_named() {
        let seen = [("i-b", "1300"), ("i-a", "1010.5"), ("i-ok", "1001"), ("i-odd", "x")];
        let seen = seen.map(|(agent, at)| (agent.to_owned(), at.to_owned())).into();
        let found = judge_heartbeats(&seen, 1000.0);
        let told: Vec<_> = found.iter().map(|it| (it.state, it.what.split(' ').nth(1).unwrap())).collect();
        assert_eq!(told, [(State::Warning, "i-a"), (State::Failed, "i-b")]);
        assert_eq!(judge_heartbeats(&seen, 2000.0)[0].state, State::Ok);
    }
}
