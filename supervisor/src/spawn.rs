//! Making a process of ours: forked, not executed anew, so that it starts in a millisecond with the
//! options already parsed and the shared map in place.
//!
//! The supervisor has one thread, so a fork copies no lock that another thread held. The child never
//! returns into the supervisor's code: it ends here, and the supervisor's objects in its memory are
//! never dropped (one of them would remove the control socket).
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use nix::{
    fcntl::OFlag,
    sched::{CpuSet, sched_setaffinity},
    sys::{
        prctl,
        signal::{SigHandler, SigSet, Signal, signal},
    },
    unistd::{ForkResult, Pid, fork, getpid, getppid, pipe2},
};

/// A process that was just made.
#[derive(Debug)]
pub struct Spawned {
    /// Its id.
    pub pid: Pid,
    /// It writes to the other end: a byte when it serves, or what it has found out.
    pub pipe: OwnedFd,
}

/// The child's surroundings.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The core to which it is bound.
    pub core: Option<usize>,
    /// Descriptors that it gets beside standard input, output and error, each named once.
    pub keep: &'a [BorrowedFd<'a>],
}

/// What a child owns.
#[derive(Debug)]
pub struct Inherited {
    /// Its end of the pipe to the supervisor.
    pub pipe: OwnedFd,
    /// What it was to keep, in the same order.
    pub kept: Vec<OwnedFd>,
}

/// Status of a child that panicked, as Rust's own processes have it.
const PANICKED: i32 = 101;

/// Status of a child whose parent was gone, or which could not be set up.
const NOT_STARTED: i32 = 71;

/// Forks a child that runs `work` with the writing end of a pipe and what it is to keep, and ends with what that returns.
///
/// The child dies with the supervisor, takes signals as they come by default except that it ignores
/// those meant for the supervisor (a terminal sends INT and HUP to all), and has no descriptor of others.
///
/// # Errors
/// There is no pipe or no process to be had.
pub fn spawn(surroundings: Surroundings<'_>, work: impl FnOnce(Inherited) -> ExitCode) -> io::Result<Spawned> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let supervisor = getpid();
    // SAFETY: the supervisor is single-threaded, so the child may do whatever the parent may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Spawned { pid: child, pipe: reader }),
        ForkResult::Child => {
            drop(reader);
            let ready = set_up(supervisor, surroundings.core).and_then(|()| inherit(surroundings.keep, writer));
            let code = match ready {
                Ok(inherited) => run(inherited, work),
                Err(error) => {
                    tracing::error!(%error, "a worker could not be set up");
                    NOT_STARTED
                }
            };
            std::process::exit(code)
        }
    }
}

fn run(inherited: Inherited, work: impl FnOnce(Inherited) -> ExitCode) -> i32 {
    // What a panic leaves broken is never looked at again: the process ends.
    match catch_unwind(AssertUnwindSafe(|| work(inherited))) {
        Ok(code) if code == ExitCode::SUCCESS => 0,
        Ok(_) => 1,
        Err(_) => PANICKED,
    }
}

fn set_up(supervisor: Pid, core: Option<usize>) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != supervisor {
        // It died before it was being watched.
        return Err(io::Error::other("the supervisor is gone"));
    }
    if let Some(core) = core {
        let mut set = CpuSet::new();
        set.set(core)?;
        sched_setaffinity(Pid::from_raw(0), &set)?;
    }
    for ignored in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        // SAFETY: no handler is installed, the signal is merely ignored.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    SigSet::all().thread_unblock()?;
    Ok(())
}

/// Closes every descriptor but the first three, those of `keep` and `pipe`, and hands these over.
fn inherit(keep: &[BorrowedFd<'_>], pipe: OwnedFd) -> io::Result<Inherited> {
    let keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    let others: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2 && *fd != pipe.as_raw_fd() && !keep.contains(fd))
        .collect();
    for fd in others {
        // SAFETY: whoever owned the descriptor is an object of the supervisor, which this process neither uses nor
        // drops from here on. The folder that was listed is closed already, which closing tells by an error.
        let _ = unsafe { libc::close(fd) };
    }
    // SAFETY: the descriptors are open, as they were borrowed across the fork, and their owners are objects of the
    // supervisor, which this process neither uses nor drops from here on. Each is named once.
    let kept = keep.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
    Ok(Inherited { pipe, kept })
}
