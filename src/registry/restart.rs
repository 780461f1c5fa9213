//! Restarting a session's kernel: its files stay, its variables go.

use std::{rc::Rc, time::Duration, time::Instant};

use rmpv::Value;
use uuid::Uuid;

use super::{AgentOp, Error, Registry, Session, Slots, create, time_limits};
use crate::{
    agents::CallError,
    engine,
    store::{
        postgres::{
            kernels::{self, Started},
            restarts::{self, Restart},
        },
        redis::session_events::Change,
    },
};

/// How often a session that somebody else is restarting is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often, and how many times, the outcome is written to a PostgreSQL that is away: until the leader would call
/// the restart abandoned.
const WRITE_EVERY: Duration = Duration::from_millis(500);
const WRITES: usize = 20;

impl Registry {
    /// Restarts a session's kernel.
    ///
    /// # Errors
    /// See [`Error`]. Where the agent failed halfway, the session can be restarted again or ended; the leader ends
    /// it if nobody does.
    pub async fn restart(self: &Rc<Self>, session: &Rc<Session>) -> Result<(), Error> {
        let (registry, session) = (self.clone(), session.clone());
        let work = async move { registry.restart_attended(&session).await };
        self.tasks.detach(work).await.unwrap_or(Err(Error::Ending))
    }

    async fn restart_attended(&self, session: &Session) -> Result<(), Error> {
        let restart = self.begin_restart(session.id).await?;
        // The key's permission may have become less since the session was made.
        if let (Some(mount), false) = (create::read_only(&restart.mounts), restart.agent_read_only) {
            restarts::not_begun(&self.stores.postgres, session.id).await?;
            return Err(Error::NoReadOnlyAgent(mount.name.clone()));
        }
        let args = vec![Value::from(session.id.to_string()), config(&restart)];
        let answer = self.agents.call(&restart.agent_addr, "restart_kernel", args, time_limits::RESTART).await;
        let started = answer.and_then(|value| {
            create::started(&value).ok_or_else(|| CallError::Malformed("restart_kernel answered no ports".into()))
        });
        match started {
            Ok(started) if self.enter_restarted(session.id, &started).await? => {
                self.announce(session.id, Change::Restarted, "user-requested").await;
                Ok(())
            }
            // Somebody ended it meanwhile: the agent must not keep what it made.
            Ok(_) => {
                let _ = self.destroy_at_agent(session.id, &restart.agent_addr).await;
                Err(Error::SessionNotFound)
            }
            Err(error) => {
                self.enter_failed(session.id, &error).await;
                Err(Error::Agent(AgentOp::Restart, error))
            }
        }
    }

    /// Marks the session as RESTARTING, once nobody else restarts it.
    async fn begin_restart(&self, id: Uuid) -> Result<Restart, Error> {
        let deadline = Instant::now() + time_limits::RESTART;
        loop {
            if let Some(restart) = restarts::begin(&self.stores.postgres, id, &self.node).await? {
                return Ok(restart);
            }
            match kernels::status(&self.stores.postgres, id).await?.as_deref() {
                Some("RUNNING" | "RESTARTING") if Instant::now() < deadline => engine::sleep(POLL).await,
                Some("RUNNING" | "RESTARTING") => return Err(Error::Agent(AgentOp::Restart, CallError::Timeout)),
                _ => return Err(Error::SessionNotFound),
            }
        }
    }

    async fn enter_restarted(&self, id: Uuid, started: &Started) -> Result<bool, Error> {
        let mut writes = 1;
        loop {
            match restarts::done(&self.stores.postgres, id, started).await {
                Err(error) if writes < WRITES => {
                    tracing::warn!(%error, session = %id, "a restart could not be entered; it is tried again");
                    writes += 1;
                    engine::sleep(WRITE_EVERY).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn enter_failed(&self, id: Uuid, error: &CallError) {
        let entered = match error {
            CallError::Unreachable(_) => restarts::not_begun(&self.stores.postgres, id).await,
            missing if missing.is_method_not_found() => restarts::not_begun(&self.stores.postgres, id).await,
            _ => restarts::failed(&self.stores.postgres, id).await,
        };
        if let Err(error) = entered {
            tracing::warn!(%error, session = %id, "a failed restart is left to the leader");
        }
    }
}

/// `restart_kernel`'s second argument: what the kernel was created with, and what it then got. Agents fail where
/// `cpu_set` is empty.
fn config(restart: &Restart) -> Value {
    let slots = Slots { mem: restart.mem_slot, cpu: restart.cpu_slot, gpu: restart.gpu_slot };
    let environ = restart.environ.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut config = create::config(&restart.lang, &slots, &restart.mounts, environ);
    let numbers = |set: &[i32]| Value::Array(set.iter().map(|n| (*n).into()).collect());
    config.push(("cpu_set".into(), numbers(&restart.cpu_set)));
    config.push(("gpu_set".into(), numbers(&restart.gpu_set)));
    Value::Map(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::vfolders::Mount;

    #[test]
    fn the_agent_gets_what_the_kernel_had() {
        let restart = Restart {
            lang: "python:latest".into(),
            agent_addr: "tcp://127.0.0.1:6001".into(),
            mem_slot: 256,
            cpu_slot: 1.0,
            gpu_slot: 0.0,
            environ: vec!["A=b=c".into()],
            cpu_set: vec![1],
            gpu_set: vec![],
            mounts: [("data", false), ("read", true)]
                .map(|(name, read_only)| Mount { name: name.into(), host: "local".into(), id: Uuid::nil(), read_only })
                .into(),
            agent_read_only: true,
        };
        let map = |pairs: Vec<(&str, Value)>| Value::Map(pairs.into_iter().map(|(k, v)| (k.into(), v)).collect());
        let limits = vec![("mem_slot", 256.into()), ("cpu_slot", 1.0.into()), ("gpu_slot", 0.0.into())];
        let id = "0".repeat(32);
        let data = vec!["data".into(), "local".into(), id.as_str().into()];
        let read = vec!["read".into(), "local".into(), id.as_str().into(), "ro".into()];
        let wanted = map(vec![
            ("lang", "python:latest".into()),
            ("limits", map(limits)),
            ("mounts", Value::Array(vec![Value::Array(data), Value::Array(read)])),
            ("environ", map(vec![("A", "b=c".into())])),
            ("cpu_set", Value::Array(vec![1.into()])),
            ("gpu_set", Value::Array(vec![])),
        ]);
        assert_eq!(config(&restart), wanted);
    }
}
