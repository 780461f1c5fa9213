//! The terminal's life: a shell, and when that ends another one, for ever.

use std::{
    io,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::{process::Child, sync::mpsc};

use super::{
    hub::Hub,
    pty::{Pty, Size},
    runner::Runner,
};

/// The size until somebody gives another.
const FIRST_SIZE: Size = Size { rows: 24, columns: 80 };
/// What viewers are told when the shell has ended.
const RESTARTING: &[u8] = b"Restarting...\r\n";
/// A shell that ends sooner than this is not followed by another at once: it would go on like that.
const SOON: Duration = Duration::from_secs(1);
/// How often the agent is told that the terminal is in use.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What a run wants of the terminal.
#[derive(Clone, Copy, Debug)]
pub enum Control {
    /// Another size.
    Resize(Size),
    /// Ctrl-C.
    Interrupt,
}

/// The terminal.
pub struct Terminal {
    shell: PathBuf,
    size: Size,
    hub: Rc<Hub>,
    typed: mpsc::Receiver<Bytes>,
    controls: mpsc::UnboundedReceiver<Control>,
    runner: Rc<Runner>,
    pty: Pty,
    child: Child,
    pending: Bytes,
    used: bool,
}

/// What happens next.
enum Event {
    Shown(io::Result<Bytes>),
    Typed(Bytes),
    Written(io::Result<usize>),
    Control(Control),
    Tick,
    Ended,
}

// === impl Terminal ===

impl Terminal {
    /// Starts the first shell.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        shell: PathBuf,
        hub: Rc<Hub>,
        typed: mpsc::Receiver<Bytes>,
        controls: mpsc::UnboundedReceiver<Control>,
        runner: Rc<Runner>,
    ) -> io::Result<Terminal> {
        let (pty, child) = Pty::start(&shell, FIRST_SIZE)?;
        let (pending, used) = (Bytes::new(), false);
        Ok(Terminal { shell, size: FIRST_SIZE, hub, typed, controls, runner, pty, child, pending, used })
    }

    /// Runs shells for ever.
    pub async fn run(mut self) {
        loop {
            let started = Instant::now();
            self.until_end().await;
            self.pty.left().iter().for_each(|piece| self.hub.publish(piece));
            self.hub.publish(&Bytes::from_static(RESTARTING));
            if started.elapsed() < SOON {
                tokio::time::sleep(SOON).await;
            }
            self.start_again().await;
        }
    }

    async fn start_again(&mut self) {
        loop {
            match Pty::start(&self.shell, self.size) {
                Ok((pty, child)) => return (self.pty, self.child) = (pty, child),
                Err(error) => {
                    self.hub.publish(&format!("The shell does not start: {error}\r\n").into());
                    tokio::time::sleep(SOON).await;
                }
            }
        }
    }

    async fn until_end(&mut self) {
        let mut ticks = tokio::time::interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // In this order: what a run was answered holds for what is typed after it.
            let event = tokio::select! {
                biased;
                Some(control) = self.controls.recv() => Event::Control(control),
                _ = self.child.wait() => Event::Ended,
                _ = ticks.tick() => Event::Tick,
                written = self.pty.write(&self.pending), if !self.pending.is_empty() => Event::Written(written),
                Some(piece) = self.typed.recv(), if self.pending.is_empty() => Event::Typed(piece),
                shown = self.pty.read() => Event::Shown(shown),
            };
            match event {
                Event::Shown(Ok(piece)) => {
                    self.hub.publish(&piece);
                    tokio::task::yield_now().await; // viewers write it before more comes
                }
                Event::Typed(piece) => (self.pending, self.used) = (piece, true),
                Event::Written(Ok(size)) => self.pending.advance(size),
                Event::Control(control) => self.control(control),
                Event::Tick => self.tell_use(),
                Event::Ended | Event::Shown(Err(_)) | Event::Written(Err(_)) => return self.end_shell().await,
            }
        }
    }

    /// A terminal that fails under a living shell is of no use to it any more.
    async fn end_shell(&mut self) {
        let _ = self.child.kill().await; // it has ended already, most likely
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Interrupt => self.pty.interrupt(self.pending.is_empty()),
            Control::Resize(size) => {
                self.size = size;
                if let Err(error) = self.pty.resize(size) {
                    eprintln!("the terminal cannot be resized: {error}");
                }
            }
        }
    }

    fn tell_use(&mut self) {
        if std::mem::take(&mut self.used) || self.pty.is_busy() {
            self.runner.tell_use();
        }
    }
}
