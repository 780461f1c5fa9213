//! Performs what the agent sends: runs, one after the other, and interrupts at any time.

use std::{cell::RefCell, rc::Rc};

use tokio::{sync::mpsc, task::spawn_local};

use super::{
    batch::Batch,
    commands::{Command, INVALID},
    pty::Size,
    terminal::Control,
};
use crate::kernel::frames::{Data, FromRunner, ToRunner};

/// Frames that wait for the agent; beyond them, commands that write wait.
const FRAMES: usize = 64;

/// The runner.
pub struct Runner {
    outbox: mpsc::Sender<FromRunner>,
    jobs: mpsc::UnboundedSender<ToRunner>,
    controls: mpsc::UnboundedSender<Control>,
    batch: Batch,
    run: RefCell<Option<String>>,
}

// === impl Runner ===

impl Runner {
    /// A runner of this terminal, and what it has for the agent.
    pub fn new(controls: mpsc::UnboundedSender<Control>) -> (Rc<Runner>, mpsc::Receiver<FromRunner>) {
        let (outbox, frames) = mpsc::channel(FRAMES);
        let (jobs, mut todo) = mpsc::unbounded_channel();
        let runner = Runner { batch: Batch::new(outbox.clone()), outbox, jobs, controls, run: RefCell::default() };
        let runner = Rc::new(runner);
        let own = runner.clone();
        spawn_local(async move {
            while let Some(job) = todo.recv().await {
                own.perform(job).await;
            }
        });
        (runner, frames)
    }

    /// The first frame of a connection: where the kernel stands.
    pub fn hello(&self, ports: [u16; 2]) -> FromRunner {
        let run = self.run.borrow().clone();
        let state = if run.is_some() { "running" } else { "idle" };
        FromRunner::Hello { run, state: state.to_owned(), password: false, ports: Some(ports) }
    }

    /// Tells the agent that the terminal is in use, unless it does not even read.
    pub fn tell_use(&self) {
        let _ = self.outbox.try_send(FromRunner::Active); // then it has frames enough to see that by
    }

    /// Takes a frame of the agent.
    pub fn on_frame(&self, frame: ToRunner) {
        match frame {
            ToRunner::Query { .. } | ToRunner::Step { .. } => drop(self.jobs.send(frame)), // we are the receiver
            ToRunner::Interrupt if self.batch.interrupt() => {}
            ToRunner::Interrupt => self.control(Control::Interrupt),
            ToRunner::Complete { id, .. } => {
                let outbox = self.outbox.clone(); // the terminal completes words, runs do not
                spawn_local(async move { outbox.send(FromRunner::Completions { id, d: Vec::new() }).await });
            }
            ToRunner::Input { .. } => {} // no run here asks for any
        }
    }

    fn control(&self, control: Control) {
        let _ = self.controls.send(control); // the terminal lives as long as we do
    }

    async fn perform(&self, job: ToRunner) {
        let (run, exit) = match job {
            ToRunner::Query { run, code } => {
                self.run.replace(Some(run.clone()));
                self.query(&code).await;
                (run, None)
            }
            ToRunner::Step { run, step, command } => {
                self.run.replace(Some(run.clone()));
                (run, self.batch.step(&step, &command).await)
            }
            _ => return,
        };
        self.run.replace(None);
        let _ = self.outbox.send(FromRunner::Done { run, exit }).await; // the link lives as long as we do
    }

    async fn query(&self, code: &str) {
        let command = Command::parse(code);
        if let Some(Command::Resize { rows, columns }) = command {
            self.control(Control::Resize(Size { rows, columns }));
        }
        let (kind, text) = match command {
            Some(command) => ("stdout", command.answer()),
            None => ("stderr", INVALID.to_owned()),
        };
        let _ = self.outbox.send(FromRunner::Out { k: kind.to_owned(), d: Data::Text(text) }).await; // as above
    }
}
