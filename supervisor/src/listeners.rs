//! The listening sockets: one per slot and port, held by the supervisor.
//!
//! SO_REUSEPORT lets the kernel spread connections over the slots. A worker inherits its slot's, so the
//! connections that wait in a queue survive their worker's death or replacement. As the option would
//! also let a second gateway of the same user listen on the same ports and take half of the connections,
//! each port is first bound without it.

use std::{
    fs, io,
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use backendai::config::Gateway;
use socket2::{Domain, Protocol, Socket, Type};

use crate::preflight::Problem;

/// Connections that may wait for a worker, on each listener; the kernel's `net.core.somaxconn` may allow fewer.
const BACKLOG: i32 = 4096;

/// A slot's listeners.
#[derive(Debug)]
pub struct SlotListeners {
    /// The API.
    pub api: OwnedFd,
    /// Agents' events.
    pub events: OwnedFd,
    /// The operator routes.
    pub admin: OwnedFd,
}

/// Where a gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The API.
    pub api: SocketAddr,
    /// Agents' events.
    pub events: SocketAddr,
    /// The operator routes.
    pub admin: SocketAddr,
}

// === impl Addresses ===

impl Addresses {
    /// As the options have it.
    pub fn of(config: &Gateway) -> Self {
        Addresses { api: config.service_addr(), events: config.events_addr(), admin: config.admin_addr() }
    }

    /// What is in the way of listening there.
    pub fn problems(&self) -> Vec<Problem> {
        let named = [("--service-port", self.api), ("--events-port", self.events), ("--admin-port", self.admin)];
        named.into_iter().filter_map(|(option, address)| problem(option, address)).collect()
    }

    /// Listeners for one more slot.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    pub fn listen(&self) -> io::Result<SlotListeners> {
        Ok(SlotListeners { api: listen(self.api)?, events: listen(self.events)?, admin: listen(self.admin)? })
    }
}

// === impl SlotListeners ===

impl SlotListeners {
    /// The descriptors: API, events, operator routes.
    pub fn all(&self) -> [BorrowedFd<'_>; 3] {
        [self.api.as_fd(), self.events.as_fd(), self.admin.as_fd()]
    }
}

fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = bound(address, true)?;
    // Accepted sockets inherit it, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` takes IPv4 as well, whatever the machine's default.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn problem(option: &str, address: SocketAddr) -> Option<Problem> {
    let error = bound(address, false).err()?;
    let (what, mend) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder(address.port()).map_or(String::new(), |holder| format!(" by {holder}"));
            (format!("port {} is in use{holder}", address.port()), format!("end that, or choose another {option}"))
        }
        io::ErrorKind::PermissionDenied => (
            format!("port {} may not be used by this user", address.port()),
            format!("choose a {option} above 1023, or grant CAP_NET_BIND_SERVICE"),
        ),
        io::ErrorKind::AddrNotAvailable => {
            (format!("{} is no address of this machine", address.ip()), "give an address that `ip addr` lists".into())
        }
        _ => (format!("{address} cannot be bound: {error}"), format!("choose another {option}")),
    };
    Some(Problem { what, mend })
}

/// Who listens on the port, as `name (pid 12)`, if this user may know: /proc/net/tcp names the socket's
/// inode, and a process has it open.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| inodes(table, port)).collect();
    let mut processes = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    processes.find_map(|pid| {
        pid.parse::<u32>().ok()?;
        let mut open =
            fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let has = open.any(|link| inodes.iter().any(|inode| link.to_str() == Some(inode)));
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|_| has)?;
        Some(format!("{} (pid {pid})", name.trim_end()))
    })
}

/// `socket:[inode]` of the sockets that listen (state 0A) on the port, from a table of proc(5).
fn inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let listens = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (local.ends_with(&suffix) && *state == "0A").then(|| format!("socket:[{inode}]"))
    };
    fs::read_to_string(table).unwrap_or_default().lines().filter_map(listens).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_its_holder() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let problem = problem("--admin-port", other.local_addr().unwrap()).unwrap();
        assert!(problem.what.contains(&format!("port {port} is in use by")), "{}", problem.what);
        assert!(problem.what.contains(&format!("(pid {})", std::process::id())), "{}", problem.what);
        assert!(problem.mend.contains("--admin-port"));
    }

    #[test]
    fn another_gateway_of_the_same_user_is_noticed_too() {
        let free: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _first = listen(free).unwrap();
        let _second = listen(free).unwrap();
        assert!(problem("--service-port", free).is_some());
    }

    #[test]
    fn a_foreign_address_is_no_address_of_ours() {
        let problem = problem("--service-port", "192.0.2.1:8080".parse().unwrap()).unwrap();
        assert!(problem.what.contains("192.0.2.1 is no address"), "{}", problem.what);
    }
}
