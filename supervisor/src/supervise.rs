//! The loop: waits for a signal, a worker's ready byte, a command or a deadline, tells the state machine,
//! and does what that says.

mod actions;
mod commands;

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    os::fd::AsFd as _,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use backendai::{
    config::Gateway,
    engine::Engine,
    telemetry::{CountersMap, WorkerState},
    worker::Seat,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{
    control::{self, Control},
    listeners::{Addresses, SlotListeners},
    notify::Notify,
    options::Options,
    preflight::{self, Problem},
    shared,
    slots::{Event, Policy, Slots, WorkerId},
};

/// Beyond what workers allow themselves to drain, before they are killed: they go on accepting for half a second first,
/// and write what they owe to Redis at last.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// What is supervised: the options, how to read them again, and what a worker does.
pub struct Program<W, L> {
    /// The options that it starts with.
    pub options: Options,
    /// Reads the options again.
    pub reread: Box<dyn Fn() -> Result<Options, String>>,
    /// Looks at the stores before anything is started; runs in a process of its own.
    pub look: L,
    /// A worker's life; runs in a process of its own.
    pub worker: W,
    /// The pauses and limits of supervision; the time to drain is that of the options.
    pub policy: fn(drain_timeout: Duration) -> Policy,
}

struct Supervisor<W> {
    options: Options,
    reread: Box<dyn Fn() -> Result<Options, String>>,
    worker: W,
    policy: fn(Duration) -> Policy,
    engine: Engine,
    cores: Vec<usize>,
    before: Option<Before>,
    addresses: Addresses,
    listeners: BTreeMap<usize, SlotListeners>,
    map: CountersMap,
    slots: Slots,
    processes: BTreeMap<WorkerId, Process>,
    control: Control,
    notify: Notify,
    signals: SignalFd,
    origin: Instant,
    fed: Instant,
    ready: bool,
    status: Option<u8>,
}

/// What was in force before a reload: it is again if a new worker fails, since a worker that dies later has to be
/// replaced by one that starts.
struct Before {
    options: Options,
    cores: Vec<usize>,
    /// How many slots there were, and how many the reload made of them.
    counts: (usize, usize),
}

struct Process {
    pid: Pid,
    slot: usize,
    generation: usize,
    ready: Option<File>,
}

/// Supervises until told to end, or until no worker can be started.
///
/// # Errors
/// What is missing for a start, each with what mends it.
pub fn supervise<W, L>(program: Program<W, L>) -> Result<ExitCode, Vec<Problem>>
where
    W: Fn(Seat) -> ExitCode,
    L: FnOnce(&Gateway) -> Vec<Problem>,
{
    Ok(Supervisor::prepare(program)?.run())
}

// === impl Supervisor ===

impl<W: Fn(Seat) -> ExitCode> Supervisor<W> {
    /// Looks at everything first, and takes hold of what is needed.
    fn prepare<L: FnOnce(&Gateway) -> Vec<Problem>>(program: Program<W, L>) -> Result<Self, Vec<Problem>> {
        let Program { options, reread, look, worker, policy } = program;
        let config = Arc::clone(&options.gateway);
        let addresses = Addresses::of(&config);
        let engine = preflight::engine(config.engine);
        let cores = preflight::cores(&config);
        let mut problems: Vec<Problem> = addresses.problems();
        problems.extend(control::problem(&config.control_socket()));
        problems.extend(preflight::descriptors().err());
        problems.extend(preflight::tls(&config).err());
        problems.extend(preflight::stores(|| look(&config)));
        let (engine, (cores, count)) = match (engine, cores) {
            (Ok(engine), Ok(cores)) if problems.is_empty() => (engine, cores),
            (engine, cores) => {
                problems.extend(engine.err().into_iter().chain(cores.err()));
                return Err(problems);
            }
        };
        let listeners = (0..count).map(|slot| addresses.listen().map(|listeners| (slot, listeners)));
        let one = |what: &str, error: std::io::Error| {
            vec![Problem { what: format!("{what}: {error}"), mend: "see socket(7), mmap(2), signalfd(2)".to_owned() }]
        };
        Ok(Supervisor {
            engine,
            cores,
            before: None,
            addresses,
            listeners: listeners.collect::<Result<_, _>>().map_err(|error| one("cannot listen", error))?,
            map: shared::counters_map().map_err(|error| one("no shared memory", error))?,
            slots: Slots::new(policy(config.drain_timeout + DRAIN_GRACE), count),
            processes: BTreeMap::new(),
            control: Control::listen(config.control_socket()).map_err(|problem| vec![problem])?,
            notify: Notify::from_env(),
            signals: signals().map_err(|error| one("no signals", error.into()))?,
            origin: Instant::now(),
            fed: Instant::now(),
            ready: false,
            status: None,
            options,
            reread,
            worker,
            policy,
        })
    }

    fn run(mut self) -> ExitCode {
        let addresses = self.addresses;
        tracing::info!(workers = self.slots.count(), engine = %self.engine, api = %addresses.api,
            events = %addresses.events, admin = %addresses.admin, "starting");
        loop {
            self.tell(Event::Tick);
            if let Some(status) = self.status {
                tracing::info!(status, "ended");
                return ExitCode::from(status);
            }
            self.feed_watchdog();
            self.wait();
            self.read_ready();
            self.read_signals();
            self.tell_started();
            self.read_commands();
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let now = self.origin.elapsed();
        let deadline = self.slots.deadline().map(|deadline| deadline.saturating_sub(now));
        let watchdog = self.notify.interval().map(|interval| interval.saturating_sub(self.fed.elapsed()));
        let timeout = deadline.into_iter().chain(watchdog).min().map_or(PollTimeout::NONE, |left| {
            // Rounded up, so that the deadline has passed when the sleep ends.
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let pipes = self.processes.values().filter_map(|process| process.ready.as_ref()).map(File::as_fd);
        let all = std::iter::once(self.signals.as_fd()).chain(self.control.descriptors()).chain(pipes);
        let mut polled: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => tracing::error!(%error, "poll"),
        }
    }

    fn feed_watchdog(&mut self) {
        if self.notify.interval().is_some_and(|interval| self.fed.elapsed() >= interval) {
            self.notify.alive();
            self.fed = Instant::now();
        }
    }

    /// Takes in the ready bytes; before deaths, so that a worker that served is known to have.
    fn read_ready(&mut self) {
        let mut ready = Vec::new();
        for (id, process) in &mut self.processes {
            let Some(pipe) = &mut process.ready else { continue };
            if !readable(pipe) {
                continue;
            }
            if matches!(pipe.read(&mut [0]), Ok(1)) {
                self.map.of_generation(process.generation).set_state(process.slot, WorkerState::Ready);
                ready.push(*id);
            }
            process.ready = None;
        }
        for id in ready {
            self.tell(Event::Ready(id));
        }
    }

    /// Says so once when the start is over: one worker is enough to serve, and what is wrong with others may need an
    /// operator, who should not find the whole gateway ended for it.
    fn tell_started(&mut self) {
        if self.ready || self.slots.is_stopping() || !self.slots.is_started() {
            return;
        }
        self.ready = true;
        match self.slots.all_ready() {
            true => tracing::info!(workers = self.slots.count(), "all workers serve"),
            false => tracing::warn!(workers = self.slots.count(), "some workers serve, the others are tried again"),
        }
        self.notify.ready(&self.line());
    }

    fn read_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGCHLD) => self.reap(),
                Some(Signal::SIGHUP) => {
                    if let Err(why) = self.reload() {
                        tracing::error!(%why, "not reloaded");
                    }
                }
                Some(Signal::SIGUSR1) => tracing::info!("{}", self.line()),
                Some(signal @ (Signal::SIGTERM | Signal::SIGINT)) => {
                    tracing::info!(%signal, "told to end");
                    self.stop();
                }
                _ => {}
            }
        }
    }

    /// Takes in all that have ended, ours and, as process 1 of a container, others'.
    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let Some(pid) = status.pid() else { return };
            let Some(id) = self.processes.iter().find(|(_, process)| process.pid == pid).map(|(id, _)| *id) else {
                continue;
            };
            if let Some(process) = self.processes.remove(&id) {
                self.map.of_generation(process.generation).set_state(process.slot, WorkerState::Gone);
                tracing::info!(slot = process.slot, pid = pid.as_raw(), how = how(status), "worker ended");
            }
            self.tell(Event::Exited(id));
        }
    }

    fn read_commands(&mut self) {
        for asked in self.control.commands() {
            self.obey(asked);
        }
        self.control.tidy();
    }
}

/// The signals that are read instead of interrupting; children set them back.
fn signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGCHLD] {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

fn readable(pipe: &File) -> bool {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn how(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("status {code}"),
        WaitStatus::Signaled(_, signal, _) => signal.to_string(),
        other => format!("{other:?}"),
    }
}
