//! The agent's children: started as kernels' first processes, reaped when they end.
//!
//! The agent is a subreaper as well, so that what a kernel leaves behind when even its first process
//! was killed comes here, is found by the kernel's mark in its environment, and is ended.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    path::Path,
    process::{Command, Stdio},
    rc::Rc,
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{
    launch::Launch,
    proc_table::{ProcTable, Process},
    scratch::Scratch,
};

/// The environment variable that marks a kernel's processes with its id.
pub const MARK: &str = "BACKENDAI_KERNEL_ID";
/// How often a process that is not our child is looked at while its end is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often what was killed is looked for again before that is given up.
const ROUNDS: usize = 100;

/// Reaps the agent's children.
#[derive(Debug, Default)]
pub struct Reaper {
    waiting: RefCell<HashMap<i32, oneshot::Sender<()>>>,
}

/// A kernel's first process, by pid and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// Its pid, and the kernel's process group and session.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

// === impl Reaper ===

impl Reaper {
    /// Makes this process a subreaper and reaps from now on. To be called once.
    ///
    /// # Errors
    /// The signal handler cannot be installed.
    pub fn start() -> io::Result<Rc<Reaper>> {
        prctl::set_child_subreaper(true)?;
        let mut children = signal(SignalKind::child())?;
        let reaper = Rc::new(Reaper::default());
        let own = reaper.clone();
        tokio::task::spawn_local(async move {
            while children.recv().await.is_some() {
                own.reap();
            }
        });
        Ok(reaper)
    }

    fn reap(&self) {
        loop {
            let pid = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if let Some(told) = self.waiting.borrow_mut().remove(&pid.as_raw()) {
                let _ = told.send(()); // nobody may wait any more
            }
        }
    }

    /// Kills children that are no kernel's first process, with all below them: what came here when a
    /// first process was killed. It may have left that kernel's environment behind.
    pub fn end_strays(&self) {
        let own = nix::unistd::getpid().as_raw();
        for _ in 0..ROUNDS {
            let table = ProcTable::read();
            let is_stray = |pid: &i32| {
                table.get(*pid).is_some_and(|process| process.parent == own) && !self.waiting.borrow().contains_key(pid)
            };
            let strays: Vec<i32> = table.descendants(own).into_iter().filter(is_stray).collect();
            if strays.is_empty() {
                return;
            }
            for pid in strays.iter().flat_map(|stray| table.descendants(*stray)).chain(strays.iter().copied()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // it may have ended meanwhile
            }
        }
        tracing::warn!("strays of an ended kernel are still there");
    }

    /// Starts a kernel's first process with this listening socket as its descriptor 0. The receiver is
    /// told of its end.
    ///
    /// # Errors
    /// A file or the process cannot be made.
    pub fn spawn(
        &self,
        launch: &Launch,
        scratch: &Scratch,
        listener: std::os::unix::net::UnixListener,
    ) -> io::Result<(Init, oneshot::Receiver<()>)> {
        let file = scratch.run().join("launch.json");
        std::fs::write(&file, serde_json::to_vec(launch)?)?;
        let log = std::fs::File::create(scratch.log())?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("kernel-init").arg(&file).env_clear().envs(&launch.env);
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).stdout(log.try_clone()?).stderr(log);
        let pid = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
        let (told, ended) = oneshot::channel();
        self.waiting.borrow_mut().insert(pid, told);
        let start = Process::read(pid).map_or(0, |process| process.start);
        Ok((Init { pid, start }, ended))
    }
}

// === impl Init ===

impl Init {
    /// Whether the process still runs.
    pub fn lives(self) -> bool {
        Process::lives(self.pid, self.start)
    }

    /// Asks the kernel's first process to end it; `hard`: kills that process, and the interpreter
    /// with it.
    pub fn end(self, hard: bool) {
        if self.lives() {
            let signal = if hard { Signal::SIGKILL } else { Signal::SIGTERM };
            let _ = kill(Pid::from_raw(self.pid), signal); // it may have ended meanwhile
        }
    }

    /// Interrupts all of the kernel's process group, as Ctrl-C in a terminal does.
    pub fn interrupt(self) {
        if self.lives() {
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGINT);
        }
    }

    /// Waits until the process is gone, whoever its parent is.
    pub async fn gone(self) {
        while self.lives() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the process and what bears the kernel's mark: asked first, killed after `patience`.
    pub async fn end_all(self, kernel: &str, patience: Duration) {
        self.end(false);
        if tokio::time::timeout(patience, self.gone()).await.is_err() {
            self.end(true);
            self.gone().await;
        }
        sweep(kernel);
    }
}

/// Kills processes that bear this kernel's mark: left over when its first process was killed.
pub fn sweep(kernel: &str) {
    let entry = format!("{MARK}={kernel}");
    for _ in 0..ROUNDS {
        let left = ProcTable::read().with_environment(&entry);
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // it may have ended meanwhile
        }
    }
    tracing::warn!(kernel, "processes of an ended kernel are still there");
}

/// Whether the folder's file system can hold a socket at this path: its length is bounded.
pub fn socket_path_fits(path: &Path) -> bool {
    path.as_os_str().len() < 108
}
