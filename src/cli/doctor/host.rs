//! This machine: what its kernel allows, and the limits of whoever runs this.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    sys::resource::{RLIM_INFINITY, Resource, getrlimit},
    unistd::Pid,
};
use socket2::{Domain, Socket, Type};

use super::{
    check::{Checks, check},
    finding::{Finding, count},
};
use crate::engine::probe_io_uring;

/// What a gateway refuses to start without, and what a busy worker is glad of (descriptors).
const FEW: u64 = 1024;
const MANY: u64 = 16_384;
/// What a worker on io_uring wants to lock, in bytes.
const RING: u64 = 512 << 10;

pub fn checks() -> Checks<'static> {
    const HERE: &() = &();
    vec![
        check("io-uring", Ok(HERE), async |_: &()| Ok(vec![judge_ring(probe_io_uring())])),
        check("descriptors", Ok(HERE), async |_: &()| Ok(vec![judge_descriptors(hard(Resource::RLIMIT_NOFILE))])),
        check("locked-memory", Ok(HERE), async |_: &()| Ok(vec![judge_memory(hard(Resource::RLIMIT_MEMLOCK))])),
        check("cores", Ok(HERE), async |_: &()| Ok(vec![judge_cores(&allowed())])),
        check("reuse-port", Ok(HERE), async |_: &()| Ok(vec![judge_reuse(share_a_port())])),
    ]
}

fn judge_ring(answer: io::Result<()>) -> Finding {
    match answer {
        Ok(()) => Finding::ok("the kernel lets us use it"),
        Err(error) => Finding::note(
            format!("io_uring is refused ({error}); gateways use epoll"),
            "allow it (seccomp profile of the container, sysctl kernel.io_uring_disabled), or leave it so",
        ),
    }
}

fn judge_descriptors(most: u64) -> Finding {
    let mend = "raise RLIMIT_NOFILE (LimitNOFILE= of the unit, ulimit -Hn)";
    match most {
        few if few < FEW => {
            Finding::failed(format!("only {few} descriptors may be open here: a gateway does not start"), mend)
        }
        few if few < MANY => {
            Finding::note(format!("{few} descriptors may be open here: each connection takes one"), mend)
        }
        many => Finding::ok(format!("{} may be open", shown(many))),
    }
}

fn judge_memory(most: u64) -> Finding {
    match most {
        little if little < RING => Finding::note(
            format!(
                "{} KiB of memory may be locked here: gateways use epoll, as io_uring takes {}",
                little >> 10,
                RING >> 10
            ),
            "raise RLIMIT_MEMLOCK (LimitMEMLOCK= of the unit, ulimit -Hl), or leave it so",
        ),
        much => Finding::ok(format!("{} bytes may be locked", shown(much))),
    }
}

fn judge_cores(cores: &[usize]) -> Finding {
    match cores {
        [] => Finding::failed("the kernel does not say which cores are allowed", "name them: backendai-gateway --cpus"),
        cores => {
            let names: Vec<String> = cores.iter().map(ToString::to_string).collect();
            Finding::ok(format!("{} allowed: {}", count(cores.len(), "core"), names.join(",")))
        }
    }
}

fn judge_reuse(answer: io::Result<()>) -> Finding {
    match answer {
        Ok(()) => Finding::ok("two listeners can share a port"),
        Err(error) => Finding::failed(
            format!("two listeners cannot share a port (SO_REUSEPORT): {error}"),
            "a gateway's workers need it: use Linux 3.9 or newer, without a sandbox that forbids it",
        ),
    }
}

fn shown(limit: u64) -> String {
    if limit == RLIM_INFINITY { "any number of".to_owned() } else { limit.to_string() }
}

/// A limit that this user may raise its own to. What is not limited, or not told, is no hindrance.
fn hard(resource: Resource) -> u64 {
    getrlimit(resource).map_or(RLIM_INFINITY, |(_, hard)| hard)
}

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

fn share_a_port() -> io::Result<()> {
    let listener = |port: u16| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.listen(1)?;
        Ok::<_, io::Error>(std::net::TcpListener::from(socket))
    };
    let first = listener(0)?;
    listener(first.local_addr()?.port()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::State;

    #[test]
    fn limits_that_are_too_low_are_told() {
        let states = [100, 1024, 16_384, RLIM_INFINITY].map(|most| judge_descriptors(most).state);
        assert_eq!(states, [State::Failed, State::Note, State::Ok, State::Ok]);
        assert!(judge_descriptors(100).what.contains("only 100 descriptors"));
        assert_eq!(judge_memory(64 << 10).state, State::Note);
        assert_eq!(judge_memory(RING).state, State::Ok);
        assert_eq!(judge_cores(&[]).state, State::Failed);
        assert_eq!(judge_cores(&[0, 2]).what, "2 cores allowed: 0,2");
    }

    #[test]
    fn what_the_kernel_refuses_is_told() {
        let refused = || Err(io::Error::from_raw_os_error(libc::EPERM));
        let ring = judge_ring(refused());
        assert_eq!(ring.state, State::Note, "gateways run without");
        assert!(ring.what.contains("not permitted") && ring.what.contains("epoll"), "{}", ring.what);
        assert_eq!(judge_reuse(refused()).state, State::Failed);
        assert_eq!(judge_reuse(share_a_port()).state, State::Ok);
    }
}
