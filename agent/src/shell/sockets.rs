//! The terminal's two ZeroMQ sockets: SUB for what is typed, PUB for what is shown.
//!
//! Both are bound here, and any number of gateways and clients connect. Typing waits where the
//! terminal takes no more; showing does not wait ([`super::hub`]).

use std::{io, rc::Rc, time::Duration};

use backendai::wire::zmtp::{Event, Limits, Session, SocketType, Subscriptions};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::spawn_local,
};

use super::hub::Hub;
use crate::rpc::shake_hands;

/// How long a peer may take to shake hands.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How long no connection is accepted after one could not be.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What may be typed, or rather pasted, at once.
const LIMITS: Limits = Limits { frame: 1 << 20, frames: 8, message: 1 << 20 };

/// Takes what peers type.
pub async fn serve_input(listener: TcpListener, terminal: mpsc::Sender<Bytes>) {
    serve(listener, |stream| take_input(stream, terminal.clone())).await;
}

/// Gives peers what the terminal shows.
pub async fn serve_output(listener: TcpListener, hub: Rc<Hub>) {
    serve(listener, |stream| give_output(stream, hub.clone())).await;
}

async fn serve<F>(listener: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(spawn_local(connection(stream))),
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await, // out of descriptors, most likely
        }
    }
}

async fn open(stream: &mut TcpStream, socket: SocketType) -> io::Result<Session> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(socket, b"", LIMITS);
    tokio::time::timeout(HANDSHAKE_WITHIN, shake_hands(&mut session, stream)).await??;
    Ok(session)
}

async fn take_input(mut stream: TcpStream, terminal: mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut session = open(&mut stream, SocketType::Sub).await?;
    session.subscribe(b"");
    loop {
        while let Some(event) = session.next_event().map_err(io::Error::other)? {
            let Event::Message(frames) = event else { continue };
            for piece in frames.into_iter().filter(|piece| !piece.is_empty()) {
                terminal.send(piece).await.map_err(io::Error::other)?;
            }
        }
        stream.write_all_buf(session.output()).await?;
        if stream.read_buf(session.input()).await? == 0 {
            return Ok(());
        }
    }
}

async fn give_output(mut stream: TcpStream, hub: Rc<Hub>) -> io::Result<()> {
    let mut session = open(&mut stream, SocketType::Pub).await?;
    let mut queue = hub.join().ok_or_else(|| io::Error::other("too many viewers"))?;
    let (mut wanted, mut out) = (Subscriptions::default(), BytesMut::new());
    let (mut read, mut write) = stream.split();
    loop {
        while let Some(event) = session.next_event().map_err(io::Error::other)? {
            match event {
                Event::Subscribe(prefix) => wanted.add(prefix),
                Event::Cancel(prefix) => wanted.cancel(&prefix),
                Event::Ready { .. } | Event::Message(_) => {}
            }
        }
        if out.is_empty() {
            out = session.output().split();
        }
        // Reading goes on while writing stalls: a peer that is slow still says what it wants.
        tokio::select! {
            size = read.read_buf(session.input()) => if size? == 0 { return Ok(()) },
            size = write.write_buf(&mut out), if !out.is_empty() => drop(size?),
            Some(piece) = queue.recv(), if out.is_empty() => {
                if wanted.wants(&piece) {
                    session.send(&[piece]);
                }
            }
        }
    }
}
