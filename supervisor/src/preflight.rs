//! What is looked at before the first worker is made, so that what is missing is one line that says how
//! to mend it, and not a crash loop.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use backendai::{
    config::Gateway,
    engine::{Engine, EngineChoice},
    http::Tls,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CpuSet, sched_getaffinity},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::spawn::{Surroundings, spawn};

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is missing.
    pub what: String,
    /// What mends it; empty where that is said already.
    pub mend: String,
}

/// What glommio wants to be able to lock, for each of its executors.
const RING_MEMLOCK: u64 = 512 << 10;

/// Descriptors that the supervisor and a worker need beside those of connections.
const FEW_DESCRIPTORS: u64 = 1024;

/// How long the look at the stores may take.
const STORES_TIMEOUT: Duration = Duration::from_secs(20);

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mend.as_str() {
            "" => f.write_str(&self.what),
            mend => write!(f, "{}: {mend}", self.what),
        }
    }
}

/// Says what is missing, a line each, and that there is no start.
pub fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("backendai-gateway: {problem}");
    }
    ExitCode::FAILURE
}

/// The engine for all workers; the soft limit of locked memory is raised on the way.
///
/// # Errors
/// io_uring was asked for by name and cannot be used.
pub fn engine(choice: EngineChoice) -> Result<Engine, Problem> {
    let enough_memory = raise(Resource::RLIMIT_MEMLOCK) >= RING_MEMLOCK;
    match (choice, choice.resolve(), enough_memory) {
        (EngineChoice::Auto, Ok(Engine::IoUring), false) => {
            tracing::info!("RLIMIT_MEMLOCK is below {RING_MEMLOCK} bytes, so epoll is used");
            Ok(Engine::Epoll)
        }
        (_, Ok(Engine::IoUring), false) => Err(Problem {
            what: format!("RLIMIT_MEMLOCK is below the {RING_MEMLOCK} bytes that io_uring needs"),
            mend: "raise it (LimitMEMLOCK=, ulimit -l), or give --engine epoll".to_owned(),
        }),
        (_, Ok(engine), _) => Ok(engine),
        (_, Err(error), _) => Err(Problem {
            what: error.to_string(),
            mend: "allow io_uring (seccomp profile, sysctl kernel.io_uring_disabled), or give --engine epoll"
                .to_owned(),
        }),
    }
}

/// Raises the limit of open descriptors to what this user may have.
///
/// # Errors
/// It is too low to serve anyone.
pub fn descriptors() -> Result<u64, Problem> {
    let limit = raise(Resource::RLIMIT_NOFILE);
    if limit >= FEW_DESCRIPTORS {
        return Ok(limit);
    }
    Err(Problem {
        what: format!("only {limit} descriptors may be open"),
        mend: format!("raise RLIMIT_NOFILE (LimitNOFILE=, ulimit -Hn) to {FEW_DESCRIPTORS} or more"),
    })
}

/// The cores that workers are bound to, in the order of slots (with more slots than cores, over again), and the
/// number of workers.
///
/// # Errors
/// A core was asked for that this process may not use.
pub fn cores(config: &Gateway) -> Result<(Vec<usize>, usize), Problem> {
    let allowed = allowed_cores();
    let cores = config.cpus.as_ref().map_or_else(|| allowed.iter().copied().collect(), |list| list.cores().to_vec());
    if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
        return Err(Problem {
            what: format!("core {core} is not among those that this process may use ({allowed:?})"),
            mend: "correct --cpus, or allow it (CPUAffinity=, AllowedCPUs=, --cpuset-cpus)".to_owned(),
        });
    }
    let count = config.workers.map_or(cores.len(), usize::from).max(1);
    Ok((cores, count))
}

/// What of the options can be looked at without starting anything: the cores, the certificate and its key.
///
/// # Errors
/// The first of it that cannot be used.
pub fn options(config: &Gateway) -> Result<(), Problem> {
    cores(config).map(drop).and_then(|()| tls(config))
}

/// Looks at the certificate and its key as every worker will load them.
///
/// # Errors
/// They cannot be read, or do not belong together.
pub fn tls(config: &Gateway) -> Result<(), Problem> {
    let (Some(cert), Some(key)) = (&config.ssl_cert, &config.ssl_key) else { return Ok(()) };
    Tls::load(cert, key).map(drop).map_err(|error| Problem {
        what: error.to_string(),
        mend: "correct --ssl-cert and --ssl-key, or these files".to_owned(),
    })
}

/// Runs `look` in a process of its own, as it needs threads and the supervisor must have none, and
/// takes over what it finds.
pub fn stores(look: impl FnOnce() -> Vec<Problem>) -> Vec<Problem> {
    let failed = |why: String| {
        vec![Problem {
            what: format!("the stores could not be looked at: {why}"),
            mend: "see the lines above".to_owned(),
        }]
    };
    let child = spawn(Surroundings::default(), |inherited| {
        let found = serde_json::to_vec(&look()).unwrap_or_default();
        File::from(inherited.pipe).write_all(&found).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
    });
    let child = match child {
        Ok(child) => child,
        Err(error) => return failed(error.to_string()),
    };
    let answer = read(File::from(child.pipe), STORES_TIMEOUT);
    if answer.is_none() {
        // It may have ended in between, then there is nothing to be killed.
        let _ = kill(child.pid, Signal::SIGKILL);
    }
    if let Err(error) = waitpid(child.pid, None) {
        return failed(error.to_string());
    }
    match answer {
        None => vec![Problem {
            what: format!("the stores have not answered within {} s", STORES_TIMEOUT.as_secs()),
            mend: "see whether --db-addr, --redis-addr and --etcd-addr are right and reachable".to_owned(),
        }],
        Some(text) => serde_json::from_slice(&text).unwrap_or_else(|error| failed(error.to_string())),
    }
}

/// All that is written before the other end is closed; `None` if that takes too long.
fn read(mut pipe: File, timeout: Duration) -> Option<Vec<u8>> {
    let end = Instant::now() + timeout;
    let mut text = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, wait) {
            Ok(0) => return None,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return Some(text),
            Ok(_) => {}
        }
        let mut chunk = [0; 4096];
        match pipe.read(&mut chunk) {
            Ok(0) | Err(_) => return Some(text),
            Ok(length) => text.extend(chunk.iter().take(length)),
        }
    }
}

/// Raises a soft limit to the hard one, and says what it is now.
fn raise(resource: Resource) -> u64 {
    let Ok((soft, hard)) = getrlimit(resource) else { return u64::MAX };
    if soft < hard && setrlimit(resource, hard, hard).is_ok() { hard } else { soft }
}

fn allowed_cores() -> BTreeSet<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_allowed_cores_and_no_other_can_be_asked_for() {
        let allowed: Vec<usize> = allowed_cores().into_iter().collect();
        let config = Gateway::from_args(["--workers", "5"]).unwrap();
        assert_eq!(cores(&config).unwrap(), (allowed.clone(), 5));
        let config = Gateway::from_args::<&str>([]).unwrap();
        assert_eq!(cores(&config).unwrap(), (allowed.clone(), allowed.len()));
        let config = Gateway::from_args(["--cpus", "1023"]).unwrap();
        assert!(cores(&config).unwrap_err().to_string().contains("core 1023"));
    }

    #[test]
    fn limits_are_raised_to_the_hard_ones() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(descriptors().unwrap(), hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(engine(EngineChoice::Epoll).unwrap(), Engine::Epoll);
    }
}
