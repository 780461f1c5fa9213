//! The events port and peers of every kind.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures_lite::future::{or, ready};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    agents::{EventStats, Link, serve_events_counting},
    engine::{Listener, Stream},
    http::Drain,
    wire::{
        event::{Event, EventKind},
        zmtp::{Limits, Session, SocketType, encode_greeting},
    },
};

pub struct Port {
    pub addr: SocketAddr,
    pub stats: Rc<EventStats>,
    pub seen: Rc<RefCell<Vec<Event>>>,
    drain: Drain,
    ended: Rc<Cell<bool>>,
}

/// Serves events from these networks, on this socket.
pub fn serve(fd: OwnedFd, addr: SocketAddr, allowed: &str) -> Port {
    serve_slowly(fd, addr, allowed, || ready(()))
}

/// The same, where working an event out takes as long as that future.
fn serve_slowly<W: Future<Output = ()> + 'static>(
    fd: OwnedFd,
    addr: SocketAddr,
    allowed: &str,
    work: impl Fn() -> W + 'static,
) -> Port {
    let port = Port { addr, stats: Rc::default(), seen: Rc::default(), drain: Drain::new(), ended: Rc::default() };
    let (seen, ended) = (port.seen.clone(), port.ended.clone());
    let listener = Listener::from_fd(fd).unwrap();
    let allowed = vec![allowed.parse().unwrap()];
    let serving = serve_events_counting(listener, allowed, port.drain.clone(), port.stats.clone(), move |event| {
        let (seen, work) = (seen.clone(), work());
        async move {
            work.await;
            seen.borrow_mut().push(event);
        }
    });
    engine::spawn(async move {
        serving.await;
        ended.set(true);
    });
    port
}

fn port(allowed: &str) -> Port {
    let (fd, addr) = listening();
    serve(fd, addr, allowed)
}

async fn agent(port: &Port) -> Link<Stream> {
    let stream = Stream::connect_tcp(port.addr).await.unwrap();
    Link::handshake(stream, Session::new(SocketType::Push, b"", Limits::RPC)).await.unwrap()
}

fn creating(agent: &str, id: usize) -> Event {
    Event { agent: agent.into(), kind: EventKind::KernelCreating { id: id.to_string() } }
}

#[test]
fn each_agents_events_arrive_in_order() {
    on_both(|| async {
        let port = port("127.0.0.0/8");
        for name in ["i-1", "i-2"] {
            let mut link = agent(&port).await;
            engine::spawn(async move {
                for id in 0..1000 {
                    link.send(&creating(name, id).frames()).await.unwrap();
                }
                // Stays connected.
                let _ = link.next().await;
            });
        }
        until("all events are there", || port.seen.borrow().len() == 2000).await;
        for name in ["i-1", "i-2"] {
            let of_it: Vec<_> = port.seen.borrow().iter().filter(|event| event.agent == name).cloned().collect();
            assert!(of_it.into_iter().eq((0..1000).map(|id| creating(name, id))));
        }
        assert_eq!(port.stats.peers.get(), 2);
    });
}

#[test]
fn peers_of_other_networks_are_closed_at_once() {
    on_both(|| async {
        let port = port("10.0.0.0/8");
        let mut stream = Stream::connect_tcp(port.addr).await.unwrap();
        assert!(stream.read_u8().await.is_err());
        until("it is counted", || port.stats.refused.get() == 1).await;
        assert_eq!(port.stats.peers.get(), 0);
    });
}

#[test]
fn unknown_and_malformed_events_are_counted_and_the_next_are_heard() {
    on_both(|| async {
        let port = port("127.0.0.1/32");
        let mut link = agent(&port).await;
        link.send(&[&b"volume_mounted"[..], b"i-1", &[0x90]]).await.unwrap();
        link.send(&[&b"instance_started"[..], b"i-1", &[0xc1]]).await.unwrap();
        link.send(&[&b"instance_started"[..], b"i-1", &[0x91, 0xd4, 127, 0x80]]).await.unwrap();
        link.send(&[&b"instance_started"[..]]).await.unwrap();
        link.send(&creating("i-1", 7).frames()).await.unwrap();
        until("the good event is there", || port.seen.borrow().len() == 1).await;
        assert_eq!((port.stats.unknown.get(), port.stats.malformed.get()), (1, 3));
        assert_eq!(*port.seen.borrow(), [creating("i-1", 7)]);
    });
}

#[test]
fn peers_that_stall_hold_no_other() {
    on_both(|| async {
        let port = port("127.0.0.1/32");
        // One says nothing, one stops amid its greeting, one amid a message.
        let silent = Stream::connect_tcp(port.addr).await.unwrap();
        let mut half = Stream::connect_tcp(port.addr).await.unwrap();
        half.write_all(&encode_greeting()[..20]).await.unwrap();
        let mut amid = agent(&port).await;
        amid.session().output().extend_from_slice(b"\x01\x10instance");
        amid.flush().await.unwrap();
        until("all are connected", || port.stats.peers.get() == 3).await;
        agent(&port).await.send(&creating("i-1", 1).frames()).await.unwrap();
        until("the good event is there", || port.stats.events.get() == 1).await;
        drop((silent, half, amid));
        until("all are gone", || port.stats.peers.get() == 0).await;
    });
}

#[test]
fn peers_that_speak_something_else_or_too_much_are_closed() {
    on_both(|| async {
        let port = port("127.0.0.1/32");
        let mut http = Stream::connect_tcp(port.addr).await.unwrap();
        http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        until("the first is closed", || port.stats.broken.get() == 1).await;
        // 5 MiB are over the limit of an event.
        let mut much = agent(&port).await;
        much.session().output().extend_from_slice(&[2, 0, 0, 0, 0, 0, 0x50, 0, 0]);
        much.flush().await.unwrap();
        assert!(much.next().await.is_err());
        until("the second is closed", || port.stats.broken.get() == 2).await;
        // A dealer is no agent's event socket: our side closes, or theirs does first.
        let stream = Stream::connect_tcp(port.addr).await.unwrap();
        let dealer = Link::handshake(stream, Session::new(SocketType::Dealer, b"", Limits::RPC)).await;
        assert!(dealer.is_err());
        until("all are gone", || port.stats.peers.get() == 0).await;
    });
}

#[test]
fn a_drain_reads_what_peers_wrote_and_waits_until_it_is_worked_out() {
    on_both(|| async {
        let (fd, addr) = listening();
        let port = serve_slowly(fd, addr, "127.0.0.1/32", || engine::sleep(Duration::from_millis(30)));
        let mut link = agent(&port).await;
        let sent = Rc::new(Cell::new(0));
        let written = sent.clone();
        engine::spawn(async move {
            // As libzmq: it writes until it reads the end.
            let mut closed = false;
            while !closed {
                link.send(&creating("i-1", written.get()).frames()).await.unwrap();
                written.set(written.get() + 1);
                let told = async { link.next().await.is_err() };
                let goes_on = async {
                    engine::yield_now().await;
                    false
                };
                closed = or(told, goes_on).await;
            }
        });
        until("events flow", || port.stats.events.get() >= 300).await;
        port.drain.begin();
        until("the port is drained", || port.ended.get()).await;
        // Those that are worked on at the same time may end in any order.
        let id = |event: &Event| match &event.kind {
            EventKind::KernelCreating { id } => id.parse::<usize>().unwrap(),
            other => panic!("{other:?}"),
        };
        let mut ids: Vec<usize> = port.seen.borrow().iter().map(id).collect();
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(0..sent.get()), "{} of {}", ids.len(), sent.get());
    });
}

#[test]
fn a_peer_that_does_not_close_holds_a_drain_up_for_a_moment_only() {
    on_both(|| async {
        let port = port("127.0.0.1/32");
        let mut deaf = agent(&port).await;
        deaf.send(&creating("i-1", 1).frames()).await.unwrap();
        until("the event is there", || port.stats.events.get() == 1).await;
        port.drain.begin();
        until("the port is drained", || port.ended.get()).await;
    });
}

#[test]
fn a_peer_whose_events_are_not_worked_out_is_not_read_from() {
    on_both(|| async {
        let (fd, addr) = listening();
        let port = serve_slowly(fd, addr, "127.0.0.1/32", || engine::sleep(10 * LONG));
        let mut link = agent(&port).await;
        for id in 0..1000 {
            link.send(&creating("i-1", id).frames()).await.unwrap();
        }
        let mut other = agent(&port).await;
        other.send(&creating("i-2", 1).frames()).await.unwrap();
        // The 65th of the first peer waits for room, and the other's is taken all the same.
        until("all that may be are under way", || port.stats.events.get() == 66).await;
        assert!(port.seen.borrow().is_empty());
    });
}
