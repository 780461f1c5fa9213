//! Administrators' actions, noted: who, what, on what, when, from where, and how it went.
//!
//! An entry is made before the action and closed before it is answered, and both go on when the client hangs up. An
//! action that cannot be noted is not done; one whose end cannot be noted at once is closed as soon as PostgreSQL is
//! back, or stays without an outcome where this process ends before.

use std::{future::Future, rc::Rc, time::Duration};

use serde_json::Value;

use super::{Error, Registry};
use crate::{
    engine,
    store::postgres::{
        Postgres,
        audit::{self, Entry, Outcome, Via},
    },
};

/// How often, and how many times, an outcome is entered in a PostgreSQL that is away: for a minute.
const CLOSE_AGAIN: Duration = Duration::from_millis(500);
const CLOSE_TRIES: u32 = 120;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The access key.
    pub access_key: String,
    /// By which way.
    pub via: Via,
    /// The client's address.
    pub source: String,
    /// The request's id, as in the log.
    pub request_id: String,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Action {
    /// The mutation or the route.
    pub name: String,
    /// `keypair`, `agent`, `session`, ….
    pub target_type: &'static str,
    /// What it is done to.
    pub target: String,
    /// What was asked for, without secrets.
    pub detail: Value,
}

impl Registry {
    /// Does something and notes it; gives what the work gave. `outcome` says of that how it went.
    ///
    /// # Errors
    /// It cannot be noted, so that it was not done; or the worker ends.
    pub async fn noted<T: 'static>(
        self: &Rc<Self>,
        actor: Actor,
        action: Action,
        work: impl Future<Output = T> + 'static,
        outcome: impl FnOnce(&T) -> Outcome + 'static,
    ) -> Result<T, Error> {
        let postgres = self.stores.postgres.clone();
        let attended = async move {
            let id = audit::begin(&postgres, &entry(&actor, &action)).await?;
            let done = work.await;
            close(&postgres, id, outcome(&done)).await;
            Ok(done)
        };
        self.tasks.detach(attended).await.unwrap_or(Err(Error::Ending))
    }
}

fn entry<'a>(actor: &'a Actor, action: &'a Action) -> Entry<'a> {
    Entry {
        actor: &actor.access_key,
        via: actor.via,
        source: Some(&actor.source),
        request_id: Some(&actor.request_id),
        action: &action.name,
        target_type: action.target_type,
        target: &action.target,
        detail: &action.detail,
    }
}

async fn close(postgres: &Postgres, id: i64, outcome: Outcome) {
    let Err(error) = audit::end(postgres, id, &outcome).await else { return };
    tracing::warn!(%error, entry = id, outcome = outcome.name(), "an action's outcome is entered in the audit log later");
    let postgres = postgres.clone();
    engine::spawn(async move {
        for _ in 0..CLOSE_TRIES {
            engine::sleep(CLOSE_AGAIN).await;
            if audit::end(&postgres, id, &outcome).await.is_ok() {
                return;
            }
        }
        tracing::error!(entry = id, outcome = outcome.name(), "an action stays without an outcome in the audit log");
    });
}
