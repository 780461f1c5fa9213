//! Both engines do the same.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::HostPort;

const BOTH: [Engine; 2] = [Engine::IoUring, Engine::Epoll];

fn listening() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener.into(), addr)
}

#[test]
fn what_one_end_writes_the_other_reads() {
    for engine in BOTH {
        let (fd, addr) = listening();
        let answer = block_on(engine, move || async move {
            let listener = Listener::from_fd(fd).unwrap();
            spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut text = [0; 5];
                stream.read_exact(&mut text).await.unwrap();
                text.reverse();
                stream.write_all(&text).await.unwrap();
                stream.shutdown().await.unwrap();
            });
            let mut stream = Stream::connect_tcp(addr).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        assert_eq!(answer.unwrap(), "olleh", "{engine}");
    }
}

#[test]
fn connections_keep_little_unsent() {
    for engine in BOTH {
        let (fd, addr) = listening();
        let unsent = block_on(engine, move || async move {
            let listener = Listener::from_fd(fd).unwrap();
            let _client = std::net::TcpStream::connect(addr).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            socket2::SockRef::from(&stream).tcp_notsent_lowat().unwrap()
        });
        assert_eq!(unsent.unwrap(), 128 << 10, "{engine}");
    }
}

#[test]
fn a_connection_that_waits_can_be_taken_without_waiting() {
    for engine in BOTH {
        let (fd, addr) = listening();
        let peers = block_on(engine, move || async move {
            let listener = Listener::from_fd(fd).unwrap();
            assert!(listener.accept_waiting().unwrap().is_none());
            let client = std::net::TcpStream::connect(addr).unwrap();
            let accepted = timeout(Duration::from_secs(60), async {
                loop {
                    if let Some((_, peer)) = listener.accept_waiting().unwrap() {
                        return peer;
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            });
            (accepted.await, client.local_addr().unwrap())
        });
        let (accepted, client) = peers.unwrap();
        assert_eq!(accepted, Some(client), "{engine}");
    }
}

#[test]
fn a_time_out_ends_what_never_ends_and_not_what_is_done() {
    for engine in BOTH {
        let seen = block_on(engine, || async {
            let never = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
            let done = timeout(Duration::from_secs(60), async { 7 }).await;
            (never, done)
        });
        assert_eq!(seen.unwrap(), (None, Some(7)), "{engine}");
    }
}

#[test]
fn a_wake_from_another_thread_arrives() {
    for engine in BOTH {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || sender.send("woken"));
        assert_eq!(block_on(engine, || receiver).unwrap().unwrap(), "woken", "{engine}");
    }
}

#[test]
fn names_and_addresses_are_resolved() {
    for engine in BOTH {
        for host in ["localhost", "127.0.0.1"] {
            let addr = HostPort { host: host.into(), port: 80 };
            let found = block_on(engine, move || async move { resolve(&addr).await.unwrap() });
            assert!(found.unwrap().ip().is_loopback(), "{engine} {host}");
        }
    }
}

#[test]
fn a_choice_reads_as_it_is_written() {
    for choice in [EngineChoice::Auto, EngineChoice::IoUring, EngineChoice::Epoll] {
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    assert!("fast".parse::<EngineChoice>().is_err());
}
