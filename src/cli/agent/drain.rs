//! `agent drain`: an agent gets no new sessions, and loses those it has, after a time in which they can end by
//! themselves. The gateways' leader ends them; this program only says so in the database, and waits.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::no_agent;
use crate::{
    cli::{
        CliError, Out,
        audit::noted,
        confirm::{Yes, counted},
        leading::somebody_leads,
        progress::Progress,
    },
    config::Connections,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    #[arg(value_name = "ID")]
    agent: String,
    /// Seconds in which sessions can end by themselves
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=MOST_GRACE))]
    grace: u32,
    #[command(flatten)]
    yes: Yes,
    /// Do not wait until the sessions have ended
    #[arg(long)]
    no_wait: bool,
}

/// 30 days.
const MOST_GRACE: i64 = 30 * 86_400;

/// How long the leader may take after the time is over.
const LIMIT: Duration = Duration::from_secs(60);

/// How often to look.
const EVERY: Duration = Duration::from_millis(500);

/// The index of live sessions finds these among any number of ended ones.
const LOOK: &str = "SELECT drain_at IS NOT NULL, (SELECT count(*) FROM kernels WHERE agent = agents.id \
                    AND role = 'master' AND status NOT IN ('TERMINATED', 'ERROR')) FROM agents WHERE id = $1";

const DRAIN: &str = "UPDATE agents SET schedulable = false, drain_at = now() + make_interval(secs => $2) WHERE id = $1";

/// What the database says of an agent that is being drained.
struct Look {
    draining: bool,
    live: usize,
}

pub async fn run(args: &Args, client: &Client, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let Args { agent, grace, yes, no_wait } = args;
    let live = look(client, agent).await?.live;
    if live > 0 {
        let when = if *grace > 0 { format!(" in {grace} s") } else { String::new() };
        yes.ask(&format!("Drain {agent} and end its {}{when}", counted(live, "session")))?;
    }
    let work = async {
        match client.execute(DRAIN, &[agent, &f64::from(*grace)]).await? {
            0 => Err(no_agent(agent)),
            _ => Ok(()),
        }
    };
    noted(client, "agent drain", "agent", agent, &json!({ "grace": grace }), work).await?;
    if !no_wait {
        let limit = Duration::from_secs(u64::from(*grace)) + LIMIT;
        return wait(client, agent, limit, to, out).await;
    }
    match look(client, agent).await?.live {
        0 => writeln!(out, "{agent} is drained")?,
        live => writeln!(out, "{agent} gets no new sessions; its {} will be ended", counted(live, "session"))?,
    }
    Ok(())
}

/// Waits until no session lives there.
async fn wait(client: &Client, agent: &str, limit: Duration, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let began = Instant::now();
    let mut most = look(client, agent).await?.live;
    // Who cannot ask etcd waits, and sees.
    if most > 0 && !somebody_leads(to).await.unwrap_or(true) {
        let sessions = counted(most, "session");
        return Err(CliError::Unfinished(format!(
            "{agent}: no gateway runs; its {sessions} will be ended when one does"
        )));
    }
    let bar = Progress::new("ending sessions", most);
    loop {
        let Look { draining, live } = look(client, agent).await?;
        most = most.max(live);
        bar.at(most - live);
        let still = counted(live, "session");
        if live == 0 {
            drop(bar);
            return Ok(writeln!(out, "{agent} is drained")?);
        }
        if !draining {
            return Err(CliError::Unfinished(format!("{agent} was uncordoned meanwhile: {still} still live")));
        }
        if began.elapsed() > limit {
            let seconds = limit.as_secs();
            let why = format!("{agent}: {still} still live after {seconds} s; the gateways' leader goes on trying");
            return Err(CliError::Unfinished(why));
        }
        sleep(EVERY).await;
    }
}

async fn look(client: &Client, agent: &str) -> Result<Look, CliError> {
    let row = client.query_opt(LOOK, &[&agent]).await?.ok_or_else(|| no_agent(agent))?;
    Ok(Look { draining: row.get(0), live: usize::try_from(row.get::<_, i64>(1)).unwrap_or_default() })
}
