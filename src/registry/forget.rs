//! Ended sessions whose totals Redis still has.
//!
//! A total in Redis is what lets every worker serve a session from memory (see [`super::sessions`]), so that of an
//! ended session must go. Where Redis is away at that moment the worker tries again until it is gone. A worker can
//! end before, and a total can be started a moment after its session ended; so the leader also compares from time
//! to time.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use uuid::Uuid;

use super::{Error, Registry};
use crate::{
    engine,
    store::{postgres::kernels, redis::Ledger},
};

/// How often it is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// Sessions that wait at most; beyond it the oldest are left to the leader.
const MOST: usize = 10_000;

/// The sessions that wait for Redis.
#[derive(Clone, Default)]
pub struct Unforgotten(Rc<RefCell<Waiting>>);

#[derive(Default)]
struct Waiting {
    ids: VecDeque<Uuid>,
    trying: bool,
}

impl Registry {
    /// Removes what Redis keeps of a session, so that every worker sees that it is gone.
    pub(super) async fn forget_everywhere(&self, id: Uuid) {
        self.forget(id);
        if let Err(error) = self.stores.ledger.forget(id).await {
            tracing::warn!(%error, session = %id, "an ended session stays counted until Redis is back");
            self.unforgotten.add(id, &self.stores.ledger);
        }
    }

    /// Removes the totals of sessions that have ended.
    pub(super) async fn sweep_totals(&self) -> Result<(), Error> {
        let mut cursor = 0;
        loop {
            // While Redis is away there is nothing to remove.
            let Ok((next, counted)) = self.stores.ledger.counted(cursor).await else { return Ok(()) };
            let live = kernels::live_among(&self.stores.postgres, &counted).await?;
            for id in counted.iter().filter(|id| !live.contains(id)) {
                tracing::info!(session = %id, "an ended session was counted still");
                self.forget_everywhere(*id).await;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

// === impl Unforgotten ===

impl Unforgotten {
    fn add(&self, id: Uuid, ledger: &Ledger) {
        let mut waiting = self.0.borrow_mut();
        if waiting.ids.len() >= MOST {
            waiting.ids.pop_front();
        }
        waiting.ids.push_back(id);
        if !std::mem::replace(&mut waiting.trying, true) {
            engine::spawn(self.clone().retry(ledger.clone()));
        }
    }

    async fn retry(self, ledger: Ledger) {
        loop {
            engine::sleep(RETRY).await;
            while let Some(id) = self.first() {
                if ledger.forget(id).await.is_err() {
                    break;
                }
                self.0.borrow_mut().ids.retain(|waiting| *waiting != id);
            }
            let mut waiting = self.0.borrow_mut();
            if waiting.ids.is_empty() {
                waiting.trying = false;
                return;
            }
        }
    }

    fn first(&self) -> Option<Uuid> {
        self.0.borrow().ids.front().copied()
    }
}
