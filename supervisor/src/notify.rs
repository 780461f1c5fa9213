//! What systemd wants to hear (sd_notify(3)): one datagram for each change of state, and one in time for its watchdog.
#![allow(unsafe_code)]

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
    time::Duration,
};

/// The way to whoever started the supervisor; silent when that is not systemd.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

// === impl Notify ===

impl Notify {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    pub fn from_env() -> Self {
        let text = |name: &str| env::var(name).ok();
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| open(name.as_bytes()).ok());
        let ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = text("WATCHDOG_USEC").filter(|_| ours).and_then(|micros| micros.parse().ok());
        Notify { socket, watchdog: micros.map(Duration::from_micros) }
    }

    /// How often [`Notify::alive`] is to be called: twice as often as the watchdog wants.
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.filter(|interval| !interval.is_zero()).map(|interval| interval / 2)
    }

    /// The start, or a reload, is over.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Workers are being replaced.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros()));
    }

    /// Workers are being ended.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The supervisor's loop runs.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, "systemd could not be told");
        }
    }
}

/// A name that begins with `@` is in the abstract namespace, any other is a path.
fn open(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(name)))?,
    };
    let socket = UnixDatagram::unbound()?;
    // systemd that does not read must not stop us.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

fn monotonic_micros() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec at the pointer, which lives until the call returns.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_names_reach_their_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("backendai-test-{}", std::process::id());
        let abstractly = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (reader, name) in [(by_path, path.to_str().unwrap().to_owned()), (abstractly, format!("@{name}"))] {
            let notify = Notify { socket: Some(open(name.as_bytes()).unwrap()), watchdog: None };
            notify.ready("2 workers");
            let mut buffer = [0; 64];
            let length = reader.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1\nSTATUS=2 workers");
        }
    }

    #[test]
    fn the_watchdog_is_fed_twice_as_often_as_it_wants() {
        let notify = Notify { socket: None, watchdog: Some(Duration::from_secs(10)) };
        assert_eq!(notify.interval(), Some(Duration::from_secs(5)));
        assert_eq!(Notify::default().interval(), None);
        assert!(monotonic_micros() > 0);
    }
}
