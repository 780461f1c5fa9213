//! Free ports outside the range that the kernel hands to outgoing connections.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the ephemeral range (32768 to 60999), so that no outgoing connection takes one meanwhile.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A TCP port of 127.0.0.1 that nobody uses now, and that this process has not handed out shortly before.
/// Programs that run at once start looking at different places.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("FIRST + COUNT fits a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}
