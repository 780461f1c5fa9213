//! Kernels with a terminal: bash in a pseudo-terminal, reached through its two ports.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use backendai::wire::{
    value::get,
    zmtp::{self, Limits, Session, SocketType},
};
use nix::sys::signal::Signal;
use rmpv::Value;

use crate::harness::{
    PATIENCE, World, config_of, console, map, next_event, pairs, processes_of, status, terminal_ports, text, wait_until,
};

/// One who sees the terminal.
struct Viewer {
    stream: TcpStream,
    session: Session,
    seen: String,
}

/// One who types.
struct Typist {
    stream: TcpStream,
    session: Session,
}

fn connect(port: u16, socket: SocketType) -> (TcpStream, Session) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut session = Session::new(socket, b"", Limits::RPC);
    assert!(matches!(next_event(&mut stream, &mut session), Some(zmtp::Event::Ready { .. })));
    (stream, session)
}

fn flush(stream: &mut TcpStream, session: &mut Session) {
    let out = session.output().split();
    stream.write_all(&out).unwrap();
}

// === impl Viewer ===

impl Viewer {
    fn open(port: u16) -> Viewer {
        let (mut stream, mut session) = connect(port, SocketType::Sub);
        session.subscribe(b"");
        flush(&mut stream, &mut session);
        Viewer { stream, session, seen: String::new() }
    }

    /// The next piece.
    fn next(&mut self) -> usize {
        match next_event(&mut self.stream, &mut self.session) {
            Some(zmtp::Event::Message(frames)) => {
                assert_eq!(frames.len(), 1);
                self.seen.push_str(&String::from_utf8_lossy(&frames[0]));
                frames[0].len()
            }
            other => panic!("{other:?} after {:?}", self.seen),
        }
    }

    /// Reads until this is shown, and gives all up to it.
    fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            assert!(Instant::now() < deadline, "{text:?} is not in {:?}", self.seen);
            self.next();
        }
    }
}

// === impl Typist ===

impl Typist {
    fn open(port: u16) -> Typist {
        let (mut stream, mut session) = connect(port, SocketType::Pub);
        let subscribed = next_event(&mut stream, &mut session);
        assert_eq!(subscribed, Some(zmtp::Event::Subscribe(bytes::Bytes::new())));
        Typist { stream, session }
    }

    fn say(&mut self, text: &str) {
        self.session.send(&[text]);
        flush(&mut self.stream, &mut self.session);
    }
}

/// Both, once the terminal is known to answer: what is shown before one is known is nobody's.
fn open([stdin, stdout]: [u16; 2]) -> (Typist, Viewer) {
    let (mut typist, mut viewer) = (Typist::open(stdin), Viewer::open(stdout));
    viewer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    wait_until("the terminal answers", || {
        typist.say("echo rea''dy\r");
        while next_event(&mut viewer.stream, &mut viewer.session).is_some_and(|event| viewer.took(event)) {}
        viewer.seen.contains("ready")
    });
    viewer.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    typist.say("echo syn''ced\r");
    viewer.until("synced");
    (typist, viewer)
}

impl Viewer {
    fn took(&mut self, event: zmtp::Event) -> bool {
        if let zmtp::Event::Message(frames) = event {
            self.seen.push_str(&String::from_utf8_lossy(&frames[0]));
        }
        true
    }
}

#[test]
fn bash_runs_in_a_terminal_with_job_control_in_the_work_folder() {
    let world = World::start();
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    assert!(ports.iter().all(|port| (30000..32700).contains(port)) && ports[0] != ports[1]);
    let (mut typist, mut viewer) = open(ports);
    typist.say("tty; pwd; echo $FOO $HOME; ulimit -n; ulimit -c\r");
    let shown = viewer.until("4096\r\n0\r\n");
    assert!(shown.contains("/dev/pts/"), "{shown}");
    assert_eq!(shown.matches(&format!("{kernel}/work")).count(), 2, "{shown}");
    typist.say("sleep 1000 & jobs; kill %1; wait; echo $((6*7))\r");
    let shown = viewer.until("42\r\n");
    assert!(shown.contains("Running") && shown.contains("sleep 1000"), "{shown}");
    typist.say("echo go''ing; cat; echo en''d\r");
    viewer.until("going");
    typist.say("twice\r");
    viewer.until("twice\r\ntwice\r\n");
    typist.say("\x04");
    viewer.until("end");
}

#[test]
fn runs_ping_and_resize_and_know_nothing_else() {
    let world = World::start();
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    let (mut typist, mut viewer) = open(ports);
    let pong = client.query(&kernel, "%ping");
    assert_eq!((status(&pong), console(&pong)), ("finished", pairs(&[("stdout", "pong!")])));
    let resized = client.query(&kernel, "%resize 40 100");
    assert_eq!(console(&resized), pairs(&[("stdout", "OK; terminal resized to 40 rows and 100 cols")]));
    typist.say("stty size\r");
    viewer.until("40 100\r\n");
    client.query(&kernel, "%resize 30 90");
    typist.say("stty size\r");
    viewer.until("30 90\r\n");
    for other in ["no percent", "%resize 0 0", "%other"] {
        let refused = client.query(&kernel, other);
        assert_eq!((status(&refused), console(&refused)), ("finished", pairs(&[("stderr", "Invalid command.")])));
    }
    let words = client.call("get_completions", vec![kernel.as_str().into(), "ec".into(), map([])]).unwrap();
    assert_eq!(get(&words, "completions"), Some(&Value::Array(vec![])));
}

#[test]
fn a_shell_that_was_left_is_started_anew_in_the_same_size() {
    let world = World::start();
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    let (mut typist, mut viewer) = open(ports);
    client.query(&kernel, "%resize 33 77");
    typist.say("x=old; exit\r");
    viewer.until("exit\r\nRestarting...\r\n");
    typist.say("echo [$x]; stty size\r");
    viewer.until("[]\r\n33 77\r\n");
}

#[test]
fn an_interrupt_is_ctrl_c() {
    let world = World::start();
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    let (mut typist, mut viewer) = open(ports);
    typist.say("echo go''ing; cat\r");
    viewer.until("going");
    typist.say("twice\r"); // once echoed and once by cat, which is in the foreground then
    viewer.until("twice\r\ntwice\r\n");
    client.call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
    viewer.until("^C");
    viewer.until("\x1b[?2004h"); // the prompt: bash drops what is typed while it deals with the interrupt
    typist.say("echo stat''us $?\r");
    viewer.until("status 130");
}

#[test]
fn all_viewers_see_and_all_may_type() {
    let world = World::start();
    let (_, ports) = world.client().create_shell();
    let (mut one, mut first) = open(ports);
    let (mut two, mut second) = open(ports);
    one.say("echo from o''ne\r");
    two.say("echo from t''wo\r");
    for viewer in [&mut first, &mut second] {
        viewer.until("from one");
        viewer.until("from two");
    }
}

/// Resident memory of the kernel's own processes that serve the terminal, in KiB.
fn memory_of_runner(kernel: &str) -> u64 {
    let is_runner = |pid: &&i32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|word| word == b"kernel-shell")
    };
    let pids = processes_of(kernel);
    let status = std::fs::read_to_string(format!("/proc/{}/status", pids.iter().find(is_runner).unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_flood_fills_no_memory_and_a_viewer_who_does_not_read_hinders_nobody() {
    let world = World::start();
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    let _slow: Vec<Viewer> = (0..4).map(|_| Viewer::open(ports[1])).collect();
    let (mut typist, mut viewer) = open(ports);
    typist.say("yes a line of some letters\r");
    let mut read = 0;
    while read < 48 << 20 {
        read += viewer.next();
        viewer.seen.clear();
    }
    assert!(memory_of_runner(&kernel) < 48 << 10, "{} KiB", memory_of_runner(&kernel));
    client.call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
    typist.say("echo aft''er\r");
    viewer.until("after");
}

#[test]
fn a_restart_keeps_files_and_ports_and_brings_a_new_shell() {
    let world = World::start();
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    let (mut typist, mut viewer) = open(ports);
    typist.say("x=old; echo kept > file; echo do''ne\r");
    viewer.until("done");
    let answer = client.call("restart_kernel", vec![kernel.as_str().into(), config_of("git:latest", 256)]).unwrap();
    assert_eq!(terminal_ports(&answer), ports);
    let (mut typist, mut viewer) = open(ports);
    typist.say("echo [$x]; cat file\r");
    viewer.until("[]\r\nkept\r\n");
}

#[test]
fn destroying_ends_what_the_shell_started_and_closes_the_ports() {
    let mut world = World::start();
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    let (mut typist, mut viewer) = open(ports);
    typist.say("setsid sleep 1000 & nohup sleep 1001 > /dev/null & (trap '' HUP TERM; sleep 1002) & echo do''ne\r");
    viewer.until("done");
    wait_until("all are there", || processes_of(&kernel).len() >= 6);
    let stats = client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
    assert!(get(&stats, "mem_max_bytes").unwrap().as_u64().unwrap() > 1 << 20);
    assert_eq!(world.events.end_of(&kernel), "user-requested");
    assert!(processes_of(&kernel).is_empty());
    for port in ports {
        TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }
}

#[test]
fn a_batch_runs_beside_the_terminal() {
    let world = World::start();
    let mut client = world.client();
    let (kernel, _) = client.create_shell();
    let options =
        map([("build", "echo 한글 > made; echo built".into()), ("exec", "cat made; echo no >&2; exit 3".into())]);
    let built = client.execute(&kernel, "r", "batch", "", options).unwrap();
    assert_eq!((status(&built), text(&console(&built), "stdout").as_str()), ("build-finished", "built\n"));
    let ran = client.execute(&kernel, "r", "continue", "", map([])).unwrap();
    assert_eq!((text(&console(&ran), "stdout").as_str(), text(&console(&ran), "stderr").as_str()), ("한글\n", "no\n"));
    assert_eq!((status(&ran), get(&ran, "exitCode")), ("finished", Some(&3.into())));

    let options = map([("exec", "trap '' INT; echo on; yes".into())]);
    client.execute(&kernel, "s", "batch", "", options).unwrap();
    let mut answer = client.execute(&kernel, "s", "continue", "", map([])).unwrap();
    assert_eq!(status(&answer), "continued");
    client.call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
    (_, answer) = client.finish(&kernel, "s", answer);
    assert_eq!((status(&answer), get(&answer, "exitCode")), ("finished", Some(&130.into())));
}

#[test]
fn a_terminal_in_use_is_not_idle_and_a_left_one_is() {
    let mut world = World::with(&["--idle-timeout", "3"]);
    let mut client = world.client();
    let (left, _) = client.create_shell();
    let (used, ports) = client.create_shell();
    let (mut typist, _viewer) = open(ports);
    typist.say("sleep 1000\r");
    assert_eq!(world.events.end_of(&left), "idle-timeout");
    typist.say("\x03");
    assert_eq!(world.events.end_of(&used), "idle-timeout");
}

#[test]
fn a_killed_agent_takes_the_terminal_with_it() {
    let mut world = World::start();
    let (kernel, ports) = world.client().create_shell();
    let (mut typist, mut viewer) = open(ports);
    typist.say("sleep 1000 & echo do''ne\r");
    viewer.until("done");
    world.end_agent(Signal::SIGKILL);
    wait_until("all processes end", || processes_of(&kernel).is_empty());
}

#[test]
fn a_kept_terminal_goes_on_while_no_agent_is_there() {
    let mut world = World::with(&["--keep-kernels"]);
    let mut client = world.client();
    let (kernel, ports) = client.create_shell();
    let (mut typist, mut viewer) = open(ports);
    world.end_agent(Signal::SIGKILL);
    typist.say("x=kept; echo with''out\r");
    viewer.until("without");
    world.start_agent_again(&["--keep-kernels"]);
    world.events.next(|kind| matches!(kind, backendai::wire::event::EventKind::Started));
    let mut client = world.client();
    client.query(&kernel, "%resize 20 60");
    typist.say("echo $x; stty size\r");
    viewer.until("kept\r\n20 60\r\n");
    client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
    assert!(processes_of(&kernel).is_empty());
}
