//! Compute nodes: which of them get sessions.

use async_graphql::{Context, Object, Result, SimpleObject};
use serde_json::{Value, json};

use super::{Done, noted, refusal, told};
use crate::{
    graphql::{agent::Agent, fault::nullable},
    store::postgres::admin::agents::{self, AgentRow},
};

/// Changes of agents.
#[derive(Default)]
pub struct AgentMutation;

/// How changing an agent went, and how it stands now.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct ModifyAgent {
    ok: Option<bool>,
    msg: Option<String>,
    agent: Option<Agent>,
}

const AGENT: &str = "agent";
/// Longest time that sessions get to end by themselves: a week, in seconds.
const MOST_GRACE: i32 = 7 * 24 * 3600;

/// Changes of agents.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl AgentMutation {
    /// Keeps new sessions off an agent; those that it has go on.
    async fn cordon_agent(&self, ctx: &Context<'_>, agent_id: String) -> Option<Result<ModifyAgent>> {
        nullable(set_schedulable(ctx, "cordon_agent", agent_id, false)).await
    }

    /// Lets new sessions come to an agent again; it is drained no more.
    async fn uncordon_agent(&self, ctx: &Context<'_>, agent_id: String) -> Option<Result<ModifyAgent>> {
        nullable(set_schedulable(ctx, "uncordon_agent", agent_id, true)).await
    }

    /// Keeps new sessions off an agent, and ends those that it has, once they have had `grace` seconds (0) to end by
    /// themselves. The leading gateway does so within seconds; the agent's `computations` show it.
    async fn drain_agent(
        &self,
        ctx: &Context<'_>,
        agent_id: String,
        grace: Option<i32>,
    ) -> Option<Result<ModifyAgent>> {
        nullable(async {
            let (name, grace) = (agent_id.clone(), grace.unwrap_or(0));
            let drained = noted(ctx, "drain_agent", (AGENT, &name), json!({"grace": grace}), |env| async move {
                if !(0..=MOST_GRACE).contains(&grace) {
                    return Ok(Err(format!("grace must be 0 to {MOST_GRACE} seconds, it is {grace}")));
                }
                Ok(known(refusal(agents::drain(&env.postgres, &agent_id, grace.into()).await)?))
            });
            answer(drained.await?)
        })
        .await
    }
}

async fn set_schedulable(
    ctx: &Context<'_>,
    name: &str,
    agent_id: String,
    schedulable: bool,
) -> Result<Option<ModifyAgent>> {
    let target = agent_id.clone();
    let changed = noted(ctx, name, (AGENT, &target), Value::Null, |env| async move {
        Ok(known(refusal(agents::set_schedulable(&env.postgres, &agent_id, schedulable).await)?))
    });
    answer(changed.await?)
}

fn known(found: Done<Option<AgentRow>>) -> Done<AgentRow> {
    found?.ok_or_else(|| "there is no such agent".to_owned())
}

fn answer(changed: Done<AgentRow>) -> Result<Option<ModifyAgent>> {
    let (ok, msg) = told(&changed);
    Ok(Some(ModifyAgent { ok, msg, agent: changed.ok().map(|row| Agent(row.into())) }))
}
