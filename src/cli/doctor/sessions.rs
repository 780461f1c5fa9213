//! Sessions that nobody answers for.

use tokio_postgres::Client;

use super::{
    check::{Checks, Needed, Outcome, check},
    finding::{Finding, count, or_ok},
};

/// How long somebody may be at a half-made or half-ended session: the leader mends it before.
const HALF_DONE_S: f64 = 60.0;

pub fn checks(database: Needed<'_, Client>) -> Checks<'_> {
    vec![
        check("sessions-placed", database, unplaced),
        check("sessions-on-lost-agents", database, on_lost),
        check("half-done-sessions", database, half_done),
    ]
}

/// How a session is named: `KEY/name (id, STATUS)`.
const SHOWN: &str = "coalesce(access_key, '-') || '/' || coalesce(sess_id, '-') || ' (' || live.id || ', ' \
                     || coalesce(live.status::text, 'no status') || ')'";

async fn unplaced(client: &Client) -> Outcome {
    let sql = format!(
        "SELECT {SHOWN}, live.agent FROM backendai_live_kernels AS live LEFT JOIN agents ON agents.id = live.agent \
         WHERE agents.id IS NULL ORDER BY 1 LIMIT 20"
    );
    let rows = client.query(&sql, &[]).await?;
    let found = rows.iter().map(|row| {
        let (session, agent): (String, Option<String>) = (row.get(0), row.get(1));
        let on = agent.map_or_else(|| "no agent".to_owned(), |agent| format!("an unknown agent, {agent}"));
        Finding::failed(format!("{session} is on {on}"), "backendai-manager session destroy ID")
    });
    Ok(or_ok(found.collect(), "every live session is on a known agent"))
}

async fn on_lost(client: &Client) -> Outcome {
    let sql = "SELECT agents.id, agents.status::text, count(*) FROM backendai_live_kernels AS live \
               JOIN agents ON agents.id = live.agent WHERE agents.status IN ('LOST', 'TERMINATED') \
               GROUP BY agents.id ORDER BY agents.id LIMIT 20";
    let rows = client.query(sql, &[]).await?;
    let found = rows.iter().map(|row| {
        let (agent, status, sessions): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        let live = count(usize::try_from(sessions).unwrap_or_default(), "live session");
        Finding::note(
            format!("agent {agent} is {status} with {live}"),
            "they go on when it comes back; else: backendai-manager session destroy ID",
        )
    });
    Ok(or_ok(found.collect(), "no live session is on an agent that is gone"))
}

async fn half_done(client: &Client) -> Outcome {
    let sql = format!(
        "SELECT {SHOWN}, extract(epoch FROM now() - status_changed)::bigint FROM backendai_live_kernels AS live \
         WHERE status IN ('PREPARING', 'TERMINATING', 'RESTARTING') \
         AND status_changed < now() - make_interval(secs => $1) ORDER BY status_changed LIMIT 20"
    );
    let rows = client.query(&sql, &[&HALF_DONE_S]).await?;
    let found = rows.iter().map(|row| {
        let (session, age): (String, i64) = (row.get(0), row.get(1));
        Finding::warning(
            format!("{session} has been so for {age} s"),
            "a gateway's leader ends it after 45 s: see that a gateway runs, and its log",
        )
    });
    Ok(or_ok(found.collect(), "no session has been half done for a minute"))
}
