//! `explain_placement`: where a session could go now, and why not to each other agent.

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use super::{Fault, env::with, fault::nullable};
use crate::registry::{
    Error, Placement as Explained, SessionName, Wanted,
    scheduler::{Candidate, WhyNot},
};

/// The scheduler's queries.
#[derive(Default)]
pub struct PlacementQuery;

/// What a session may be made with, as `config` of the REST API.
#[derive(Default, InputObject)]
#[graphql(rename_fields = "snake_case")]
pub struct SessionConfig {
    /// Names of folders.
    mounts: Option<Vec<String>>,
    /// MiB; at most what the image takes.
    instance_memory: Option<i32>,
    /// Cores; at most what the image takes.
    instance_cores: Option<f64>,
    /// GPUs; at most what the image takes.
    instance_gpus: Option<f64>,
}

/// Where a session could go now.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct Placement {
    /// Its image, `name:tag`.
    lang: Option<String>,
    /// Memory that it would take, MiB.
    mem_slot: Option<i64>,
    /// Cores that it would take.
    cpu_slot: Option<f64>,
    /// GPUs that it would take.
    gpu_slot: Option<f64>,
    /// The agent that would be chosen; null where there is none.
    chosen: Option<String>,
    /// All agents: first those that could take it, in the order in which they would be tried.
    agents: Option<Vec<Option<AgentPlacement>>>,
}

/// Whether an agent could take a session.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct AgentPlacement {
    /// The agent's id.
    agent: Option<String>,
    /// Memory that it has left, MiB.
    free_mem_slots: Option<i64>,
    /// Cores that it has left.
    free_cpu_slots: Option<f64>,
    /// GPUs that it has left.
    free_gpu_slots: Option<f64>,
    /// Whether it could.
    fits: Option<bool>,
    /// Why not: `away`, `cordoned`, `read_only_mounts`, `memory`, `cores` or `gpus`.
    reason: Option<String>,
}

/// What the scheduler would do.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl PlacementQuery {
    /// Where a session of that image could go now, and why not to each other agent. Nothing is made, and the key's
    /// own limits are not looked at. `access_key`: whose folders `mounts` names.
    async fn explain_placement(
        &self,
        ctx: &Context<'_>,
        lang: String,
        config: Option<SessionConfig>,
        access_key: Option<String>,
    ) -> Option<Result<Placement>> {
        nullable(async {
            let wanted = wanted(lang, config.unwrap_or_default())?;
            let explained = with(ctx, |env| async move {
                let owner = access_key.unwrap_or_else(|| env.caller.access_key.clone());
                env.registry.explain_placement(&owner, &wanted).await
            });
            let explained = explained.await.map_err(|error| match error {
                Error::Postgres(_) | Error::Ending | Error::ImagesUnknown => Fault::from(error),
                wrong => Fault::Invalid(wrong.to_string()),
            })?;
            Ok(Some(explained.into()))
        })
        .await
    }
}

fn wanted(lang: String, config: SessionConfig) -> Result<Wanted, Fault> {
    let SessionConfig { mounts, instance_memory, instance_cores, instance_gpus } = config;
    let negative =
        [instance_memory.map(f64::from), instance_cores, instance_gpus].into_iter().flatten().any(|n| n < 0.0);
    // Never made, so that any name will do.
    let (Some(name), false) = (SessionName::parse("explained"), negative) else {
        return Err(Fault::Invalid("a session takes no negative number of anything".into()));
    };
    Ok(Wanted {
        name,
        lang,
        reuse: true,
        tag: None,
        environ: Vec::new(),
        mounts: mounts.unwrap_or_default(),
        memory: instance_memory.map(i64::from),
        cores: instance_cores,
        gpus: instance_gpus,
    })
}

// === impl Placement ===

impl From<Explained> for Placement {
    fn from(explained: Explained) -> Self {
        let Explained { lang, slots, agents } = explained;
        let agents: Vec<AgentPlacement> = agents.into_iter().map(AgentPlacement::from).collect();
        Placement {
            lang: Some(lang),
            mem_slot: Some(slots.mem),
            cpu_slot: Some(slots.cpu),
            gpu_slot: Some(slots.gpu),
            chosen: agents.first().filter(|agent| agent.fits == Some(true)).and_then(|agent| agent.agent.clone()),
            agents: Some(agents.into_iter().map(Some).collect()),
        }
    }
}

impl From<(Candidate, Option<WhyNot>)> for AgentPlacement {
    fn from((agent, why_not): (Candidate, Option<WhyNot>)) -> Self {
        AgentPlacement {
            agent: Some(agent.id),
            free_mem_slots: Some(agent.free.mem),
            free_cpu_slots: Some(agent.free.cpu),
            free_gpu_slots: Some(agent.free.gpu),
            fits: Some(why_not.is_none()),
            reason: why_not.map(|why| why.name().to_owned()),
        }
    }
}
