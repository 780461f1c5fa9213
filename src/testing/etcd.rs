//! A private etcd of one member.

use super::{
    find_program, free_port,
    guard::{Guarded, Home, serve},
};
use crate::config::HostPort;

/// A running etcd.
pub struct Etcd {
    /// The server process.
    pub server: Guarded,
    /// Its client port on 127.0.0.1.
    pub port: u16,
}

impl Etcd {
    /// Starts a new, empty etcd. Data is not synced to disk where the server lets one choose.
    #[must_use]
    pub fn start() -> Etcd {
        let program = find_program("etcd", &[]).expect("etcd on the PATH (Debian: etcd-server)");
        let (_, port, server) = serve("etcd", &program, "KILL", |home, port| arguments(home, port, free_port()));
        Etcd { server, port }
    }

    /// Where clients find it.
    #[must_use]
    pub fn addr(&self) -> HostPort {
        HostPort { host: "127.0.0.1".into(), port: self.port }
    }
}

fn arguments(home: &Home, port: u16, peer: u16) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
    vec![
        "--name=test".into(),
        format!("--data-dir={}/data", home.path.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=test={peer}"),
    ]
}
