//! Which worker runs in which slot: a state machine that knows no process and no clock.
//!
//! It is told what happened and when, and answers what to do. Everything that supervision promises is
//! decided here, so that it can be tried from a seed in simulated time: a worker that dies is replaced
//! after a pause that doubles; a slot is rolled over by starting the successor, waiting until it says
//! that it is ready, and only then draining the predecessor, one slot after the other; stopping drains
//! all; whoever does not keep to its time is killed.
//!
//! A slot never has more than two processes, each of its own generation (0 or 1): that is what the
//! shared map has blocks for. A rule that would start a third waits.

mod slot;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use slot::{Member, Phase, Slot};

/// Time since the supervisor started.
pub type Time = Duration;

/// A process that this machine asked for; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// The pauses and limits of supervision.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The pause before a dead worker is replaced for the first time.
    pub backoff_first: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// A worker that lived this long has its next pause start from the first again.
    pub stable_after: Duration,
    /// How long a worker may take until it says that it is ready.
    pub start_timeout: Duration,
    /// How long a worker may drain before it is killed.
    pub drain_timeout: Duration,
    /// So many failed starts in a row, in every slot, end the supervisor.
    pub give_up_after: u32,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time went by.
    Tick,
    /// The worker said that it serves.
    Ready(WorkerId),
    /// The worker's process is gone, or could not be made.
    Exited(WorkerId),
    /// Replace all workers.
    Reload,
    /// From now on so many slots.
    Resize(usize),
    /// Drain all and end; the second time, at once.
    Stop,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a process.
    Start {
        /// Its id.
        worker: WorkerId,
        /// The slot whose listeners it gets.
        slot: usize,
        /// Which of the slot's two blocks of counters it gets.
        generation: usize,
    },
    /// Tell it to drain and end.
    Drain(WorkerId),
    /// End it.
    Kill(WorkerId),
    /// Worth saying.
    Report(Report),
    /// No process is left: end with this status.
    Finish(u8),
}

/// What an operator wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The slot's worker ended by itself; the next one comes after the pause.
    Died {
        /// The slot.
        slot: usize,
        /// Whether it had said that it was ready.
        served: bool,
        /// Until the next start; none if a successor runs already.
        pause: Duration,
    },
    /// The worker did not say in time that it is ready, and is killed.
    NotReady {
        /// The slot.
        slot: usize,
    },
    /// A drain took longer than allowed, and the worker is killed.
    NotDrained {
        /// The slot.
        slot: usize,
    },
    /// All workers have been replaced.
    Reloaded,
    /// The slot's successor failed: its worker and those of the slots after it were kept.
    ReloadFailed {
        /// The slot.
        slot: usize,
    },
    /// Every slot failed to start too often.
    GaveUp,
}

/// The state of all slots.
#[derive(Debug)]
pub struct Slots {
    policy: Policy,
    slots: Vec<Slot>,
    last_id: u64,
    rolling: Option<VecDeque<usize>>,
    stopping: Option<u8>,
    finished: bool,
}

// === impl Policy ===

impl Policy {
    /// The usual pauses, with the drain time that the operator asked for.
    pub fn new(drain_timeout: Duration) -> Self {
        Policy {
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            stable_after: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
            drain_timeout,
            give_up_after: 10,
        }
    }

    fn pause(&self, pauses: u32) -> Duration {
        let doubled = self.backoff_first.checked_mul(1 << pauses.min(16)).unwrap_or(self.backoff_max);
        doubled.min(self.backoff_max)
    }
}

// === impl Slots ===

impl Slots {
    /// `count` slots without workers: the first event starts them.
    pub fn new(policy: Policy, count: usize) -> Self {
        let slots = (0..count).map(|_| Slot::default()).collect();
        Slots { policy, slots, last_id: 0, rolling: None, stopping: None, finished: false }
    }

    /// Takes in what happened at `now`, which never goes back, and says what to do, in this order.
    pub fn on(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Ready(id) => self.ready(now, id, &mut actions),
            Event::Exited(id) => self.exited(now, id, &mut actions),
            Event::Reload if self.stopping.is_none() => self.rolling = Some((0..self.slots.len()).collect()),
            Event::Resize(count) if self.stopping.is_none() => self.resize(now, count, &mut actions),
            Event::Reload | Event::Resize(_) => {}
            Event::Stop => self.stop(now, &mut actions),
        }
        self.settle(now, &mut actions);
        actions
    }

    /// When to send a [`Event::Tick`] if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        self.slots.iter().flat_map(|slot| slot.deadlines(self.stopping.is_some())).min()
    }

    /// Other pauses and limits, for what happens from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The number of slots in use.
    pub fn count(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.closing).count()
    }

    /// Whether every slot has a worker that serves.
    pub fn all_ready(&self) -> bool {
        self.slots.iter().all(|slot| slot.closing || slot.ready().is_some())
    }

    /// Whether every slot's first worker serves or has failed, and at least one serves.
    pub fn is_started(&self) -> bool {
        let mut used = self.slots.iter().filter(|slot| !slot.closing);
        let tried = |slot: &Slot| slot.ready().is_some() || slot.failures > 0;
        used.clone().all(tried) && used.any(|slot| slot.ready().is_some())
    }

    /// Whether workers are being replaced.
    pub fn is_rolling(&self) -> bool {
        self.rolling.is_some()
    }

    /// Whether all workers are being ended.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    fn ready(&mut self, now: Time, id: WorkerId, actions: &mut Vec<Action>) {
        let deadline = now + self.policy.drain_timeout;
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.member(id).is_some()) else { return };
        // One that is draining or killed already does not come back by being ready.
        if !matches!(slot.member(id).map(|m| m.phase), Some(Phase::Starting { .. })) {
            return;
        }
        slot.failures = 0;
        for member in &mut slot.members {
            if member.id == id {
                member.phase = Phase::Ready;
            } else if member.phase == Phase::Ready {
                member.phase = Phase::Draining { deadline };
                actions.push(Action::Drain(member.id));
            }
        }
    }

    fn exited(&mut self, now: Time, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(index) = self.slots.iter().position(|slot| slot.member(id).is_some()) else { return };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(gone) = slot.remove(id) else { return };
        match gone.phase {
            Phase::Draining { .. } | Phase::Killed => {}
            Phase::Starting { .. } => self.start_failed(now, index, actions),
            Phase::Ready => self.died(now, index, gone.started, actions),
        }
    }

    /// A worker that was not ready yet is gone or given up.
    fn start_failed(&mut self, now: Time, index: usize, actions: &mut Vec<Action>) {
        let policy = self.policy;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.ready().is_some() {
            self.rolling = None;
            actions.push(Action::Report(Report::ReloadFailed { slot: index }));
            return;
        }
        slot.failures = slot.failures.saturating_add(1);
        let pause = slot.pause(now, &policy);
        actions.push(Action::Report(Report::Died { slot: index, served: false, pause }));
    }

    fn died(&mut self, now: Time, index: usize, started: Time, actions: &mut Vec<Action>) {
        let policy = self.policy;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if now.saturating_sub(started) >= policy.stable_after {
            slot.pauses = 0;
        }
        let successor = slot.members.iter().any(|m| matches!(m.phase, Phase::Starting { .. }));
        let pause = if successor { Duration::ZERO } else { slot.pause(now, &policy) };
        actions.push(Action::Report(Report::Died { slot: index, served: true, pause }));
    }

    fn resize(&mut self, now: Time, count: usize, actions: &mut Vec<Action>) {
        let deadline = now + self.policy.drain_timeout;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.closing = index >= count;
            if slot.closing {
                slot.drain(deadline, actions);
            }
        }
        while self.slots.len() < count {
            self.slots.push(Slot::default());
        }
    }

    fn stop(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.rolling = None;
        match self.stopping {
            None => self.drain_all(now, 0, actions),
            Some(_) => self.slots.iter_mut().for_each(|slot| slot.kill(actions)),
        }
    }

    fn drain_all(&mut self, now: Time, status: u8, actions: &mut Vec<Action>) {
        let deadline = now + self.policy.drain_timeout;
        self.rolling = None;
        self.stopping = Some(status);
        self.slots.iter_mut().for_each(|slot| slot.drain(deadline, actions));
    }

    /// Brings about whatever the state calls for.
    fn settle(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.expire(now, actions);
        self.give_up(now, actions);
        if let Some(status) = self.stopping {
            if !self.finished && self.slots.iter().all(|slot| slot.members.is_empty()) {
                self.finished = true;
                actions.push(Action::Finish(status));
            }
            return;
        }
        while self.slots.last().is_some_and(|slot| slot.closing && slot.members.is_empty()) {
            self.slots.pop();
        }
        self.fill(now, actions);
        self.roll(now, actions);
    }

    /// Kills whoever has overrun its time.
    fn expire(&mut self, now: Time, actions: &mut Vec<Action>) {
        let mut late = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            for member in &mut slot.members {
                let starting = matches!(member.phase, Phase::Starting { .. });
                if member.deadline().is_some_and(|deadline| deadline <= now) {
                    member.phase = Phase::Killed;
                    actions.push(Action::Kill(member.id));
                    late.push((index, starting));
                }
            }
        }
        for (slot, starting) in late {
            let report = if starting { Report::NotReady { slot } } else { Report::NotDrained { slot } };
            actions.push(Action::Report(report));
            if starting {
                self.start_failed(now, slot, actions);
            }
        }
    }

    fn give_up(&mut self, now: Time, actions: &mut Vec<Action>) {
        let limit = self.policy.give_up_after;
        let hopeless = |slot: &Slot| slot.failures >= limit && slot.ready().is_none();
        let mut used = self.slots.iter().filter(|slot| !slot.closing).peekable();
        if self.stopping.is_none() && used.peek().is_some() && used.all(hopeless) {
            actions.push(Action::Report(Report::GaveUp));
            self.drain_all(now, 1, actions);
        }
    }

    /// Starts a worker in every slot that has none and whose pause is over.
    fn fill(&mut self, now: Time, actions: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            if self.slots.get(index).is_some_and(|slot| slot.wants_worker() && slot.retry_at <= now) {
                self.start(now, index, actions);
            }
        }
    }

    /// Takes the next step of a roll-over, if it is time for one.
    fn roll(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some(queue) = &mut self.rolling {
            let under_way = |slot: &Slot| slot.ready().is_some() && slot.is_starting();
            if self.slots.iter().any(under_way) {
                return;
            }
            let Some(index) = queue.front().copied() else {
                self.rolling = None;
                actions.push(Action::Report(Report::Reloaded));
                return;
            };
            match self.slots.get(index) {
                // Out of use, or about to be started anew in any case.
                None => drop(queue.pop_front()),
                Some(slot) if slot.closing || slot.members.is_empty() => drop(queue.pop_front()),
                // Its processes must come down to one that serves first.
                Some(slot) if slot.members.len() > 1 || slot.ready().is_none() => return,
                Some(_) => {
                    queue.pop_front();
                    self.start(now, index, actions);
                }
            }
        }
    }

    fn start(&mut self, now: Time, index: usize, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        self.last_id += 1;
        let worker = WorkerId(self.last_id);
        let generation = usize::from(slot.members.iter().any(|member| member.generation == 0));
        let phase = Phase::Starting { deadline: now + self.policy.start_timeout };
        slot.members.push(Member { id: worker, generation, started: now, phase });
        actions.push(Action::Start { worker, slot: index, generation });
    }
}
