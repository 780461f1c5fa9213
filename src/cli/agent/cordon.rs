//! `agent cordon`, `agent uncordon`: whether agents get new sessions.

use serde_json::json;
use tokio_postgres::Client;

use super::no_agent;
use crate::cli::{CliError, Out, audit::noted};

/// One of the two commands.
pub struct Switch {
    action: &'static str,
    sql: &'static str,
    done: &'static str,
}

pub const CORDON: Switch = Switch {
    action: "agent cordon",
    sql: "UPDATE agents SET schedulable = false WHERE id = $1",
    done: "gets no new sessions",
};

pub const UNCORDON: Switch = Switch {
    action: "agent uncordon",
    sql: "UPDATE agents SET schedulable = true, drain_at = NULL WHERE id = $1",
    done: "gets new sessions",
};

/// Switches all of these agents, or none where one is unknown.
pub async fn set(client: &Client, agents: &[String], switch: Switch, out: Out<'_>) -> Result<(), CliError> {
    let rows = client.query("SELECT id FROM agents WHERE id = ANY($1)", &[&agents]).await?;
    let known: Vec<&str> = rows.iter().map(|it| it.get(0)).collect();
    if let Some(unknown) = agents.iter().find(|it| !known.contains(&it.as_str())) {
        return Err(no_agent(unknown));
    }
    for agent in agents {
        let work = async { Ok(client.execute(switch.sql, &[agent]).await?) };
        noted(client, switch.action, "agent", agent, &json!({}), work).await?;
        writeln!(out, "{agent} {}", switch.done)?;
    }
    Ok(())
}
