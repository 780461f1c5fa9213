//! Real processes: this program starts itself as a gateway whose workers answer every request with who they are.
//!
//! It has no test harness, since a supervisor must be the only thread of its process when it forks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod fake;
mod gateway;

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    panic::catch_unwind,
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
};

use backendai_gateway::control::Command;
use gateway::{Gateway, Load, PATIENCE, alive, eventually, free_ports};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--as-gateway") { fake::gateway() } else { run(&args) }
}

/// Runs the tests whose names contain one of `filters`, or all.
fn run(filters: &[String]) -> ExitCode {
    let wanted: Vec<&String> = filters.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| name.contains(*w))) {
        let ok = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed += u32::from(!ok);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const TESTS: &[(&str, fn())] = &[
    ("every_worker_is_a_process_and_answers", every_worker_is_a_process_and_answers),
    ("a_killed_worker_is_replaced_and_nobody_is_refused", a_killed_worker_is_replaced_and_nobody_is_refused),
    ("a_hangup_replaces_all_workers_and_loses_no_request", a_hangup_replaces_all_workers_and_loses_no_request),
    ("termination_ends_all", termination_ends_all),
    ("an_interrupt_from_the_terminal_drains_too", an_interrupt_from_the_terminal_drains_too),
    ("a_worker_that_does_not_drain_is_killed", a_worker_that_does_not_drain_is_killed),
    ("workers_die_with_their_supervisor", workers_die_with_their_supervisor),
    ("a_busy_port_is_one_line", a_busy_port_is_one_line),
    ("a_second_gateway_is_refused", a_second_gateway_is_refused),
    ("a_missing_store_is_one_line", a_missing_store_is_one_line),
    ("a_crash_loop_ends_with_status_1", a_crash_loop_ends_with_status_1),
    ("a_panic_is_a_failed_start", a_panic_is_a_failed_start),
    ("a_reload_reads_the_options_again", a_reload_reads_the_options_again),
    ("a_reload_changes_how_much_is_logged", a_reload_changes_how_much_is_logged),
    ("a_reload_that_fails_keeps_the_workers", a_reload_that_fails_keeps_the_workers),
    ("a_reload_that_fails_keeps_the_number_of_workers", a_reload_that_fails_keeps_the_number_of_workers),
    ("workers_can_be_added_and_taken_away", workers_can_be_added_and_taken_away),
    ("systemd_is_told_of_every_change", systemd_is_told_of_every_change),
    ("systemd_is_told_when_one_worker_serves_and_the_others_fail", systemd_is_told_when_one_worker_serves),
    ("a_worker_has_no_descriptor_of_others", a_worker_has_no_descriptor_of_others),
];

// === the tests ===

fn every_worker_is_a_process_and_answers() {
    let gateway = Gateway::start(&["--workers", "3"]);
    let status = gateway.until("running");
    assert_eq!(status["workers"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.pids_that_answer(3), gateway.pids());
    assert!(!gateway.pids().contains(&gateway.pid()));
}

fn a_killed_worker_is_replaced_and_nobody_is_refused() {
    let gateway = Gateway::start(&["--workers", "2"]);
    let before = gateway.pids();
    let victim = *before.first().unwrap();
    let load = Load::start(gateway.api);
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    gateway.wait_for("another worker", |pids| pids.len() == 2 && !pids.contains(&victim));
    gateway.until("running");
    // A request that the victim was about to answer breaks with it; those in its queue do not.
    let (answered, broken) = load.stop();
    assert!(answered > 0 && broken <= 1, "{answered} answered, {broken} broken");
    assert_eq!(gateway.pids().intersection(&before).count(), 1);
    let status = gateway.status();
    let restarts: u64 = status["workers"].as_array().unwrap().iter().map(|w| w["restarts"].as_u64().unwrap()).sum();
    assert_eq!(restarts, 1);
}

fn a_hangup_replaces_all_workers_and_loses_no_request() {
    let gateway = Gateway::start(&["--workers", "2"]);
    let load = Load::start(gateway.api);
    for _ in 0..3 {
        let before = gateway.pids();
        gateway.signal(Signal::SIGHUP);
        gateway.wait_for("all others", |pids| pids.len() == 2 && pids.is_disjoint(&before));
        gateway.until("running");
    }
    let (answered, broken) = load.stop();
    assert!(answered > 0 && broken == 0, "{answered} answered, {broken} broken");
}

fn termination_ends_all() {
    let mut gateway = Gateway::start(&["--workers", "3"]);
    let pids = gateway.pids();
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(pids.iter().all(|pid| !alive(*pid)));
    assert!(!gateway.socket.exists());
    assert!(TcpStream::connect(gateway.api).is_err());
}

fn an_interrupt_from_the_terminal_drains_too() {
    let mut gateway = Gateway::start(&["--workers", "2"]);
    // A terminal sends it to the workers as well.
    for pid in gateway.pids() {
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    }
    assert_eq!(gateway.pids_that_answer(2), gateway.pids());
    gateway.signal(Signal::SIGINT);
    assert_eq!(gateway.wait().code(), Some(0));
}

fn a_worker_that_does_not_drain_is_killed() {
    let mut gateway = Gateway::start(&["--workers", "1", "--drain-timeout", "0.1", "--docker-registry", "stubborn"]);
    let pids = gateway.pids();
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(pids.iter().all(|pid| !alive(*pid)));
    assert!(gateway.log().contains("did not drain in time"));
}

fn workers_die_with_their_supervisor() {
    let mut gateway = Gateway::start(&["--workers", "3"]);
    let pids = gateway.pids();
    gateway.signal(Signal::SIGKILL);
    gateway.wait();
    eventually("the workers' end", || pids.iter().all(|pid| !alive(*pid)));
    // What it left does not hinder the next one.
    let next = Gateway::start_at(gateway.ports, &gateway.folder, &["--workers", "1"]);
    assert_eq!(next.pids().len(), 1);
}

fn a_busy_port_is_one_line() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let mut gateway = Gateway::launch(&["--service-port", &port.to_string()]);
    assert_eq!(gateway.wait().code(), Some(1));
    let line = format!("port {port} is in use by supervise");
    let log = gateway.log();
    assert!(log.contains(&line) && log.contains(&format!("(pid {})", std::process::id())), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

fn a_second_gateway_is_refused() {
    let first = Gateway::start(&["--workers", "1"]);
    let mut second = Gateway::launch_at(free_ports(), &first.folder, "second.log", &["--workers", "1"]);
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.log().contains("a gateway is running already"), "{}", second.log());
    assert_eq!(first.pids_that_answer(1), first.pids());
}

fn a_missing_store_is_one_line() {
    let mut gateway = Gateway::launch(&["--docker-registry", "no-store"]);
    assert_eq!(gateway.wait().code(), Some(1));
    let log = gateway.log();
    assert_eq!(log.trim(), "backendai-gateway: the store is away: start it");
}

fn a_crash_loop_ends_with_status_1() {
    let mut gateway = Gateway::launch(&["--workers", "2", "--docker-registry", "fail"]);
    assert_eq!(gateway.wait().code(), Some(1));
    let log = gateway.log();
    assert!(log.contains("giving up"), "{log}");
    assert!(log.matches("worker started").count() >= 8, "{log}");
}

fn a_panic_is_a_failed_start() {
    let mut gateway = Gateway::launch(&["--workers", "1", "--docker-registry", "panic"]);
    assert_eq!(gateway.wait().code(), Some(1));
    assert_eq!(gateway.log().matches("status 101").count(), 4, "{}", gateway.log());
}

fn a_reload_reads_the_options_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, "docker-registry = 'first'\nworkers = 1").unwrap();
    let gateway = Gateway::start(&["--config", file.to_str().unwrap()]);
    assert_eq!(gateway.get().1, "first");
    fs::write(&file, "docker-registry = 'second'\nworkers = 2\nservice-port = 1").unwrap();
    let check = gateway.ask(Command::ConfigCheck);
    assert_eq!((check.ok, check.message.contains("restart")), (true, false), "the command line goes before the file");
    assert!(gateway.ask(Command::Reload).ok);
    eventually("the new option", || gateway.get().1 == "second");
    gateway.wait_for("two workers", |pids| pids.len() == 2);
    fs::write(&file, "docker-registri = 'third'").unwrap();
    let refused = gateway.ask(Command::Reload);
    assert!(!refused.ok && refused.message.contains("docker-registri"), "{refused:?}");
    assert!(gateway.ask(Command::ConfigShow).data.as_str().unwrap().contains("docker-registry = \"second\""));
    assert_eq!(gateway.get().1, "second");
}

fn a_reload_changes_how_much_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, "debug = false").unwrap();
    let gateway = Gateway::start(&["--workers", "1", "--config", file.to_str().unwrap()]);
    let told = || gateway.log().matches("the worker tells all").count();
    for (debug, expected) in [(true, 1), (false, 1), (true, 2)] {
        fs::write(&file, format!("debug = {debug}")).unwrap();
        assert!(gateway.ask(Command::Reload).ok);
        assert_eq!(told(), expected);
    }
}

fn a_reload_that_fails_keeps_the_workers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, "docker-registry = 'good'").unwrap();
    let gateway = Gateway::start(&["--workers", "2", "--config", file.to_str().unwrap()]);
    let before = gateway.pids();
    for how in ["fail", "hang"] {
        fs::write(&file, format!("docker-registry = '{how}'")).unwrap();
        let reply = gateway.ask(Command::Reload);
        assert!(!reply.ok && reply.message.contains("slot 0"), "{reply:?}");
        gateway.wait_for("the old workers", |pids| *pids == before);
    }
    assert_eq!(gateway.pids_that_answer(2), before);
    // One that is replaced later starts with what it had, and so does every worker of the slots that were added.
    let victim = *before.first().unwrap();
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    gateway.wait_for("another worker", |pids| pids.len() == 2 && !pids.contains(&victim));
    gateway.until("running");
    assert!(gateway.ask(Command::ConfigShow).data.as_str().unwrap().contains("docker-registry = \"good\""));
    assert_eq!(gateway.pids_that_answer(2), gateway.pids());
}

fn a_reload_that_fails_keeps_the_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, "docker-registry = 'good'\nworkers = 2").unwrap();
    let gateway = Gateway::start(&["--config", file.to_str().unwrap()]);
    fs::write(&file, "docker-registry = 'fail'\nworkers = 3").unwrap();
    assert!(!gateway.ask(Command::Reload).ok);
    gateway.wait_for("two workers", |pids| pids.len() == 2);
    gateway.until("running");
    assert_eq!((gateway.status()["slots"].as_u64(), gateway.get().1), (Some(2), "good".to_owned()));
}

fn workers_can_be_added_and_taken_away() {
    let mut gateway = Gateway::start(&["--workers", "1"]);
    assert!(gateway.ask(Command::Resize { workers: 3 }).ok);
    gateway.wait_for("three workers", |pids| pids.len() == 3);
    gateway.until("running");
    assert_eq!(gateway.pids_that_answer(3), gateway.pids());
    assert!(gateway.ask(Command::Resize { workers: 1 }).ok);
    gateway.wait_for("one worker", |pids| pids.len() == 1);
    assert_eq!(gateway.pids_that_answer(1), gateway.pids());
    assert!(!gateway.ask(Command::Resize { workers: 0 }).ok);
    assert!(gateway.ask(Command::Drain).ok);
    assert_eq!(gateway.wait().code(), Some(0));
}

fn a_worker_has_no_descriptor_of_others() {
    let gateway = Gateway::start(&["--workers", "2"]);
    for pid in gateway.pids() {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links: Vec<PathBuf> = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect();
        let sockets = links.iter().filter(|link| link.to_str().unwrap().starts_with("socket:")).count();
        assert_eq!(sockets, 3, "{links:?}");
    }
}

fn systemd_is_told_of_every_change() {
    let folder = Rc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = systemd.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let mut gateway = Gateway::launch_with(free_ports(), &folder, "log", &["--workers", "1"], &variables);
    let next = |state: &str| {
        // The watchdog's messages come in between.
        while !told().starts_with(state) {}
    };
    next("READY=1");
    next("WATCHDOG=1");
    gateway.signal(Signal::SIGHUP);
    next("RELOADING=1\nMONOTONIC_USEC=");
    next("READY=1");
    gateway.signal(Signal::SIGTERM);
    next("STOPPING=1");
    assert_eq!(gateway.wait().code(), Some(0));
}

fn systemd_is_told_when_one_worker_serves() {
    let folder = Rc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let args = ["--workers", "2", "--docker-registry", "half"];
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let gateway = Gateway::launch_with(free_ports(), &folder, "log", &args, &variables);
    let mut buffer = [0; 256];
    let length = systemd.recv(&mut buffer).unwrap();
    let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(told.starts_with("READY=1\n") && told.contains("1 of 2 workers serve"), "{told}");
    assert_eq!(gateway.status()["slots"].as_u64(), Some(2));
}
