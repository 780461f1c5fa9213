//! The events port and peers of every kind.

use std::{cell::RefCell, rc::Rc};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    agents::{EventStats, Link, serve_events_counting},
    engine::{Listener, Stream},
    wire::{
        event::{Event, EventKind},
        zmtp::{Limits, Session, SocketType, encode_greeting},
    },
};

pub struct Port {
    pub addr: SocketAddr,
    pub stats: Rc<EventStats>,
    pub seen: Rc<RefCell<Vec<Event>>>,
}

/// Serves events from these networks, on this socket.
pub fn serve(fd: OwnedFd, addr: SocketAddr, allowed: &str) -> Port {
    let port = Port { addr, stats: Rc::default(), seen: Rc::default() };
    let seen = port.seen.clone();
    let listener = Listener::from_fd(fd).unwrap();
    let allowed = vec![allowed.parse().unwrap()];
    engine::spawn(serve_events_counting(listener, allowed, port.stats.clone(), move |event| {
        seen.borrow_mut().push(event);
    }));
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
        until("all events are there", || port.stats.events.get() == 2000).await;
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
        until("the good event is there", || port.stats.events.get() == 1).await;
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
