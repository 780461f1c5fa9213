//! A kernel: its processes, its folder, its runs.
//!
//! ```text
//! agent ── kernel-init ── interpreter (runner, user code) ── whatever the user starts
//!   └───────── Unix socket ────┘
//! ```
//! The interpreter's runner performs what it is told over the socket; what a run is, what is answered
//! and when, is decided here ([`runs`]). A kernel is at its end when its first process is gone, and
//! that goes last: after all others below it.

pub mod console;
pub mod cpus;
pub mod files;
pub mod frames;
pub mod launch;
pub mod mounts;
pub mod proc_table;
pub mod process;
pub mod runs;
pub mod runtime;
pub mod scratch;
pub mod start;
pub mod state_file;
pub mod stats;
mod tar;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use rmpv::Value;
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{Notify, mpsc, oneshot, watch},
};

use self::{
    console::{Log, UNREAD_LIMIT},
    files::Output,
    frames::{FromRunner, ToRunner},
    mounts::Mount,
    process::Init,
    runs::{Outcome, Runs, Work},
    scratch::Scratch,
    stats::Stats,
};
use crate::exception::{self, Exception};

/// How long a call on a run waits for news before it answers `continued`.
const ANSWER_AFTER: Duration = Duration::from_secs(2);
/// How long completions may take: looking up attributes can run the user's code.
const COMPLETE_WITHIN: Duration = Duration::from_secs(4);

/// What a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in MiB.
    pub mem: u64,
    /// Cores.
    pub cpu: f64,
    /// Graphics processors.
    pub gpu: f64,
}

/// Why a kernel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// On its own: its code ended it, or it was killed from elsewhere.
    SelfTerminated,
    /// Somebody destroyed it.
    Destroyed,
    /// To be started anew.
    Restart,
    /// Nobody used it.
    IdleTimeout,
    /// The agent ends.
    Shutdown,
}

/// A kernel that was started.
pub struct Kernel {
    /// Its id.
    pub id: String,
    /// Its image.
    pub lang: String,
    /// The name of its processes, new at each start.
    pub container: String,
    /// What it may use.
    pub limits: Limits,
    /// Its cores.
    pub cpus: Vec<usize>,
    /// Whether it outlives the agent.
    pub keep: bool,
    /// Its first process.
    pub init: Init,
    /// Its folder.
    pub scratch: Scratch,
    /// The virtual folders in it.
    pub mounts: Vec<Mount>,
    /// The ports of its terminal, if it has one: of what is typed, and of what is shown.
    pub terminal: Option<[u16; 2]>,
    /// What it has used.
    pub stats: RefCell<Stats>,
    runs: RefCell<Runs>,
    log: RefCell<Log>,
    outputs: RefCell<Vec<Output>>,
    changed: Notify,
    to_runner: mpsc::UnboundedSender<ToRunner>,
    completions: RefCell<HashMap<u64, oneshot::Sender<Vec<String>>>>,
    completion_id: Cell<u64>,
    used: Cell<Instant>,
    reason: Cell<Reason>,
    ended: watch::Sender<bool>,
}

// === impl Reason ===

impl Reason {
    /// As `kernel_terminated` says it.
    pub fn text(self) -> &'static str {
        match self {
            Reason::SelfTerminated => "self-terminated",
            Reason::Destroyed => "user-requested",
            Reason::Restart => "restart-failed",
            Reason::IdleTimeout => "idle-timeout",
            Reason::Shutdown => "agent-shutdown",
        }
    }
}

// === impl Kernel ===

impl Kernel {
    /// Starts a run, or goes on with it if it is known.
    ///
    /// # Errors
    /// None at present: whatever becomes of the run is its outcome.
    pub async fn begin(&self, run: &str, work: Work) -> Outcome {
        if !self.runs.borrow().knows(run) || self.runs.borrow().is_finished(run) {
            self.update(|runs| runs.begin(run.to_owned(), work));
        }
        self.follow(run).await
    }

    /// Goes on with a run.
    ///
    /// # Errors
    /// There is no run of this id.
    pub async fn go_on(&self, run: &str) -> Result<Outcome, Exception> {
        self.check_run(run)?;
        self.update(|runs| runs.go_on(run));
        Ok(self.follow(run).await)
    }

    /// Gives a run input, and goes on with it.
    ///
    /// # Errors
    /// There is no run of this id.
    pub async fn input(&self, run: &str, text: String) -> Result<Outcome, Exception> {
        self.check_run(run)?;
        self.update(|runs| runs.input(run, text));
        Ok(self.follow(run).await)
    }

    fn check_run(&self, run: &str) -> Result<(), Exception> {
        match self.runs.borrow().knows(run) {
            true => Ok(()),
            false => Err(exception::runtime(format!("There is no run {run} in the kernel {}", self.id))),
        }
    }

    /// Whether a run of this id is known and still going on.
    pub fn has_open(&self, run: &str) -> bool {
        self.runs.borrow().knows(run) && !self.runs.borrow().is_finished(run)
    }

    /// Whether this run waits for input.
    pub fn is_waiting(&self, run: &str) -> bool {
        self.runs.borrow().is_waiting(run)
    }

    /// Waits for news of a run.
    async fn follow(&self, run: &str) -> Outcome {
        let deadline = tokio::time::Instant::now() + ANSWER_AFTER;
        loop {
            let changed = self.changed.notified();
            if let Some(outcome) = self.update(|runs| runs.poll(run)) {
                return outcome;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return self.update(|runs| runs.poll(run).unwrap_or_else(|| runs.continued(run)));
            }
        }
    }

    /// Changes the runs, tells the runner what follows from it, and wakes those who wait.
    fn update<T>(&self, change: impl FnOnce(&mut Runs) -> T) -> T {
        let mut runs = self.runs.borrow_mut();
        let (unread, result) = (runs.unread(), change(&mut runs));
        let jobs = runs.take_jobs();
        if !jobs.is_empty() || runs.unread() < unread {
            self.changed.notify_waiters();
        }
        for job in jobs {
            let _ = self.to_runner.send(job); // a kernel at its end: its runs end too
        }
        result
    }

    /// Interrupts what runs.
    pub fn interrupt(&self) {
        let was_between = self.update(Runs::cancel_between);
        match self.terminal {
            _ if was_between => {}
            Some(_) => drop(self.to_runner.send(ToRunner::Interrupt)), // a kernel at its end needs none
            None if self.is_computing_or_waiting() => self.init.interrupt(),
            None => {}
        }
        self.changed.notify_waiters();
    }

    fn is_computing_or_waiting(&self) -> bool {
        self.runs.borrow().is_open()
    }

    /// Words that complete the one before the cursor; none if that takes too long.
    pub async fn complete(&self, text: String, options: serde_json::Value) -> Vec<String> {
        let id = self.completion_id.replace(self.completion_id.get() + 1);
        let (tell, told) = oneshot::channel();
        self.completions.borrow_mut().insert(id, tell);
        let _ = self.to_runner.send(ToRunner::Complete { id, text, options }); // as above
        let words = tokio::time::timeout(COMPLETE_WITHIN, told).await;
        self.completions.borrow_mut().remove(&id);
        words.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// What it wrote last, and what its start said.
    pub fn logs(&self) -> String {
        let start = std::fs::read(self.scratch.log()).unwrap_or_default();
        format!("{}{}", String::from_utf8_lossy(&start), self.log.borrow().text())
    }

    /// Notes that somebody uses it.
    pub fn touch(&self) {
        self.used.set(Instant::now());
    }

    /// How long nobody has used it; zero while code runs.
    pub fn idle(&self) -> Duration {
        if self.runs.borrow().is_busy() {
            self.touch();
        }
        self.used.get().elapsed()
    }

    /// Asks it to end, for this reason, and waits until it has. After `patience` it is killed.
    pub async fn stop(&self, reason: Reason, patience: Duration) {
        if self.reason.get() == Reason::SelfTerminated {
            self.reason.set(reason);
        }
        let mut ended = self.ended.subscribe();
        self.init.end(false);
        let end = ended.wait_for(|ended| *ended);
        if tokio::time::timeout(patience, end).await.is_err() {
            self.init.end(true);
            let _ = self.ended.subscribe().wait_for(|ended| *ended).await; // the sender is ours
        }
    }

    /// Why it ended.
    pub fn reason(&self) -> Reason {
        self.reason.get()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// All of its processes are gone: ends its runs and wakes those who wait for that.
    fn mark_ended(&self) {
        self.update(Runs::on_death);
        self.changed.notify_waiters();
        self.ended.send_replace(true);
    }

    /// Takes a fresh reading of what it uses.
    pub fn sample(&self, table: &proc_table::ProcTable) -> Value {
        let mut stats = self.stats.borrow_mut();
        stats.sample(table, self.init.pid);
        stats.to_value()
    }

    // The runner's frames.

    async fn read_frames(&self, mut link: OwnedReadHalf) {
        loop {
            while self.runs.borrow().unread() >= UNREAD_LIMIT {
                self.changed.notified().await;
            }
            match frames::read(&mut link).await {
                Ok(frame) => self.on_frame(frame),
                Err(error) => return tracing::debug!(kernel = self.id, %error, "the runner's connection ended"),
            }
        }
    }

    fn on_frame(&self, frame: FromRunner) {
        match frame {
            FromRunner::Out { k, d } => {
                let record = d.into_record(k);
                self.log.borrow_mut().push(&record);
                self.update(|runs| runs.on_output(record));
                if self.runs.borrow().unread() < console::ANSWER_LIMIT {
                    return; // nobody waits for less
                }
            }
            FromRunner::Waiting { run, password } => {
                self.update(|runs| runs.on_waiting(run.as_deref().unwrap_or_default(), password));
            }
            FromRunner::Running { run } => {
                self.update(|runs| runs.on_waited(run.as_deref().unwrap_or_default()));
            }
            FromRunner::Done { run, exit } => {
                let files = self.new_outputs();
                self.update(|runs| runs.on_done(&run, exit, files));
            }
            FromRunner::Completions { id, d } => {
                if let Some(tell) = self.completions.borrow_mut().remove(&id) {
                    let _ = tell.send(d); // nobody may wait any more
                }
            }
            FromRunner::Active => return self.touch(),
            FromRunner::Hello { .. } => {}
        }
        self.changed.notify_waiters();
    }

    /// Output files that are new or were changed since last asked.
    fn new_outputs(&self) -> Vec<String> {
        let now = files::outputs(&self.scratch.work());
        let before = self.outputs.replace(now.clone());
        now.into_iter().filter(|file| !before.contains(file)).map(|(name, _)| name).collect()
    }
}

async fn write_jobs(mut jobs: mpsc::UnboundedReceiver<ToRunner>, mut link: OwnedWriteHalf) {
    while let Some(job) = jobs.recv().await {
        if link.write_all(&frames::encode(&job)).await.is_err() {
            return; // the reading half tells
        }
    }
}

/// Whether kernels can have their sockets below this folder.
pub fn root_fits(root: &Path) -> bool {
    process::socket_path_fits(&Scratch::of(root, &"x".repeat(64)).socket())
}
