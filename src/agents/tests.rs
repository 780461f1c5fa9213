//! The gateway's end against agents of every kind: good ones, bad ones, and libzmq's. On both engines.

mod calls;
mod events;
mod fake;
mod libzmq;

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use crate::engine::{self, Engine};

/// Nothing here takes so long, unless it hangs.
const LONG: Duration = Duration::from_secs(20);
/// For what is never answered.
const SHORT: Duration = Duration::from_millis(200);

/// Runs a test's future on io_uring, then on epoll.
fn on_both<F: Future<Output = ()> + 'static>(test: impl Fn() -> F) {
    for engine in [Engine::IoUring, Engine::Epoll] {
        let ended = engine::block_on(engine, || {
            let test = test();
            async { engine::timeout(3 * LONG, test).await }
        });
        assert!(ended.unwrap().is_some(), "the test hangs on {engine}");
    }
}

/// A listening socket of a free port outside of those that the system gives to clients.
fn listening() -> (OwnedFd, SocketAddr) {
    let bound = std::iter::repeat_with(|| TcpListener::bind(("127.0.0.1", rand::random_range(20_000..32_000))));
    let listener = bound.take(1000).find_map(Result::ok).expect("a free port");
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener.into(), addr)
}

/// Waits until it is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < LONG, "{what}");
        engine::sleep(Duration::from_millis(5)).await;
    }
}
