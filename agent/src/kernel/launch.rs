//! The two small processes between the agent and a kernel's interpreter.
//!
//! `kernel-init` leads the kernel's session and process group, and is a subreaper: whatever user code
//! starts, daemonised or not, stays below it. It reaps, and at the kernel's end (its own TERM, the
//! interpreter's end, or the agent's death) it ends every descendant before it goes. `kernel-exec`
//! applies what must hold for the interpreter alone (limits, cores, mounts, death with its parent) and
//! becomes the interpreter. Both are this same program: nothing has to run between fork and exec,
//! where almost nothing may.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sched::{CpuSet, sched_setaffinity},
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid, getppid, setsid},
};
use serde::{Deserialize, Serialize};

use super::{
    mounts::{self, Mount},
    proc_table::ProcTable,
};

/// How long a kernel's processes may take to end after TERM.
const GRACE: Duration = Duration::from_secs(1);

/// Everything that a kernel's start needs; a JSON file in its private folder.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The interpreter.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub work: PathBuf,
    /// Most bytes of address space of each process.
    pub address_space: u64,
    /// The cores it may use; empty: all.
    pub cpus: Vec<usize>,
    /// The folders that are mounted for it alone.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// The agent that starts it, and with which it ends; none: it outlives the agent.
    pub agent: Option<i32>,
}

/// Runs one of the two roles if the program was started as one.
pub fn run_role(args: &[String]) -> Option<ExitCode> {
    let role = match args.get(1).map(String::as_str) {
        Some("kernel-init") => run_init,
        Some("kernel-exec") => run_exec,
        _ => return None,
    };
    let path = args.get(2).map(Path::new)?;
    Some(role(path).unwrap_or_else(|error| {
        eprintln!("the kernel cannot start: {error}");
        ExitCode::from(125)
    }))
}

fn read(path: &Path) -> io::Result<Launch> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

// === kernel-init ===

fn run_init(path: &Path) -> io::Result<ExitCode> {
    let launch = read(path)?;
    setsid()?;
    prctl::set_child_subreaper(true)?;
    let signals =
        SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT]);
    signals.thread_block()?;
    if let Some(agent) = launch.agent {
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        if getppid().as_raw() != agent {
            return Ok(ExitCode::from(125));
        }
    }
    let child = Command::new("/proc/self/exe").arg("kernel-exec").arg(path).spawn()?;
    let leader = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    release_listener()?;
    let code = supervise(&signals, leader)?;
    end_descendants();
    Ok(ExitCode::from(code))
}

/// The listening socket belongs to the interpreter: with it, connecting must fail.
fn release_listener() -> io::Result<()> {
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(null)?;
    Ok(())
}

/// Reaps until the interpreter has ended or an end is asked for. The exit code is the interpreter's.
fn supervise(signals: &SigSet, leader: Pid) -> nix::Result<u8> {
    loop {
        match signals.wait() {
            Ok(Signal::SIGTERM) => return Ok(143),
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(leader) {
                    return Ok(code);
                }
            }
            Ok(_) | Err(Errno::EINTR) => {} // an interrupt is for the group's other processes
            Err(error) => return Err(error),
        }
    }
}

/// Reaps every dead child, and gives the leader's exit code if it was among them.
fn reap(leader: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == leader => code = Some(status.to_le_bytes()[0]),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == leader => {
                code = Some(128_u8.saturating_add((signal as i32).to_le_bytes()[0]));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}

/// Ends all descendants: they are asked, and after a grace stopped and killed, round by round until
/// none is left. As the subreaper of them all, this process is the parent of whichever remain.
fn end_descendants() {
    signal_descendants(Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if no_children() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    signal_descendants(Signal::SIGSTOP);
    while !no_children() {
        signal_descendants(Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reaps the dead; whether no child is left.
fn no_children() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

fn signal_descendants(signal: Signal) {
    for pid in ProcTable::read().descendants(getpid().as_raw()) {
        let _ = kill(Pid::from_raw(pid), signal); // it may have ended meanwhile
    }
}

// === kernel-exec ===

fn run_exec(path: &Path) -> io::Result<ExitCode> {
    let init = getppid();
    let launch = read(path)?;
    limit(&launch)?;
    mounts::enter(&launch.mounts, &launch.work)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?; // last: whose capabilities change dies with nobody any more
    if getppid() != init {
        return Ok(ExitCode::from(125));
    }
    SigSet::all().thread_unblock()?; // init's mask was inherited
    let error = Command::new(&launch.program)
        .args(&launch.args)
        .env_clear()
        .envs(&launch.env)
        .current_dir(&launch.work)
        .stdin(Stdio::inherit())
        .exec();
    Err(error)
}

fn limit(launch: &Launch) -> io::Result<()> {
    const GIB: u64 = 1 << 30;
    let _ = std::fs::write("/proc/self/oom_score_adj", "500"); // kernels go before the agent
    if !launch.cpus.is_empty() {
        let mut cpus = CpuSet::new();
        launch.cpus.iter().try_for_each(|cpu| cpus.set(*cpu))?;
        sched_setaffinity(Pid::from_raw(0), &cpus)?;
    }
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, 4096),
        (Resource::RLIMIT_NPROC, 4096),
        (Resource::RLIMIT_FSIZE, 8 * GIB),
        (Resource::RLIMIT_AS, launch.address_space),
    ] {
        let (_, hard) = nix::sys::resource::getrlimit(resource)?;
        let most = most.min(hard);
        setrlimit(resource, most, most)?;
    }
    Ok(())
}
