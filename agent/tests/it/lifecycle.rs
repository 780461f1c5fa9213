//! How kernels come, are restarted, and end: with all that they started.

use backendai::wire::{event::EventKind, value::get};
use nix::sys::signal::Signal;
use rmpv::Value;

use crate::harness::{Client, World, config, console, lives, map, processes_of, status, text, wait_until};

/// Starts, in a kernel, a daemon: of its own session, orphaned, without the kernel's environment.
fn start_daemon(client: &mut Client, kernel: &str) -> i32 {
    let code = "import subprocess\n\
        out = subprocess.run(['sh', '-c', 'setsid env -i /bin/sleep 1000 >/dev/null 2>&1 & echo $!'], stdout=subprocess.PIPE)\n\
        print(int(out.stdout))";
    client.stdout(kernel, code).trim().parse().unwrap()
}

#[test]
fn destroy_ends_grandchildren_and_removes_the_folder() {
    let mut world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let daemon = start_daemon(&mut client, &kernel);
    let stubborn = "import subprocess\np = subprocess.Popen(['sh', '-c', 'trap \"\" TERM INT HUP; while :; do sleep 1; done'])\np.pid";
    let stubborn: i32 = client.stdout(&kernel, stubborn).trim().parse().unwrap();
    assert!(lives(daemon) && lives(stubborn));
    let stats = client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
    assert!(!lives(daemon) && !lives(stubborn));
    assert!(processes_of(&kernel).is_empty());
    assert!(get(&stats, "cpu_used").unwrap().as_f64().unwrap() > 0.0);
    assert!(get(&stats, "mem_max_bytes").unwrap().as_u64().unwrap() > 1 << 20);
    assert_eq!(world.events.end_of(&kernel), "user-requested");
    assert!(!world.scratch().join(&kernel).exists());
    assert_eq!(client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap(), Value::Nil);
}

#[test]
fn destroy_during_a_run_ends_it_with_130() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let args = vec![
        2.into(),
        kernel.as_str().into(),
        "r".into(),
        "query".into(),
        "import time; time.sleep(1000)".into(),
        map([]),
    ];
    client.send("execute", args);
    world.client().call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
    let answer = client.receive().1.unwrap();
    assert_eq!((status(&answer), get(&answer, "exitCode")), ("finished", Some(&130.into())));
}

#[test]
fn restart_keeps_files_and_forgets_variables() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    client.run(&kernel, "x = 1\nopen('keep.txt','w').write('x')");
    let daemon = start_daemon(&mut client, &kernel);
    let answer = client.call("restart_kernel", vec![kernel.as_str().into(), config(256)]).unwrap();
    assert!(get(&answer, "container_id").is_some() && get(&answer, "id").is_none());
    assert!(!lives(daemon));
    assert_eq!(
        client.stdout(&kernel, "import os\nprint(os.path.exists('keep.txt'), 'x' in globals())"),
        "True False\n"
    );
    let error = client.call("restart_kernel", vec!["no-such-kernel".into(), config(256)]).unwrap_err();
    assert_eq!(error.kind, "builtins.KeyError");
}

#[test]
fn statistics_go_on_over_a_restart() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let burn = "import time\nwhile time.process_time() < 0.5: pass\ntime.process_time()";
    let burnt: f64 = client.stdout(&kernel, burn).trim().parse().unwrap();
    client.call("restart_kernel", vec![kernel.as_str().into(), config(256)]).unwrap();
    let more: f64 = client.stdout(&kernel, burn).trim().parse().unwrap();
    let stats = client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
    let used = get(&stats, "cpu_used").unwrap().as_f64().unwrap();
    // The system counts in ticks of 10 ms, user and system time each.
    assert!(used > (burnt + more) * 1000.0 - 40.0, "{used} ms after {burnt} s and {more} s");
}

#[test]
fn creation_is_told_and_refused_where_it_must_be() {
    let mut world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    world.events.next(|kind| matches!(kind, EventKind::KernelCreating { id } if *id == kernel));
    let again = client.call("create_kernel", vec![kernel.as_str().into(), config(256)]).unwrap_err();
    assert_eq!(again.kind, "builtins.FileExistsError");
    let mut other = config(256);
    if let Value::Map(pairs) = &mut other {
        pairs[0].1 = "nosuch:latest".into();
    }
    let error = client.call("create_kernel", vec!["other".into(), other]).unwrap_err();
    assert_eq!(error.repr, "RuntimeError('no such image: nosuch:latest')");
    let error = client.call("create_kernel", vec!["../x".into(), config(256)]).unwrap_err();
    assert_eq!(error.kind, "builtins.ValueError");
    assert!(!world.scratch().join("other").exists());
}

#[test]
fn an_interpreter_that_does_not_start_is_told_with_its_words() {
    let world = World::with(&["--python", "/bin/false"]);
    let error = world.client().call("create_kernel", vec!["k".into(), config(256)]).unwrap_err();
    assert!(error.repr.contains("the kernel did not start"), "{}", error.repr);
    assert!(!world.scratch().join("k").exists());
}

#[test]
fn idle_kernels_end_and_busy_ones_do_not() {
    let mut world = World::with(&["--idle-timeout", "2"]);
    let mut client = world.client();
    let (idle, busy) = (client.create(), client.create());
    let first = client.execute(&busy, "r", "query", "import time\nwhile True: time.sleep(1)", map([])).unwrap();
    assert_eq!(status(&first), "continued");
    assert_eq!(world.events.end_of(&idle), "idle-timeout");
    client.call("interrupt_kernel", vec![busy.as_str().into()]).unwrap();
    let (console, _) = client.finish(&busy, "r", first);
    assert_eq!(text(&console, "stderr"), "Interrupted!\n");
}

#[test]
fn a_killed_agent_leaves_no_process_and_the_next_tells_of_its_kernels() {
    let mut world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let daemon = start_daemon(&mut client, &kernel);
    world.end_agent(Signal::SIGKILL);
    wait_until("all processes of the kernel end", || !lives(daemon) && processes_of(&kernel).is_empty());
    world.start_agent_again(&[]);
    assert_eq!(world.events.end_of(&kernel), "agent-restart");
    wait_until("its folder goes", || !world.scratch().join(&kernel).exists());
}

#[test]
fn a_killed_first_process_leaves_nothing_behind() {
    let mut world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let child: i32 =
        client.stdout(&kernel, "import subprocess\nsubprocess.Popen(['sleep', '1000']).pid").trim().parse().unwrap();
    let daemon = start_daemon(&mut client, &kernel);
    let group: i32 = client.stdout(&kernel, "import os\nos.getpgrp()").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(group), Signal::SIGKILL).unwrap();
    assert_eq!(world.events.end_of(&kernel), "self-terminated");
    assert!(!lives(child) && processes_of(&kernel).is_empty());
    wait_until("the daemon ends", || !lives(daemon));
}

#[test]
fn term_ends_the_kernels_and_tells_gateways() {
    let mut world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let daemon = start_daemon(&mut client, &kernel);
    assert_eq!(world.get("nodes/agents/i-agent"), "running");
    assert_eq!(world.get("nodes/agents/i-agent/ip"), "127.0.0.1");
    world.end_agent(Signal::SIGTERM);
    assert!(!lives(daemon) && processes_of(&kernel).is_empty());
    assert_eq!(world.events.end_of(&kernel), "agent-shutdown");
    let end = world.events.next(|kind| matches!(kind, EventKind::Terminated { .. }));
    assert_eq!(end.kind, EventKind::Terminated { reason: "shutdown".into() });
    assert_eq!(world.get("nodes/agents/i-agent"), "");
}

#[test]
fn kept_kernels_are_taken_over_with_their_variables_and_runs() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut world = World::with(&["--keep-kernels"]);
        let mut client = world.client();
        let kernel = client.create();
        client.run(&kernel, "y = 5");
        let first = client.execute(&kernel, "r", "query", "name = input('? ')\nprint('hi', name)", map([])).unwrap();
        assert_eq!(status(&first), "waiting-input");
        world.end_agent(signal);
        assert!(!processes_of(&kernel).is_empty());
        world.start_agent_again(&["--keep-kernels"]);
        world.events.next(|kind| matches!(kind, EventKind::Started));
        let mut client = world.client();
        let last = client.execute(&kernel, "r", "input", "Lee", map([])).unwrap();
        assert_eq!(text(&console(&last), "stdout"), "hi Lee\n");
        assert_eq!(client.stdout(&kernel, "y"), "5\n");
        client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
        assert!(processes_of(&kernel).is_empty());
    }
}

#[test]
fn a_run_that_ends_while_no_agent_is_there_is_told_by_the_next() {
    let mut world = World::with(&["--keep-kernels"]);
    let mut client = world.client();
    let kernel = client.create();
    let code =
        "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')\nopen('went', 'w')\nNone";
    assert_eq!(status(&client.execute(&kernel, "r", "query", code, map([])).unwrap()), "continued");
    world.end_agent(Signal::SIGKILL);
    let work = world.scratch().join(&kernel).join("work");
    std::fs::write(work.join("go"), "").unwrap();
    wait_until("the run ends", || work.join("went").exists());
    world.start_agent_again(&["--keep-kernels"]);
    world.events.next(|kind| matches!(kind, EventKind::Started));
    let mut client = world.client();
    let answer = client.execute(&kernel, "r", "continue", "", map([])).unwrap();
    let (console, last) = client.finish(&kernel, "r", answer);
    assert_eq!((text(&console, "stdout").as_str(), status(&last)), ("done\n", "finished"));
    client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
}

#[test]
fn what_an_agent_did_not_write_down_is_cleaned_up_too() {
    let mut world = World::start();
    world.end_agent(Signal::SIGTERM);
    let folder = world.scratch().join("unfinished");
    std::fs::create_dir_all(folder.join("run")).unwrap();
    std::fs::create_dir_all(world.scratch().join(".gone-1/work")).unwrap();
    let mut stray =
        std::process::Command::new("sleep").arg("1000").env("BACKENDAI_KERNEL_ID", "unfinished").spawn().unwrap();
    world.start_agent_again(&[]);
    stray.wait().unwrap();
    wait_until("the folders go", || !folder.exists() && !world.scratch().join(".gone-1").exists());
}

#[test]
fn reset_ends_all_kernels() {
    let mut world = World::start();
    let mut client = world.client();
    let kernels = [client.create(), client.create()];
    client.call("reset", vec![]).unwrap();
    for kernel in kernels {
        assert!(processes_of(&kernel).is_empty());
    }
    world.events.next(|kind| matches!(kind, EventKind::KernelTerminated { .. }));
}
