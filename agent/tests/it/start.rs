//! Coming up, what is told, and calls that make no sense.

use std::process::Command;

use backendai::wire::event::EventKind;
use rmpv::Value;

use crate::harness::{Events, World, put, wait_until};

#[test]
fn without_insecure_it_says_why_and_ends() {
    let output = Command::new(env!("CARGO_BIN_EXE_backendai-agent")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("--insecure"), "{said}");
}

#[test]
fn the_log_is_json_where_nobody_sees_it() {
    let mut world = World::start();
    world.end_agent(nix::sys::signal::Signal::SIGTERM);
    let log = std::fs::read_to_string(world.scratch().with_file_name("agent.log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "the agent serves" && line["level"] == "INFO"), "{log}");
}

#[test]
fn calls_that_make_no_sense_are_answered_in_pythons_words() {
    let world = World::start();
    let mut client = world.client();
    assert_eq!(client.call("ping", vec!["hello".into()]).unwrap(), "hello".into());
    assert_eq!(client.call("ping", vec![42.into()]).unwrap(), "42".into());
    let repr = |client: &mut crate::harness::Client, method: &str, args: Vec<Value>| {
        client.call(method, args).unwrap_err().repr
    };
    assert_eq!(repr(&mut client, "no_such_method", vec![1.into()]), "NotFoundError('no_such_method')");
    assert_eq!(
        repr(&mut client, "ping", vec![]),
        r#"ParametersError('TypeError("missing a required argument: \'msg\'")')"#
    );
    assert_eq!(repr(&mut client, "interrupt_kernel", vec!["nope".into()]), "KeyError('nope')");
    let execute = vec![2.into(), "nope".into(), "r".into(), "query".into(), "1".into(), Value::Map(vec![])];
    assert_eq!(
        repr(&mut client, "execute", execute),
        "RuntimeError('The container for kernel nope is not found! (might be terminated)')"
    );
}

#[test]
fn heartbeats_tell_slots_images_and_kernels() {
    let mut world = World::with(&["--slots", "cpu=3,mem=1000,gpu=0", "--region", "here"]);
    let kernel = world.client().create();
    let told = world
        .events
        .next(|kind| matches!(kind, EventKind::Heartbeat(h) if h.kernels.as_ref().is_some_and(|k| !k.is_empty())));
    assert_eq!(told.agent, "i-agent");
    let EventKind::Heartbeat(heartbeat) = told.kind else { panic!() };
    assert_eq!((heartbeat.cpu_slots, heartbeat.mem_slots, heartbeat.region.as_str()), (3.0, 1000, "here"));
    assert_eq!(heartbeat.addr, format!("tcp://127.0.0.1:{}", world.agent.port));
    assert_eq!(heartbeat.kernels, Some(vec![kernel]));
    assert!(heartbeat.images.is_some());
}

#[test]
fn events_go_to_another_gateway_when_one_goes() {
    let mut world = World::start();
    let mut other = Events::listen();
    let value = format!(r#"{{"events_addr": "127.0.0.1:{}"}}"#, other.port);
    put(world.etcd_port, "nodes/gateways/other", &value);
    put(world.etcd_port, "nodes/manager/event_addr", "127.0.0.1:1");
    let kernel = world.client().create();
    other.next(|kind| matches!(kind, EventKind::Heartbeat(h) if h.kernels == Some(vec![kernel.clone()])));
    world.events.next(|kind| matches!(kind, EventKind::Heartbeat(_)));
}

#[test]
fn statistics_are_in_redis_with_a_life() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    client.run(&kernel, "open('big', 'wb').write(bytes(5000))\nsum(range(3000000))");
    let redis = |args: &[&str]| {
        let output = Command::new("redis-cli").args(["-p", &world.redis_port.to_string()]).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    wait_until("statistics", || {
        redis(&["hget", &kernel, "io_cur_scratch_size"]).parse().is_ok_and(|size: u64| size >= 5000)
    });
    assert!(redis(&["hget", &kernel, "cpu_used"]).parse::<f64>().unwrap() > 0.0);
    assert!(redis(&["hget", &kernel, "mem_cur_bytes"]).parse::<u64>().unwrap() > 1 << 20);
    let life: i64 = redis(&["ttl", &kernel]).parse().unwrap();
    assert!((1..=30).contains(&life));
}
