//! The agent under a gateway on libzmq, through pyzmq: DEALER for calls, PULL for events, PUB and SUB
//! for terminals.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::harness::{World, free_port, put};

/// The Python of the peers' environment, which is made when it is first needed.
fn python() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/venv.sh");
    // target/debug/deps/<this test>
    let test = std::env::current_exe().unwrap();
    let made = Command::new(script).arg(test.ancestors().nth(3).unwrap()).stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), "the peers' Python environment could not be made");
    String::from_utf8(made.stdout).unwrap().trim().into()
}

#[test]
fn a_gateway_on_libzmq_calls_hears_and_types() {
    let world = World::start();
    let events = free_port();
    let mut peer = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/agent_peer.py"))
        .args([world.agent.port, events].map(|port| port.to_string()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(peer.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "listening");
    put(world.etcd_port, "nodes/manager/event_addr", &format!("127.0.0.1:{events}"));
    let last = said.next().map(Result::unwrap);
    assert!(peer.wait().unwrap().success());
    assert_eq!(last.as_deref(), Some("all is well"));
}
