//! The events port: agents push, we pull.
//!
//! Anyone who reaches the port can write to it, so each peer has a task of its own that no other waits
//! for, a bound on what it may make us hold, and a limit on silence; and only peers of the networks that
//! the operator named are heard at all.
//!
//! A worker that drains loses no event: it says to each peer that it sends nothing any more, which libzmq and our own
//! agent take for the end and connect anew, to a successor; what they wrote before that is read to its end.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_lite::future::or;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::{Link, LinkError, keep_alive, seldom::Seldom};
use crate::{
    engine::{self, Listener, Stream},
    http::Drain,
    telemetry::{self, Counter},
    wire::{
        event::{self, EventKind},
        zmtp::{Event, Limits, Session, SocketType},
    },
};

/// A peer that has not shaken hands by then is closed.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Agents say something every 3 s; a peer that was silent for so long is closed. A living one's libzmq
/// connects anew by itself.
const SILENCE: Duration = Duration::from_secs(120);
/// Messages of a peer after which the others have their turn.
const MESSAGES_A_TURN: u32 = 64;
/// Events of a peer that may be under way; beyond, the peer is not read from.
const UNDER_WAY: u32 = 64;
/// How long a peer may be silent without closing its end once it is told that nothing more is sent to it.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a worker that ends looks whether all peers are gone.
const SETTLE_POLL: Duration = Duration::from_millis(10);
/// Most peers at a time; a gateway's worker has descriptors for more.
const PEERS: u64 = 16_384;
/// Before accepting again after a failure, which is mostly a want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What came in on the events port, since the start.
#[derive(Debug, Default)]
pub struct EventStats {
    /// Peers that are connected now.
    pub peers: Cell<u64>,
    /// Connections closed at once: not of an allowed network, or too many.
    pub refused: Cell<u64>,
    /// Connections closed because the peer spoke no ZMTP, or went over a limit.
    pub broken: Cell<u64>,
    /// Events handed on.
    pub events: Cell<u64>,
    /// Events whose name is unknown; not handed on.
    pub unknown: Cell<u64>,
    /// Messages that are no event.
    pub malformed: Cell<u64>,
}

struct Server<F> {
    stats: Rc<EventStats>,
    drain: Drain,
    sink: F,
    on_refused: Seldom,
    on_broken: Seldom,
    on_unknown: Seldom,
    on_malformed: Seldom,
}

/// Takes events from the agents that connect to this listener, and gives each to `sink`, in the order
/// in which each agent sent them; at most [`UNDER_WAY`] of a peer are worked on at a time. Peers outside of the
/// `allowed` networks are closed at once. Ends when a drain has begun and the last event is worked on.
pub async fn serve_events<W>(
    listener: Listener,
    allowed: Vec<IpNet>,
    drain: Drain,
    sink: impl Fn(event::Event) -> W + 'static,
) where
    W: Future<Output = ()> + 'static,
{
    serve_events_counting(listener, allowed, drain, Rc::default(), sink).await;
}

/// [`serve_events`], counting what comes in.
pub async fn serve_events_counting<W>(
    listener: Listener,
    allowed: Vec<IpNet>,
    drain: Drain,
    stats: Rc<EventStats>,
    sink: impl Fn(event::Event) -> W + 'static,
) where
    W: Future<Output = ()> + 'static,
{
    let server = Rc::new(Server {
        stats,
        drain,
        sink,
        on_refused: Seldom::default(),
        on_broken: Seldom::default(),
        on_unknown: Seldom::default(),
        on_malformed: Seldom::default(),
    });
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) if server.admits(peer, &allowed) => {
                    engine::spawn(Rc::clone(&server).serve(stream, peer));
                }
                Ok((_, peer)) => server.refused(peer),
                Err(error) => {
                    tracing::warn!(%error, "an agent's connection could not be accepted");
                    engine::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    // One that the accept given up here takes with it has heard no greeting, so it has sent no event.
    or(server.drain.begun(), accepting).await;
    while server.stats.peers.get() > 0 {
        engine::sleep(SETTLE_POLL).await;
    }
}

// === impl Server ===

impl<F: Fn(event::Event) -> W + 'static, W: Future<Output = ()> + 'static> Server<F> {
    fn admits(&self, peer: SocketAddr, allowed: &[IpNet]) -> bool {
        self.stats.peers.get() < PEERS && is_allowed(peer.ip(), allowed)
    }

    fn refused(&self, peer: SocketAddr) {
        count(&self.stats.refused, Counter::EventsRefused);
        if let Some(count) = self.on_refused.happened(Instant::now()) {
            tracing::warn!(%peer, count, "a peer was refused on the events port");
        }
    }

    async fn serve(self: Rc<Self>, stream: Stream, peer: SocketAddr) {
        let peers = &self.stats.peers;
        peers.set(peers.get() + 1);
        let under_way = Arc::new(Semaphore::new(UNDER_WAY as usize));
        let end = self.pull(stream, peer, &under_way).await;
        if let Err(LinkError::Zmtp(error)) = end {
            count(&self.stats.broken, Counter::EventsMalformed);
            if let Some(count) = self.on_broken.happened(Instant::now()) {
                tracing::warn!(%peer, %error, count, "a peer of the events port was closed");
            }
        }
        // Fails only where the semaphore is closed, which nobody does.
        let _ = under_way.acquire_many(UNDER_WAY).await;
        peers.set(peers.get() - 1);
    }

    async fn pull(&self, stream: Stream, peer: SocketAddr, under_way: &Arc<Semaphore>) -> Result<(), LinkError> {
        keep_alive(&stream)?;
        let session = Session::new(SocketType::Pull, b"", Limits::EVENTS);
        let mut link = within(HANDSHAKE, Link::handshake(stream, session)).await?;
        let mut taken = 0u32;
        while !self.drain.has_begun() {
            let told = async {
                self.drain.begun().await;
                Ok(None)
            };
            let next = async { within(SILENCE, link.next()).await.map(Some) };
            match or(next, told).await? {
                None => break,
                Some(event) => self.take(event, peer, under_way).await,
            }
            taken = taken.wrapping_add(1);
            if taken.is_multiple_of(MESSAGES_A_TURN) {
                engine::yield_now().await;
            }
        }
        within(FAREWELL, link.finish()).await?;
        // The time that our own work takes is no fault of the peer's; the drain as a whole has its limit.
        loop {
            let event = within(FAREWELL, link.next()).await?;
            self.take(event, peer, under_way).await;
        }
    }

    /// Takes a message in, once there is room for one more event of this peer.
    async fn take(&self, message: Event, peer: SocketAddr, under_way: &Arc<Semaphore>) {
        let Event::Message(frames) = message else { return };
        let Some(event) = self.known(event::Event::parse(&frames), peer) else { return };
        // Fails only where the semaphore is closed, which nobody does.
        let Ok(permit) = Arc::clone(under_way).acquire_owned().await else { return };
        let work = (self.sink)(event);
        engine::spawn(async move {
            work.await;
            drop(permit);
        });
    }

    fn known(&self, event: Result<event::Event, event::EventError>, peer: SocketAddr) -> Option<event::Event> {
        match event {
            Ok(event::Event { agent, kind: EventKind::Unknown(name) }) => {
                count(&self.stats.unknown, Counter::EventsIgnored);
                if let Some(count) = self.on_unknown.happened(Instant::now()) {
                    tracing::warn!(agent, name, count, "an unknown event was ignored");
                }
                None
            }
            Ok(event) => {
                self.stats.events.set(self.stats.events.get() + 1);
                Some(event)
            }
            Err(error) => {
                count(&self.stats.malformed, Counter::EventsMalformed);
                if let Some(count) = self.on_malformed.happened(Instant::now()) {
                    tracing::warn!(%peer, %error, count, "a malformed event was ignored");
                }
                None
            }
        }
    }
}

/// IPv4 addresses that come mapped into IPv6 are what they stand for.
fn is_allowed(ip: IpAddr, allowed: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    allowed.iter().any(|network| network.contains(&ip))
}

async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
    engine::timeout(limit, step).await.unwrap_or_else(late)
}

fn count(what: &Cell<u64>, counter: Counter) {
    what.set(what.get() + 1);
    telemetry::count(counter);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_both_families_are_matched() {
        let allowed: Vec<IpNet> = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|net| net.parse().unwrap()).into();
        for (ip, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(is_allowed(ip.parse().unwrap(), &allowed), expected, "{ip}");
        }
        assert!(!is_allowed("10.1.2.3".parse().unwrap(), &[]));
    }
}
