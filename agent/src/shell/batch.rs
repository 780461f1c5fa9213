//! The commands of a batch, each in a process group of its own beside the terminal.

use std::{
    cell::Cell,
    io,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use nix::{
    fcntl::OFlag,
    sys::signal::{Signal, killpg},
    unistd::{Pid, pipe2},
};
use tokio::{process::Command, sync::mpsc};

use super::fd::Fd;
use crate::kernel::frames::{Data, FromRunner};

/// How long an interrupted command may take to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(1);
/// The exit code of a command that was interrupted.
const INTERRUPTED: i64 = 130;
/// The exit code where there is nothing to run.
const NOT_FOUND: i64 = 127;

/// Runs commands, one at a time.
pub struct Batch {
    outbox: mpsc::Sender<FromRunner>,
    group: Cell<Option<Pid>>,
    interrupted: Cell<Option<Instant>>,
}

/// One of the two streams of a command.
struct Stream {
    kind: &'static str,
    pipe: Fd,
    text: Text,
    open: bool,
}

/// Bytes as text, with letters that were cut in two put together again.
#[derive(Debug, Default)]
struct Text {
    cut: Vec<u8>,
}

// === impl Batch ===

impl Batch {
    /// One whose output goes there.
    pub fn new(outbox: mpsc::Sender<FromRunner>) -> Batch {
        Batch { outbox, group: Cell::new(None), interrupted: Cell::new(None) }
    }

    /// Interrupts the command that runs. False if there is none.
    pub fn interrupt(&self) -> bool {
        let Some(group) = self.group.get() else { return false };
        self.interrupted.set(self.interrupted.get().or_else(|| Some(Instant::now())));
        let _ = killpg(group, Signal::SIGINT); // it may be about to end
        true
    }

    /// Runs the command of a step and gives its exit code: none if there is no command.
    pub async fn step(&self, step: &str, command: &str) -> Option<i64> {
        match command {
            "*" => {
                self.say(&format!("shell-kernel: there is no default command to {step}\n")).await;
                (step == "exec").then_some(NOT_FOUND)
            }
            command if command.trim().is_empty() => None,
            command => Some(match self.run(command).await {
                Ok(_) if self.interrupted.get().is_some() => {
                    self.say("Interrupted!\n").await;
                    INTERRUPTED
                }
                Ok(status) => exit_code(status),
                Err(error) => {
                    self.say(&format!("{error}\n")).await;
                    NOT_FOUND - 1
                }
            }),
        }
    }

    async fn say(&self, text: &str) {
        self.tell("stderr", text.to_owned()).await;
    }

    async fn tell(&self, kind: &str, text: String) {
        if !text.is_empty() {
            let _ = self.outbox.send(FromRunner::Out { k: kind.to_owned(), d: Data::Text(text) }).await; // ours
        }
    }

    async fn run(&self, command: &str) -> io::Result<ExitStatus> {
        self.interrupted.set(None);
        let (mut out, out_end) = Stream::new("stdout")?;
        let (mut err, err_end) = Stream::new("stderr")?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", command])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out_end)
            .stderr(err_end)
            .spawn()?;
        self.group.set(child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw));
        let status = loop {
            tokio::select! {
                piece = out.pipe.read(), if out.open => self.take(&mut out, &piece?).await,
                piece = err.pipe.read(), if err.open => self.take(&mut err, &piece?).await,
                status = self.wait(&mut child) => break status,
            }
        };
        self.group.set(None);
        for stream in [&mut out, &mut err] {
            for piece in stream.pipe.left() {
                self.take(stream, &piece).await;
            }
            self.tell(stream.kind, stream.text.rest()).await;
        }
        status
    }

    async fn take(&self, stream: &mut Stream, piece: &Bytes) {
        stream.open = !piece.is_empty();
        self.tell(stream.kind, stream.text.take(piece)).await;
    }

    /// Waits for the command's end, and helps it if it was interrupted and does not come to it.
    async fn wait(&self, child: &mut tokio::process::Child) -> io::Result<ExitStatus> {
        loop {
            let is_late = self.interrupted.get().is_some_and(|since| since.elapsed() >= END_WITHIN);
            if let Some(group) = self.group.get().filter(|_| is_late) {
                let _ = killpg(group, Signal::SIGKILL); // it may have ended meanwhile
            }
            if let Ok(status) = tokio::time::timeout(END_WITHIN, child.wait()).await {
                return status;
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    let signal = || 128 + i64::from(status.signal().unwrap_or_default());
    status.code().map_or_else(signal, i64::from)
}

// === impl Stream ===

impl Stream {
    fn new(kind: &'static str) -> io::Result<(Stream, OwnedFd)> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((Stream { kind, pipe: Fd::new(read)?, text: Text::default(), open: true }, write))
    }
}

// === impl Text ===

impl Text {
    /// The text up to the last whole letter; what can be none is replaced.
    fn take(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        if let Some(last) = all.utf8_chunks().last() {
            let cut = last.invalid();
            let is_start = std::str::from_utf8(cut).is_err_and(|error| error.error_len().is_none());
            if is_start {
                self.cut = all.split_off(all.len() - cut.len());
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What remains at the end.
    fn rest(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.cut)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_cut_in_two_come_whole() {
        for at in 0.."a한é😀b".len() {
            let (first, second) = "a한é😀b".as_bytes().split_at(at);
            let mut text = Text::default();
            let read = text.take(first) + &text.take(second) + &text.rest();
            assert_eq!(read, "a한é😀b", "{at}");
        }
        let mut text = Text::default();
        assert_eq!((text.take(b"a\xff\xe2\x82"), text.rest()), ("a\u{fffd}".to_owned(), "\u{fffd}".to_owned()));
    }
}
