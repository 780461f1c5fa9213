//! An etcd that can be killed and started again on its data, and what tests ask of it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::super::{Etcd, EtcdOptions, NodeInfo, Snapshot, client::Client, keys};
use crate::{config::HostPort, testing};

/// How long anything may take before a test fails; no test waits for it to pass.
const LIMIT: Duration = Duration::from_secs(40);
pub(super) const NAMESPACE: &str = "test";

/// A private etcd, with a runtime for the tests' own calls.
pub(super) struct Rig {
    pub addr: HostPort,
    pub runtime: tokio::runtime::Runtime,
    command: Vec<String>,
    server: Pid,
    again: Option<Child>,
    _first: testing::Etcd,
}

impl Rig {
    pub fn start() -> Rig {
        let first = testing::Etcd::start();
        let server = first.server.pid();
        let command = std::fs::read_to_string(format!("/proc/{server}/cmdline")).unwrap();
        let command = command.split_terminator('\0').map(str::to_owned).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Rig { addr: first.addr(), runtime, command, server, again: None, _first: first }
    }

    /// Kills the server and waits until nobody listens.
    pub fn kill(&mut self) {
        kill(self.server, Signal::SIGKILL).unwrap();
        until("the server is gone", || std::net::TcpStream::connect(("127.0.0.1", self.addr.port)).is_err());
    }

    /// Starts the server again on the data it had. The shell ends it as soon as this program is gone.
    pub fn restart(&mut self) {
        let script = r#""$@" </dev/null >/dev/null 2>&1 & echo $!; read -r _; kill -s KILL $!"#;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).args(&self.command).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.server = Pid::from_raw(pid.trim().parse().unwrap());
        self.again = Some(shell);
        until("the server is back", || self.try_client().is_some());
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.server, signal).unwrap();
    }

    pub fn client(&self) -> Client {
        self.runtime.block_on(Client::connect(std::slice::from_ref(&self.addr), NAMESPACE)).unwrap()
    }

    fn try_client(&self) -> Option<Client> {
        self.runtime.block_on(Client::connect(std::slice::from_ref(&self.addr), NAMESPACE)).ok()
    }

    pub fn put(&self, key: &str, value: &str) {
        let mut client = self.client();
        self.runtime.block_on(client.put(key, value)).unwrap();
    }

    pub fn delete(&self, key: &str) -> bool {
        let mut client = self.client();
        self.runtime.block_on(client.delete(key)).unwrap()
    }

    pub fn get(&self, key: &str) -> Option<String> {
        let mut client = self.client();
        self.runtime.block_on(client.get(key)).unwrap()
    }

    /// An image `name` with the tag `latest`.
    pub fn put_image(&self, name: &str, cpu: &str) {
        self.put(&keys::image_cpu(name), cpu);
        self.put(&keys::image_mem(name), "512");
        self.put(&keys::image_tag(name, "latest"), "sha256:0");
    }

    /// Drops the history up to now.
    pub fn compact(&self) {
        self.runtime.block_on(async {
            let mut raw = etcd_client::Client::connect([self.addr.to_string()], None).await.unwrap();
            let now = raw.get("x", None).await.unwrap().header().unwrap().revision();
            raw.compact(now, Some(etcd_client::CompactionOptions::new().with_physical())).await.unwrap();
        });
    }

    /// Ends all leases, as an operator can.
    pub fn revoke_all(&self) {
        self.runtime.block_on(async {
            let mut raw = etcd_client::Client::connect([self.addr.to_string()], None).await.unwrap();
            for lease in raw.leases().await.unwrap().leases() {
                raw.lease_revoke(lease.id()).await.unwrap();
            }
        });
    }

    pub fn options(&self, id: &str) -> EtcdOptions {
        EtcdOptions {
            endpoints: vec![self.addr.clone()],
            namespace: NAMESPACE.into(),
            instance_id: id.into(),
            publish: None,
            campaign: false,
        }
    }

    pub fn follow(&self) -> Etcd {
        Etcd::start(self.options("follower")).unwrap()
    }

    pub fn candidate(&self, id: &str) -> Etcd {
        Etcd::start(EtcdOptions { campaign: true, ..self.options(id) }).unwrap()
    }

    pub fn publisher(&self, name: &str) -> Etcd {
        Etcd::start(EtcdOptions { publish: Some(node(name)), ..self.options(&format!("{name}-0")) }).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut shell) = self.again.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

/// A node whose addresses tell its name.
pub(super) fn node(name: &str) -> NodeInfo {
    let addr = |port| HostPort { host: format!("{name}.example"), port };
    NodeInfo { node: name.into(), events_addr: addr(5002), redis_addr: addr(6379), api_addr: addr(8081), workers: 2 }
}

/// Waits for something that must come true.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits, by the snapshots that are published, for one of which something is true.
pub(super) fn shows(etcd: &Etcd, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut changes = etcd.changes();
    let wait = async {
        let mut snapshot = etcd.snapshot();
        while !holds(&snapshot) {
            snapshot = changes.next().await;
        }
        snapshot
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let found = runtime.block_on(async { tokio::time::timeout(LIMIT, wait).await });
    found.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}; last: {:?}", etcd.snapshot()))
}
