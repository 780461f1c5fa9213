//! One slot and its processes.

use std::time::Duration;

use super::{Action, Policy, Time, WorkerId};

/// A place for a worker.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) members: Vec<Member>,
    pub(super) retry_at: Time,
    pub(super) pauses: u32,
    pub(super) failures: u32,
    pub(super) closing: bool,
}

/// A process of the slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) id: WorkerId,
    pub(super) generation: usize,
    pub(super) started: Time,
    pub(super) phase: Phase,
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting { deadline: Time },
    Ready,
    Draining { deadline: Time },
    Killed,
}

// === impl Slot ===

impl Slot {
    pub(super) fn member(&self, id: WorkerId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Member> {
        let index = self.members.iter().position(|member| member.id == id)?;
        Some(self.members.remove(index))
    }

    pub(super) fn ready(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.phase == Phase::Ready)
    }

    pub(super) fn is_starting(&self) -> bool {
        self.members.iter().any(|member| matches!(member.phase, Phase::Starting { .. }))
    }

    /// Whether nobody serves or is about to, and there is room for another process.
    pub(super) fn wants_worker(&self) -> bool {
        !self.closing && self.ready().is_none() && !self.is_starting() && self.members.len() < 2
    }

    /// Sets the time of the next start, and doubles the pause after that.
    pub(super) fn pause(&mut self, now: Time, policy: &Policy) -> Duration {
        let pause = policy.pause(self.pauses);
        self.pauses = self.pauses.saturating_add(1);
        self.retry_at = now + pause;
        pause
    }

    pub(super) fn drain(&mut self, deadline: Time, actions: &mut Vec<Action>) {
        for member in &mut self.members {
            if matches!(member.phase, Phase::Starting { .. } | Phase::Ready) {
                member.phase = Phase::Draining { deadline };
                actions.push(Action::Drain(member.id));
            }
        }
    }

    pub(super) fn kill(&mut self, actions: &mut Vec<Action>) {
        for member in self.members.iter_mut().filter(|member| member.phase != Phase::Killed) {
            member.phase = Phase::Killed;
            actions.push(Action::Kill(member.id));
        }
    }

    pub(super) fn deadlines(&self, stopping: bool) -> impl Iterator<Item = Time> {
        let retry = (!stopping && self.wants_worker()).then_some(self.retry_at);
        self.members.iter().filter_map(Member::deadline).chain(retry)
    }
}

// === impl Member ===

impl Member {
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Starting { deadline } | Phase::Draining { deadline } => Some(deadline),
            Phase::Ready | Phase::Killed => None,
        }
    }
}
