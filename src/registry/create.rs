//! Making a session.
//!
//! One statement takes the key's place and the agent's slots and inserts the row (PREPARING); then the agent is
//! called; then the row says RUNNING, or ERROR with everything given back. The agent's call never happens inside a
//! transaction, and what this worker does not finish, the leader does.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use rmpv::Value;
use uuid::Uuid;

use super::{
    AgentOp, Error, Registry, SessionName, Slots,
    scheduler::{self, Candidate, WhyNot},
    sessions::Session,
    time_limits,
};
use crate::{
    agents::CallError,
    engine,
    store::{
        etcd::{ImageRef, Snapshot},
        postgres::{
            agents,
            kernels::{self, End, Reservation, Reserved, Started, Stats},
            vfolders,
        },
    },
    telemetry::{self, Counter},
};

/// How often a session that another request is making, or ending, is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Rounds of reserving while agents fill up under our hands.
const ROUNDS: usize = 5;

/// A wish for a session, parsed.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The client's name for it.
    pub name: SessionName,
    /// The image as the client names it.
    pub lang: String,
    /// Whether a live session of that name will do.
    pub reuse: bool,
    /// The client's tag.
    pub tag: Option<String>,
    /// Environment variables.
    pub environ: Vec<(String, String)>,
    /// Names of virtual folders.
    pub mounts: Vec<String>,
    /// MiB, at most what the image has.
    pub memory: Option<i64>,
    /// Cores, at most what the image has.
    pub cores: Option<f64>,
    /// GPUs, at most what the image has.
    pub gpus: Option<f64>,
}

/// The session of that name, and whether this request made it.
#[derive(Clone, Debug)]
pub struct Created {
    /// The client's name for it.
    pub name: SessionName,
    /// Whether it is new.
    pub created: bool,
}

/// Where a session could be placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// Its image, `name:tag`.
    pub lang: String,
    /// What it would take.
    pub slots: Slots,
    /// All agents: first those that could take it, the one that would be chosen before all, then why each other can not.
    pub agents: Vec<(Candidate, Option<WhyNot>)>,
}

/// What is given to the agent besides the kernel's id.
struct Plan {
    image: ImageRef,
    slots: Slots,
    mounts: Vec<vfolders::Mount>,
}

// === impl Plan ===

impl Plan {
    /// A folder that is to be mounted read-only.
    fn read_only(&self) -> Option<&vfolders::Mount> {
        read_only(&self.mounts)
    }

    /// Why there is no agent for it.
    fn no_agent(&self) -> Error {
        self.read_only().map_or(Error::NoAgent, |mount| Error::NoReadOnlyAgent(mount.name.clone()))
    }
}

// === impl Registry ===

impl Registry {
    /// Gets a key's session of that name, or makes it. Two at once with one name make one session.
    ///
    /// # Errors
    /// See [`Error`]; nothing stays reserved.
    pub async fn get_or_create(self: &Rc<Self>, access_key: Rc<str>, wanted: Wanted) -> Result<Created, Error> {
        let registry = self.clone();
        let work = async move { registry.get_or_create_attended(access_key, wanted).await };
        self.tasks.detach(work).await.unwrap_or(Err(Error::Ending))
    }

    async fn get_or_create_attended(&self, access_key: Rc<str>, wanted: Wanted) -> Result<Created, Error> {
        let plan = self.plan(&access_key, &wanted).await?;
        let deadline = Instant::now() + time_limits::CREATE;
        loop {
            match self.row(&access_key, &wanted.name).await? {
                // One that is about to end is in nobody's way.
                Some(row) if row.status != "TERMINATING" && (row.lang != plan.image.to_string() || !wanted.reuse) => {
                    return Err(Error::SessionExists);
                }
                Some(row) if matches!(row.status.as_str(), "PREPARING" | "TERMINATING") => {
                    // Somebody is about to make it, or to end it.
                    if Instant::now() > deadline {
                        return Err(Error::Agent(AgentOp::Create, CallError::Timeout));
                    }
                    engine::sleep(POLL).await;
                }
                Some(_) => return Ok(Created { name: wanted.name, created: false }),
                None => {
                    if let Some(id) = self.reserve(&access_key, &wanted, &plan).await? {
                        return self.start(id, &access_key, &wanted, &plan).await;
                    }
                }
            }
        }
    }

    async fn plan(&self, access_key: &str, wanted: &Wanted) -> Result<Plan, Error> {
        let snapshot = self.stores.etcd.snapshot();
        if snapshot.revision == 0 {
            // Nothing was read yet, which must not look like an image that does not exist.
            return Err(Error::ImagesUnknown);
        }
        let unknown = || Error::ImageNotFound(wanted.lang.clone());
        let image = snapshot.resolve_image(&wanted.lang).ok_or_else(unknown)?;
        let slots = slots(&snapshot, &image, wanted).ok_or_else(unknown)?;
        let mounts = vfolders::mounts(&self.stores.postgres, access_key, &wanted.mounts).await?;
        let missing = wanted.mounts.iter().find(|name| !mounts.iter().any(|mount| mount.name == **name));
        match missing {
            Some(name) => Err(Error::FolderNotFound(name.clone())),
            None => Ok(Plan { image, slots, mounts }),
        }
    }

    /// Takes place and slots: the new session's id, or `None` if one of that name came to be meanwhile.
    async fn reserve(
        &self,
        access_key: &str,
        wanted: &Wanted,
        plan: &Plan,
    ) -> Result<Option<(Uuid, Candidate)>, Error> {
        let id = Uuid::new_v4();
        let lang = plan.image.to_string();
        let environ: Vec<String> = wanted.environ.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for _ in 0..ROUNDS {
            let agents = self.candidates(plan.read_only().is_some()).await?;
            let (able, _) = scheduler::rank(&agents, &plan.slots);
            if able.is_empty() {
                return Err(plan.no_agent());
            }
            for agent in able {
                let reservation = Reservation {
                    id,
                    sess_id: wanted.name.as_str(),
                    access_key,
                    lang: &lang,
                    agent: &agent.id,
                    mem_slot: plan.slots.mem,
                    cpu_slot: plan.slots.cpu,
                    gpu_slot: plan.slots.gpu,
                    environ: &environ,
                    tag: wanted.tag.as_deref(),
                    node: &self.node,
                };
                match kernels::reserve(&self.stores.postgres, &reservation).await? {
                    Reserved::Ok => return Ok(Some((id, agent.clone()))),
                    Reserved::Exists => return Ok(None),
                    Reserved::Quota => return Err(Error::Quota),
                    Reserved::NoKey => return Err(Error::KeyInactive),
                    Reserved::AgentFull => {}
                }
            }
        }
        Err(plan.no_agent())
    }

    /// The agents that are alive; where a folder is to be mounted read-only, only some of them are open to that.
    async fn candidates(&self, read_only: bool) -> Result<Vec<Candidate>, Error> {
        let rows = agents::alive(&self.stores.postgres).await?;
        Ok(rows.into_iter().map(|row| Candidate::of(row, read_only)).collect())
    }

    /// Where a session like this could be placed now, best first, and why each other agent does not come into
    /// question; nothing is made or reserved.
    ///
    /// # Errors
    /// No such image or folder, or PostgreSQL is away.
    pub async fn explain_placement(&self, access_key: &str, wanted: &Wanted) -> Result<Placement, Error> {
        let plan = self.plan(access_key, wanted).await?;
        let read_only = plan.read_only().is_some();
        let rows = agents::all(&self.stores.postgres).await?;
        let agents: Vec<Candidate> = rows.into_iter().map(|row| Candidate::of(row, read_only)).collect();
        let (able, unable) = scheduler::rank(&agents, &plan.slots);
        let able = able.into_iter().map(|agent| (agent.clone(), None));
        let unable = unable.into_iter().map(|(agent, why)| (agent.clone(), Some(why)));
        Ok(Placement { lang: plan.image.to_string(), slots: plan.slots, agents: able.chain(unable).collect() })
    }

    /// Has the agent start what is reserved.
    async fn start(
        &self,
        (id, agent): (Uuid, Candidate),
        access_key: &Rc<str>,
        wanted: &Wanted,
        plan: &Plan,
    ) -> Result<Created, Error> {
        if let Err(error) = self.attach(id, plan).await {
            self.undo(id, &agent.addr, "creation-failed").await;
            return Err(error);
        }
        let environ = wanted.environ.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let config = config(&plan.image.to_string(), &plan.slots, &plan.mounts, environ);
        let args = vec![Value::from(id.to_string()), Value::Map(config)];
        let answer = self.agents.call(&agent.addr, "create_kernel", args, time_limits::CREATE).await;
        let started = answer.and_then(|value| {
            started(&value).ok_or_else(|| CallError::Malformed("create_kernel answered no ports".into()))
        });
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                self.undo(id, &agent.addr, "creation-failed").await;
                return Err(Error::Agent(AgentOp::Create, error));
            }
        };
        match kernels::started(&self.stores.postgres, id, &started).await {
            Ok(true) => {}
            // Somebody ended it meanwhile: the agent must not keep it.
            Ok(false) => {
                self.undo(id, &agent.addr, "ended-while-created").await;
                return Err(Error::SessionNotFound);
            }
            Err(error) => {
                self.undo(id, &agent.addr, "creation-failed").await;
                return Err(error.into());
            }
        }
        telemetry::count(Counter::SessionsCreated);
        // Where Redis is away, the counter begins with the first query that finds it back.
        let _ = self.stores.ledger.seed(id, 0).await;
        self.remember(Rc::new(Session {
            id,
            name: wanted.name.clone(),
            access_key: access_key.clone(),
            lang: plan.image.to_string().into(),
            agent: agent.id.into(),
            agent_addr: agent.addr.into(),
            mem_slot: plan.slots.mem,
            created: Instant::now(),
        }));
        Ok(Created { name: wanted.name.clone(), created: true })
    }

    /// Notes which folders the session has mounted, which keeps them from being removed meanwhile.
    async fn attach(&self, id: Uuid, plan: &Plan) -> Result<(), Error> {
        let ids: Vec<Uuid> = plan.mounts.iter().map(|mount| mount.id).collect();
        match vfolders::attach(&self.stores.postgres, id, &ids).await? {
            there if there == ids.len() => Ok(()),
            _ => Err(Error::FolderNotFound("removed meanwhile".into())),
        }
    }

    /// Gives everything back: on the agent, which may have started it although its answer was lost, and in the row.
    async fn undo(&self, id: Uuid, agent_addr: &str, info: &str) {
        telemetry::count(Counter::SessionsFailed);
        if let Err(error) = kernels::finish(&self.stores.postgres, id, End::Error, info, &Stats::default()).await {
            tracing::warn!(%error, session = %id, "a failed session is left to the leader");
        }
        let (agents, addr) = (self.agents.clone(), agent_addr.to_owned());
        let cleaning = self.tasks.clone();
        engine::spawn(async move {
            let args = vec![Value::from(id.to_string())];
            let work = async move { agents.call(&addr, "destroy_kernel", args, time_limits::DESTROY).await };
            // The agent may never have had it, or be gone.
            let _ = cleaning.detach(work).await;
        });
    }
}

/// The image's slots, where the client did not ask for less.
fn slots(snapshot: &Snapshot, image: &ImageRef, wanted: &Wanted) -> Option<Slots> {
    let has = snapshot.images.get(&image.name)?;
    let gpu = if image.tag.contains("gpu") { has.gpu } else { 0.0 };
    Some(Slots {
        mem: wanted.memory.map_or(has.mem, |mem| mem.min(has.mem)),
        cpu: wanted.cores.map_or(has.cpu, |cpu| cpu.min(has.cpu)),
        gpu: wanted.gpus.map_or(gpu, |wanted| wanted.min(gpu)),
    })
}

/// One of the folders that are to be mounted read-only.
pub(super) fn read_only(mounts: &[vfolders::Mount]) -> Option<&vfolders::Mount> {
    mounts.iter().find(|mount| mount.read_only)
}

/// What agents are told of a kernel that they make: the members of `create_kernel`'s second argument. Agents that
/// cannot mount read-only know mounts of three parts, and get no other.
pub(super) fn config<'a>(
    lang: &str,
    slots: &Slots,
    mounts: &[vfolders::Mount],
    environ: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<(Value, Value)> {
    let limits = vec![
        ("mem_slot".into(), slots.mem.into()),
        ("cpu_slot".into(), slots.cpu.into()),
        ("gpu_slot".into(), slots.gpu.into()),
    ];
    let mount = |m: &vfolders::Mount| {
        let mut parts = vec![m.name.as_str().into(), m.host.as_str().into(), m.id.simple().to_string().into()];
        parts.extend(m.read_only.then(|| Value::from("ro")));
        Value::Array(parts)
    };
    vec![
        ("lang".into(), lang.into()),
        ("limits".into(), Value::Map(limits)),
        ("mounts".into(), Value::Array(mounts.iter().map(mount).collect())),
        ("environ".into(), Value::Map(environ.map(|(name, value)| (name.into(), value.into())).collect())),
    ]
}

/// What `create_kernel` or `restart_kernel` answered; ports may come as text.
pub(super) fn started(answer: &Value) -> Option<Started> {
    let field = |name: &str| answer.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, v)| v);
    let number = |value: &Value| match value {
        Value::String(text) => text.as_str()?.parse().ok(),
        other => other.as_i64().and_then(|n| i32::try_from(n).ok()),
    };
    let port = |name: &str| number(field(name)?);
    let set = |name: &str| -> Vec<i32> {
        field(name).and_then(Value::as_array).map(|all| all.iter().filter_map(number).collect()).unwrap_or_default()
    };
    let text = |name: &str| field(name).and_then(Value::as_str).map(str::to_owned);
    Some(Started {
        container_id: text("container_id").unwrap_or_default().chars().take(64).collect(),
        kernel_host: text("kernel_host"),
        cpu_set: set("cpu_set"),
        gpu_set: set("gpu_set"),
        ports: [port("repl_in_port")?, port("repl_out_port")?, port("stdin_port")?, port("stdout_port")?],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_answer_is_read_with_ports_as_numbers_or_text() {
        let answer = Value::Map(vec![
            ("id".into(), "x".into()),
            ("repl_in_port".into(), 30111.into()),
            ("repl_out_port".into(), "30110".into()),
            ("stdin_port".into(), 30109.into()),
            ("stdout_port".into(), 30108.into()),
            ("container_id".into(), "c".into()),
            ("cpu_set".into(), Value::Array(vec![1.into()])),
            ("gpu_set".into(), Value::Array(vec![])),
        ]);
        let started = started(&answer).unwrap();
        assert_eq!(started.ports, [30111, 30110, 30109, 30108]);
        assert_eq!((started.cpu_set, started.gpu_set), (vec![1], vec![]));
    }

    #[test]
    fn an_answer_without_ports_is_none() {
        assert_eq!(started(&Value::Nil), None);
        assert_eq!(started(&Value::Map(vec![("repl_in_port".into(), Value::Nil)])), None);
    }
}
