//! A private Redis without persistence.

use super::{
    find_program,
    guard::{Guarded, Home, serve},
};
use crate::config::HostPort;

/// A running Redis.
pub struct Redis {
    /// The server process.
    pub server: Guarded,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl Redis {
    /// Starts a new, empty Redis.
    #[must_use]
    pub fn start() -> Redis {
        let program = find_program("redis-server", &[]).expect("redis-server on the PATH (Debian: redis-server)");
        let (_, port, server) = serve("redis", &program, "KILL", arguments);
        Redis { server, port }
    }

    /// Where clients find it.
    #[must_use]
    pub fn addr(&self) -> HostPort {
        HostPort { host: "127.0.0.1".into(), port: self.port }
    }
}

fn arguments(home: &Home, port: u16) -> Vec<String> {
    let folder = home.path.display().to_string();
    ["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir", &folder]
        .map(str::to_owned)
        .to_vec()
}
