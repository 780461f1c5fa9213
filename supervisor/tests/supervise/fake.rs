//! A gateway whose workers need no store, and do as one of its options says.

use std::{
    env,
    fs::File,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use backendai::{
    telemetry::{self, Counter},
    worker::Seat,
};
use backendai_gateway::{
    options,
    preflight::{Problem, refuse},
    slots::Policy,
    supervise::{Program, supervise},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::SignalFd,
    },
};

use super::gateway::PATIENCE;

pub fn gateway() -> ExitCode {
    let args = || env::args_os().take(1).chain(env::args_os().skip(2));
    let options = options::parse(args()).unwrap_or_else(|failure| failure.exit("backendai-gateway")).0;
    telemetry::init_logging(false, false);
    let reread = Box::new(move || options::parse(args()).map(|parsed| parsed.0).map_err(|failure| failure.to_string()));
    let program = Program { options, reread, look, worker, policy };
    supervise(program).unwrap_or_else(|problems| refuse(&problems))
}

/// Shorter pauses than usual, so that failures are seen in the time of a test.
fn policy(drain_timeout: Duration) -> Policy {
    Policy {
        backoff_max: Duration::from_millis(100),
        give_up_after: 4,
        start_timeout: Duration::from_secs(2),
        ..Policy::new(drain_timeout)
    }
}

fn look(config: &backendai::config::Gateway) -> Vec<Problem> {
    // It may have threads, which the supervisor itself must not.
    let away = config.docker_registry.as_deref() == Some("no-store");
    let found =
        thread::spawn(move || away.then(|| Problem { what: "the store is away".into(), mend: "start it".into() }));
    found.join().unwrap().into_iter().collect()
}

/// Answers on one connection after the other; what it is to do stands in an option that it has no other use for.
fn worker(seat: Seat) -> ExitCode {
    let word = seat.config.docker_registry.clone().unwrap_or_default();
    match word.as_str() {
        "fail" => return ExitCode::FAILURE,
        "half" if seat.slot > 0 => return ExitCode::FAILURE,
        "panic" => panic!("as asked"),
        "hang" => loop {
            thread::park();
        },
        _ => {}
    }
    telemetry::attach(seat.counters, seat.slot);
    tracing::debug!("the worker tells all");
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.thread_block().unwrap();
    let term = SignalFd::new(&mask).unwrap();
    let api = TcpListener::from(seat.listeners.api);
    File::from(seat.ready).write_all(b"1").unwrap();
    let mut until: Option<Instant> = None;
    loop {
        // Those that wait in the queue are its successor's; it takes what comes for a moment longer, as a real one.
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return ExitCode::SUCCESS;
        }
        let told = readable(&api, &term, left);
        // A stubborn one reads the signal and goes on.
        if told && term.read_signal().unwrap().is_some() && word != "stubborn" {
            until = Some(Instant::now() + Duration::from_millis(200));
        }
        if let Ok((stream, _)) = api.accept() {
            telemetry::count(Counter::ConnectionsAccepted);
            // A client that went away is none of our business.
            let _ = answer(stream, &word);
        }
    }
}

/// Waits for a connection or a signal, and says whether there is a signal.
fn readable(api: &TcpListener, term: &SignalFd, left: Option<Duration>) -> bool {
    let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap());
    let mut polled = [PollFd::new(api.as_fd(), PollFlags::POLLIN), PollFd::new(term.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, timeout).unwrap();
    polled[1].any() == Some(true)
}

fn answer(mut stream: TcpStream, word: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut chunk = [0; 512];
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            length => head.extend(&chunk[..length]),
        }
    }
    let body = format!("{} {word}", std::process::id());
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
