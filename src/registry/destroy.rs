//! Ending a session.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use rmpv::Value;
use uuid::Uuid;

use super::{AgentOp, Error, Registry, SessionName, time_limits};
use crate::{
    engine,
    store::{
        postgres::{
            PgError, agents,
            kernels::{self, End, SessionRow, Stats},
        },
        redis::last_seen,
    },
    telemetry::{self, Counter},
};

/// How long the leader's verdict on a silent agent is waited for: its round, the ping's time limit, and a margin.
const VERDICT_TIME: Duration = Duration::from_secs(8);
/// How often it is looked for.
const VERDICT_POLL: Duration = Duration::from_millis(200);

impl Registry {
    /// Ends a key's session of that name; gives the kernel's last statistics if its agent has any.
    ///
    /// # Errors
    /// See [`Error`]; where the agent fails, the session runs on.
    pub async fn destroy(self: &Rc<Self>, access_key: Rc<str>, name: SessionName) -> Result<Option<Stats>, Error> {
        let registry = self.clone();
        let work = async move { registry.destroy_attended(&access_key, &name).await };
        self.tasks.detach(work).await.unwrap_or(Err(Error::Ending))
    }

    async fn destroy_attended(&self, access_key: &str, name: &SessionName) -> Result<Option<Stats>, Error> {
        let row = self.row(access_key, name).await?.ok_or(Error::SessionNotFound)?;
        if !kernels::terminating(&self.stores.postgres, row.id, &self.node).await? {
            return Err(Error::SessionNotFound);
        }
        self.forget_everywhere(row.id).await;
        self.end(&row, "user-requested", VERDICT_TIME).await
    }

    /// Ends a session that is marked as TERMINATING. An agent that fails and is silent may be about to be called lost,
    /// which is waited for.
    pub(super) async fn end(&self, row: &SessionRow, info: &str, patience: Duration) -> Result<Option<Stats>, Error> {
        match self.destroy_at_agent(row.id, &row.agent_addr).await {
            Ok(stats) => {
                let kept = stats.clone().unwrap_or_default();
                self.finish(row.id, End::Terminated, info, &kept).await?;
                telemetry::count(Counter::SessionsDestroyed);
                Ok(stats)
            }
            // An agent that is gone keeps nothing running that anybody could reach; if it comes back, its kernels
            // are compared with the rows.
            Err(_) if self.is_gone(&row.agent, patience).await? => {
                let none = Stats::default();
                self.finish(row.id, End::Terminated, "agent-lost", &none).await?;
                Ok(None)
            }
            Err(error) => {
                kernels::not_terminated(&self.stores.postgres, row.id).await?;
                Err(error)
            }
        }
    }

    /// Whether an agent is gone, or is found to be while it is waited for.
    async fn is_gone(&self, agent: &str, patience: Duration) -> Result<bool, PgError> {
        let began = Instant::now();
        loop {
            if !agents::is_alive(&self.stores.postgres, agent).await? {
                return Ok(true);
            }
            let seen = last_seen::all(&self.stores.liveness).await;
            if began.elapsed() >= patience || !seen.is_ok_and(|seen| self.is_silent(&seen, agent)) {
                return Ok(false);
            }
            engine::sleep(VERDICT_POLL).await;
        }
    }

    pub(super) async fn destroy_at_agent(&self, id: Uuid, addr: &str) -> Result<Option<Stats>, Error> {
        let args = vec![Value::from(id.to_string())];
        let answer = self.agents.call(addr, "destroy_kernel", args, time_limits::DESTROY).await;
        let value = answer.map_err(|error| Error::Agent(AgentOp::Destroy, error))?;
        Ok(Stats::from_agent(&value))
    }
}
