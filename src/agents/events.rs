//! The events port: agents push, we pull.
//!
//! Anyone who reaches the port can write to it, so each peer has a task of its own that no other waits
//! for, a bound on what it may make us hold, and a limit on silence; and only peers of the networks that
//! the operator named are heard at all.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use ipnet::IpNet;

use super::{Link, LinkError, keep_alive, seldom::Seldom};
use crate::{
    engine::{self, Listener, Stream},
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
    sink: F,
    on_refused: Seldom,
    on_broken: Seldom,
    on_unknown: Seldom,
    on_malformed: Seldom,
}

/// Takes events from the agents that connect to this listener, and gives each to `sink`, in the order
/// in which each agent sent them. Peers outside of the `allowed` networks are closed at once. Never ends.
pub async fn serve_events(listener: Listener, allowed: Vec<IpNet>, sink: impl Fn(event::Event) + 'static) {
    serve_events_counting(listener, allowed, Rc::default(), sink).await;
}

/// [`serve_events`], counting what comes in.
pub async fn serve_events_counting(
    listener: Listener,
    allowed: Vec<IpNet>,
    stats: Rc<EventStats>,
    sink: impl Fn(event::Event) + 'static,
) {
    let server = Rc::new(Server {
        stats,
        sink,
        on_refused: Seldom::default(),
        on_broken: Seldom::default(),
        on_unknown: Seldom::default(),
        on_malformed: Seldom::default(),
    });
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
}

// === impl Server ===

impl<F: Fn(event::Event) + 'static> Server<F> {
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
        let end = self.pull(stream, peer).await;
        peers.set(peers.get() - 1);
        if let Err(LinkError::Zmtp(error)) = end {
            count(&self.stats.broken, Counter::EventsMalformed);
            if let Some(count) = self.on_broken.happened(Instant::now()) {
                tracing::warn!(%peer, %error, count, "a peer of the events port was closed");
            }
        }
    }

    async fn pull(&self, stream: Stream, peer: SocketAddr) -> Result<(), LinkError> {
        keep_alive(&stream)?;
        let session = Session::new(SocketType::Pull, b"", Limits::EVENTS);
        let mut link = within(HANDSHAKE, Link::handshake(stream, session)).await?;
        let mut taken = 0u32;
        loop {
            if let Event::Message(frames) = within(SILENCE, link.next()).await? {
                self.on_event(event::Event::parse(&frames), peer);
            }
            taken = taken.wrapping_add(1);
            if taken.is_multiple_of(MESSAGES_A_TURN) {
                engine::yield_now().await;
            }
        }
    }

    fn on_event(&self, event: Result<event::Event, event::EventError>, peer: SocketAddr) {
        match event {
            Ok(event::Event { agent, kind: EventKind::Unknown(name) }) => {
                count(&self.stats.unknown, Counter::EventsIgnored);
                if let Some(count) = self.on_unknown.happened(Instant::now()) {
                    tracing::warn!(agent, name, count, "an unknown event was ignored");
                }
            }
            Ok(event) => {
                count(&self.stats.events, Counter::EventsHandled);
                (self.sink)(event);
            }
            Err(error) => {
                count(&self.stats.malformed, Counter::EventsMalformed);
                if let Some(count) = self.on_malformed.happened(Instant::now()) {
                    tracing::warn!(%peer, %error, count, "a malformed event was ignored");
                }
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
