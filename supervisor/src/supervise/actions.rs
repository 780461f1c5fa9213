//! What the state machine says, done.

use std::{
    collections::{VecDeque, btree_map::Entry},
    io,
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use backendai::{
    telemetry::{Counter, WorkerState},
    worker::{Listeners, Seat},
};
use nix::sys::signal::{Signal, kill};

use super::{Process, Supervisor};
use crate::{
    control::Reply,
    slots::{Action, Event, Report, WorkerId},
    spawn::{Inherited, Spawned, Surroundings, spawn},
};

impl<W: Fn(Seat) -> ExitCode> Supervisor<W> {
    /// Tells the state machine, and does what it says, and so on.
    pub(super) fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let actions = self.slots.on(self.origin.elapsed(), event);
            // Before anything is done: workers divide by it what may be admitted while Redis is away.
            self.map.set_workers(self.slots.count());
            for action in actions {
                events.extend(self.act(action));
            }
        }
    }

    pub(super) fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start { worker, slot, generation } => return self.start(worker, slot, generation),
            Action::Drain(id) => {
                self.signal(id, Signal::SIGTERM);
                if let Some(process) = self.processes.get(&id) {
                    let map = self.map.of_generation(process.generation);
                    map.set_state(process.slot, WorkerState::Draining);
                    map.add(process.slot, Counter::WorkerDrains, 1);
                }
            }
            Action::Kill(id) => self.signal(id, Signal::SIGKILL),
            Action::Report(report) => return self.tell_operator(report),
            Action::Finish(status) => self.status = Some(status),
        }
        None
    }

    /// Starts a worker; one that cannot be started has ended.
    pub(super) fn start(&mut self, id: WorkerId, slot: usize, generation: usize) -> Option<Event> {
        match self.fork(slot, generation) {
            Ok(Spawned { pid, pipe }) => {
                tracing::info!(slot, pid = pid.as_raw(), "worker started");
                self.processes.insert(id, Process { pid, slot, generation, ready: Some(pipe.into()) });
                None
            }
            Err(error) => {
                tracing::error!(slot, %error, "no worker could be started");
                Some(Event::Exited(id))
            }
        }
    }

    pub(super) fn fork(&mut self, slot: usize, generation: usize) -> io::Result<Spawned> {
        let listeners = match self.listeners.entry(slot) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => free.insert(self.addresses.listen()?),
        };
        let core = self.cores.get(slot % self.cores.len().max(1)).copied();
        let counters = self.map.of_generation(generation);
        let (engine, config) = (self.engine, Arc::clone(&self.options.gateway));
        let worker = &self.worker;
        spawn(Surroundings { core, keep: &listeners.all() }, move |inherited| {
            counters.started(slot, std::process::id(), core, unix_ms());
            let Inherited { pipe: ready, kept } = inherited;
            let Ok([api, events, admin]) = <[_; 3]>::try_from(kept) else { return ExitCode::FAILURE };
            worker(Seat { slot, engine, config, listeners: Listeners { api, events, admin }, ready, counters })
        })
    }

    pub(super) fn signal(&self, id: WorkerId, signal: Signal) {
        // A process that has ended and is not reaped yet takes the signal without harm; no other has its id.
        if let Some(Err(error)) = self.processes.get(&id).map(|process| kill(process.pid, signal)) {
            tracing::error!(%error, %signal, "a worker could not be signalled");
        }
    }

    pub(super) fn tell_operator(&mut self, report: Report) -> Option<Event> {
        match report {
            Report::Died { slot, served, pause } => {
                self.map.add(slot, Counter::WorkerRestarts, 1);
                let next_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::error!(slot, served, next_ms, "worker died");
            }
            Report::NotReady { slot } => tracing::error!(slot, "worker was not ready in time, and is killed"),
            Report::NotDrained { slot } => tracing::warn!(slot, "worker did not drain in time, and is killed"),
            Report::GaveUp => tracing::error!("no worker starts, giving up; the lines above say why"),
            Report::Reloaded => {
                tracing::info!("all workers are replaced");
                self.before = None;
                self.reload_ended(&Reply::done("all workers are replaced"));
            }
            Report::ReloadFailed { slot } => {
                let why = format!(
                    "the new worker of slot {slot} failed; it and the slots after it keep the old ones, and \
                                   the options before the reload are in force again"
                );
                tracing::error!(slot, "{why}");
                let resized = self.put_back();
                self.reload_ended(&Reply::failed(why));
                return resized;
            }
        }
        None
    }

    pub(super) fn reload_ended(&mut self, reply: &Reply) {
        self.control.reloaded(reply);
        self.notify.ready(&self.line());
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
