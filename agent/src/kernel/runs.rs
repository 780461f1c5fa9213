//! The runs of a kernel: one at a time, the others queued in order, each followed by its id over as
//! many calls as it takes. Pure: frames of the runner and calls go in, jobs for the runner and
//! answers come out.

use std::collections::VecDeque;

use rmpv::Value;

use super::{
    console::{ANSWER_LIMIT, Console, Record},
    frames::ToRunner,
};

/// Finished runs that are kept until their results are fetched, and a little longer, so that a call
/// whose answer got lost can be made again.
const KEPT: usize = 8;
/// The exit code of a run that ended because its kernel did.
const KERNEL_GONE: i64 = 130;

/// What a run is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Code in the kernel's namespace.
    Query(String),
    /// Commands, one after the other, with a `continue` between them.
    Batch(VecDeque<Step>),
}

/// A command of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// `clean`, `build` or `exec`.
    pub name: &'static str,
    /// A shell command; `*`: the language's default; empty: none.
    pub command: String,
}

/// All runs of a kernel.
#[derive(Debug, Default)]
pub struct Runs {
    console: Console,
    active: Option<Active>,
    queued: VecDeque<(String, Work)>,
    finished: VecDeque<Finished>,
    jobs: Vec<ToRunner>,
    dead: bool,
}

#[derive(Debug)]
struct Active {
    run: String,
    rest: VecDeque<Step>,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Running { step: Option<&'static str> },
    Waiting { password: bool },
    Between { step: &'static str, exit: Option<i64>, told: bool },
}

#[derive(Debug)]
struct Finished {
    run: String,
    console: Console,
    exit: Option<i64>,
    files: Vec<String>,
}

/// What a call on a run is answered with.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// `continued`, `waiting-input`, `clean-finished`, `build-finished` or `finished`.
    pub status: &'static str,
    /// The console since the last answer.
    pub console: Vec<Record>,
    /// The exit code of a command, or of `sys.exit`.
    pub exit: Option<i64>,
    /// With `waiting-input`: whether to hide what is typed.
    pub password: Option<bool>,
    /// Output files of the run, by their paths below `.output`.
    pub files: Vec<String>,
}

// === impl Runs ===

impl Runs {
    /// Whether a run of this id is known here.
    pub fn knows(&self, run: &str) -> bool {
        self.is_active(run) || self.queued.iter().any(|(id, _)| id == run) || self.is_finished(run)
    }

    /// Whether the run of this id has ended.
    pub fn is_finished(&self, run: &str) -> bool {
        self.finished.iter().any(|finished| finished.run == run)
    }

    /// Whether code is running (not waiting for somebody).
    pub fn is_busy(&self) -> bool {
        matches!(&self.active, Some(Active { state: State::Running { .. }, .. }))
    }

    /// Whether there is something to interrupt: running code, or a run that waits for input.
    pub fn is_open(&self) -> bool {
        matches!(&self.active, Some(Active { state: State::Running { .. } | State::Waiting { .. }, .. }))
    }

    /// Whether the active run waits for input.
    pub fn is_waiting(&self, run: &str) -> bool {
        self.is_active(run) && matches!(&self.active, Some(Active { state: State::Waiting { .. }, .. }))
    }

    /// Unread bytes of console.
    pub fn unread(&self) -> usize {
        self.console.bytes()
    }

    /// What to send to the runner now.
    pub fn take_jobs(&mut self) -> Vec<ToRunner> {
        std::mem::take(&mut self.jobs)
    }

    fn is_active(&self, run: &str) -> bool {
        self.active.as_ref().is_some_and(|active| active.run == run)
    }

    /// Queues a run. A batch that was left between two steps gives way to it.
    pub fn begin(&mut self, run: String, work: Work) {
        self.finished.retain(|finished| finished.run != run);
        if self.dead {
            return self.keep(Finished { run, console: Console::default(), exit: Some(KERNEL_GONE), files: vec![] });
        }
        if let Some(Active { state: State::Between { exit, .. }, .. }) = &self.active {
            let exit = *exit;
            self.finish(exit, Vec::new());
        }
        self.queued.push_back((run, work));
        self.start_next();
    }

    /// Takes up a run that was going on before the agent's restart.
    pub fn adopt(&mut self, run: String, waiting: Option<bool>) {
        let state = waiting.map_or(State::Running { step: None }, |password| State::Waiting { password });
        self.active = Some(Active { run, rest: VecDeque::new(), state });
    }

    fn start_next(&mut self) {
        if self.active.is_some() {
            return;
        }
        let Some((run, work)) = self.queued.pop_front() else { return };
        match work {
            Work::Query(code) => {
                self.jobs.push(ToRunner::Query { run: run.clone(), code });
                self.active = Some(Active { run, rest: VecDeque::new(), state: State::Running { step: None } });
            }
            Work::Batch(rest) => {
                self.active = Some(Active { run, rest, state: State::Running { step: None } });
                self.start_step();
            }
        }
    }

    fn start_step(&mut self) {
        let Some(active) = &mut self.active else { return };
        let Some(step) = active.rest.pop_front() else { return self.finish(None, Vec::new()) };
        active.state = State::Running { step: Some(step.name) };
        self.jobs.push(ToRunner::Step { run: active.run.clone(), step: step.name.to_owned(), command: step.command });
    }

    /// Goes on to the next step if the end of the last one was told.
    pub fn go_on(&mut self, run: &str) {
        let told = matches!(&self.active, Some(Active { state: State::Between { told: true, .. }, .. }));
        if self.is_active(run) && told {
            self.start_step();
        }
    }

    /// Gives the active run a line of input, if it waits for one.
    pub fn input(&mut self, run: &str, text: String) {
        if self.is_waiting(run) {
            self.on_waited(run);
            self.jobs.push(ToRunner::Input { d: text });
        }
    }

    /// A record of the console came.
    pub fn on_output(&mut self, record: Record) {
        self.console.push(record);
    }

    /// The active run waits for input.
    pub fn on_waiting(&mut self, run: &str, password: bool) {
        if let Some(active) = self.active.as_mut().filter(|active| active.run == run) {
            active.state = State::Waiting { password };
        }
    }

    /// The active run no longer waits: input came, or an interrupt.
    pub fn on_waited(&mut self, run: &str) {
        if self.is_waiting(run)
            && let Some(active) = &mut self.active
        {
            active.state = State::Running { step: None };
        }
    }

    /// The runner is done with what it was given; `files` are the outputs so far.
    pub fn on_done(&mut self, run: &str, exit: Option<i64>, files: Vec<String>) {
        let Some(active) = self.active.as_mut().filter(|active| active.run == run) else {
            return self.on_done_while_away(run, exit, files);
        };
        match active.state {
            State::Running { step: Some(step) } if !active.rest.is_empty() => {
                active.state = State::Between { step, exit, told: false };
            }
            _ => self.finish(exit, files),
        }
    }

    /// A run ended while no agent was there, and the runner kept its end for this one.
    fn on_done_while_away(&mut self, run: &str, exit: Option<i64>, files: Vec<String>) {
        if self.active.is_none() && !self.is_finished(run) {
            let console = std::mem::take(&mut self.console);
            self.keep(Finished { run: run.to_owned(), console, exit, files });
        }
    }

    /// Ends a batch between two of its steps. False if the active run is not one.
    pub fn cancel_between(&mut self) -> bool {
        let between = matches!(&self.active, Some(Active { state: State::Between { .. }, .. }));
        if between {
            self.finish(Some(KERNEL_GONE), Vec::new());
        }
        between
    }

    /// The kernel ended: so do its runs.
    pub fn on_death(&mut self) {
        self.dead = true;
        self.finish(Some(KERNEL_GONE), Vec::new());
        for (run, _) in std::mem::take(&mut self.queued) {
            self.keep(Finished { run, console: Console::default(), exit: Some(KERNEL_GONE), files: Vec::new() });
        }
    }

    fn finish(&mut self, exit: Option<i64>, files: Vec<String>) {
        if let Some(active) = self.active.take() {
            let console = std::mem::take(&mut self.console);
            self.keep(Finished { run: active.run, console, exit, files });
        }
        if !self.dead {
            self.start_next();
        }
    }

    fn keep(&mut self, finished: Finished) {
        self.finished.push_back(finished);
        while self.finished.len() > KEPT {
            self.finished.pop_front();
        }
    }

    /// The answer to a call on this run, or `None` while there is nothing to tell.
    pub fn poll(&mut self, run: &str) -> Option<Outcome> {
        if let Some(finished) = self.finished.iter_mut().find(|finished| finished.run == run) {
            return Some(finished.outcome());
        }
        let active = self.active.as_mut().filter(|active| active.run == run)?;
        if self.console.bytes() >= ANSWER_LIMIT {
            return Some(Outcome::with("continued", self.console.take()));
        }
        match &mut active.state {
            State::Running { .. } => None,
            State::Waiting { password } => {
                Some(Outcome { password: Some(*password), ..Outcome::with("waiting-input", self.console.take()) })
            }
            State::Between { step, exit, told } => {
                *told = true;
                let status = if *step == "clean" { "clean-finished" } else { "build-finished" };
                Some(Outcome { exit: *exit, ..Outcome::with(status, self.console.take()) })
            }
        }
    }

    /// The answer when the time of a call is over: `continued`, with what there is.
    pub fn continued(&mut self, run: &str) -> Outcome {
        let console = if self.is_active(run) { self.console.take() } else { Vec::new() };
        Outcome::with("continued", console)
    }
}

impl Finished {
    fn outcome(&mut self) -> Outcome {
        let console = self.console.take();
        if self.console.bytes() > 0 {
            return Outcome::with("continued", console);
        }
        Outcome { exit: self.exit, files: self.files.clone(), ..Outcome::with("finished", console) }
    }
}

// === impl Outcome ===

impl Outcome {
    fn with(status: &'static str, console: Vec<Record>) -> Self {
        Outcome { status, console, exit: None, password: None, files: Vec::new() }
    }

    /// As the map that answers `execute`.
    pub fn into_value(self, run: &str) -> Value {
        let options = match (self.status, self.password) {
            (_, Some(password)) => Value::Map(vec![("is_password".into(), password.into())]),
            ("finished", None) => Value::Map(Vec::new()),
            _ => Value::Nil,
        };
        let file =
            |name: String| Value::Map(vec![("name".into(), name.into()), ("url".into(), "#dummy-upload".into())]);
        Value::Map(vec![
            ("runId".into(), run.into()),
            ("status".into(), self.status.into()),
            ("exitCode".into(), self.exit.map_or(Value::Nil, Value::from)),
            ("options".into(), options),
            ("console".into(), Value::Array(self.console.into_iter().map(Record::into_value).collect())),
            ("completions".into(), Value::Array(Vec::new())),
            ("files".into(), Value::Array(self.files.into_iter().map(file).collect())),
        ])
    }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
