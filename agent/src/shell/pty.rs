//! A pseudo-terminal with a shell in it.

use std::{io, os::fd::OwnedFd, path::Path, process::Stdio};

use bytes::Bytes;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rustix::{
    pty::OpenptFlags,
    termios::{Winsize, tcgetpgrp, tcsetwinsize},
};
use tokio::process::{Child, Command};

use super::{KEEP, TTY_ROLE, fd::Fd};

/// What Ctrl-C types.
const CONTROL_C: &[u8] = &[3];

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines of text.
    pub rows: u16,
    /// Letters in a line.
    pub columns: u16,
}

/// The terminal.
#[derive(Debug)]
pub struct Pty {
    master: Fd,
    /// Kept open, so that reading the other end never fails while no process has the terminal: a
    /// shell may close its own descriptors and open it again.
    _slave: OwnedFd,
    /// The shell's pid, which is that of its process group too.
    shell: Option<i32>,
}

// === impl Pty ===

impl Pty {
    /// Opens a terminal and starts the shell in it.
    ///
    /// # Errors
    /// There are no more terminals or processes.
    pub fn start(shell: &Path, size: Size) -> io::Result<(Pty, Child)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        tcsetwinsize(&master, size.into())?;
        let child = spawn(shell, &slave)?;
        let shell = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok((Pty { master: Fd::new(master)?, _slave: slave, shell }, child))
    }

    /// What it shows next.
    ///
    /// # Errors
    /// The system's.
    pub async fn read(&self) -> io::Result<Bytes> {
        self.master.read().await
    }

    /// What it shows now.
    pub fn left(&self) -> Vec<Bytes> {
        self.master.left()
    }

    /// Types some of this, and says how much.
    ///
    /// # Errors
    /// The system's.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.master.write(bytes).await
    }

    /// Gives it another size; programs in it are told.
    ///
    /// # Errors
    /// The system's.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        Ok(tcsetwinsize(self.master.get(), size.into())?)
    }

    /// Types Ctrl-C; where there is no room for it, because nobody reads what was typed before, the
    /// program in the foreground is interrupted all the same.
    pub fn interrupt(&self, may_type: bool) {
        if !(may_type && self.master.try_write(CONTROL_C))
            && let Some(group) = self.foreground()
        {
            let _ = killpg(Pid::from_raw(group), Signal::SIGINT); // it may have ended meanwhile
        }
    }

    /// Whether a program runs in the foreground, other than the shell itself.
    pub fn is_busy(&self) -> bool {
        self.foreground().is_some_and(|group| Some(group) != self.shell)
    }

    fn foreground(&self) -> Option<i32> {
        Some(tcgetpgrp(self.master.get()).ok()?.as_raw_nonzero().get())
    }
}

fn spawn(shell: &Path, slave: &OwnedFd) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(TTY_ROLE).arg(shell).env("SHELL", shell).env_remove(KEEP);
    if std::env::var_os("TERM").is_none() {
        command.env("TERM", "xterm-256color");
    }
    let slave = || slave.try_clone().map(Stdio::from);
    command.stdin(slave()?).stdout(slave()?).stderr(slave()?).spawn()
}

// === impl Size ===

impl From<Size> for Winsize {
    fn from(size: Size) -> Winsize {
        Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
    }
}
