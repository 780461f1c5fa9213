//! Ending a session.

use std::rc::Rc;

use rmpv::Value;
use uuid::Uuid;

use super::{AgentOp, Error, Registry, SessionName, time_limits};
use crate::{
    store::postgres::{
        agents,
        kernels::{self, End, SessionRow, Stats},
    },
    telemetry::{self, Counter},
};

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
        self.end(&row, "user-requested").await
    }

    /// Ends a session that is marked as TERMINATING.
    pub(super) async fn end(&self, row: &SessionRow, info: &str) -> Result<Option<Stats>, Error> {
        match self.destroy_at_agent(row.id, &row.agent_addr).await {
            Ok(stats) => {
                let kept = stats.clone().unwrap_or_default();
                self.finish(row.id, End::Terminated, info, &kept).await?;
                telemetry::count(Counter::SessionsDestroyed);
                Ok(stats)
            }
            // An agent that is gone keeps nothing running that anybody could reach; if it comes back, its kernels
            // are compared with the rows.
            Err(_) if !agents::is_alive(&self.stores.postgres, &row.agent).await? => {
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

    pub(super) async fn destroy_at_agent(&self, id: Uuid, addr: &str) -> Result<Option<Stats>, Error> {
        let args = vec![Value::from(id.to_string())];
        let answer = self.agents.call(addr, "destroy_kernel", args, time_limits::DESTROY).await;
        let value = answer.map_err(|error| Error::Agent(AgentOp::Destroy, error))?;
        Ok(Stats::from_agent(&value))
    }
}
