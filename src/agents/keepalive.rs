//! Noticing that the machine at the other end is gone.
//!
//! An agent's machine that loses its power sends nothing, not even a reset: without this, calls would
//! go into a connection that is dead for the 15 minutes that TCP retransmits. An agent that is merely
//! busy is still answered for by its kernel, and keeps its connection.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

use crate::engine::Stream;

/// Silence before the first probe.
const PROBE_AFTER: Duration = Duration::from_secs(15);
/// Between probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer that end the connection.
const PROBES: u32 = 3;
/// Longest time that what was sent may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Ends the connection, with an error to whoever reads it, half a minute after its peer's machine or
/// the way there is gone.
///
/// # Errors
/// Those of setsockopt(2).
pub fn keep_alive(stream: &Stream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}
