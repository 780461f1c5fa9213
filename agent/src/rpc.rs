//! The server of gateways' calls: a ROUTER for any number of connections, each with any number of
//! calls in flight.

use std::{io, rc::Rc, time::Duration};

use backendai::wire::{
    rpc::{Answer, Header, Request},
    zmtp::{Event, Limits, Message, Session, SocketType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::spawn_local,
};

use crate::{agent::Agent, exception, methods};

/// How long a peer may take to shake hands.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

type Frames = [Vec<u8>; 2];

/// Serves calls until the process ends.
pub async fn serve(agent: Rc<Agent>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let agent = agent.clone();
                spawn_local(async move {
                    if let Err(error) = connection(agent, stream).await {
                        tracing::debug!(%peer, %error, "a connection of calls ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors, most likely
            }
        }
    }
}

async fn connection(agent: Rc<Agent>, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(SocketType::Router, b"", Limits::RPC);
    tokio::time::timeout(HANDSHAKE_WITHIN, shake_hands(&mut session, &mut stream)).await??;
    let (answer, mut answers) = mpsc::unbounded_channel::<Frames>();
    loop {
        while let Some(event) = session.next_event().map_err(io::Error::other)? {
            if let Event::Message(message) = event {
                spawn_local(call(agent.clone(), message, answer.clone()));
            }
        }
        stream.write_all_buf(session.output()).await?;
        tokio::select! {
            read = stream.read_buf(session.input()) => if read? == 0 { return Ok(()) },
            Some(frames) = answers.recv() => session.send(&frames),
        }
    }
}

/// Exchanges greetings and READY.
pub async fn shake_hands(session: &mut Session, stream: &mut TcpStream) -> io::Result<()> {
    loop {
        stream.write_all_buf(session.output()).await?;
        if stream.read_buf(session.input()).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if session.next_event().map_err(io::Error::other)?.is_some() {
            return stream.write_all_buf(session.output()).await; // the first event is READY
        }
    }
}

async fn call(agent: Rc<Agent>, message: Message, answer: mpsc::UnboundedSender<Frames>) {
    let (id, result) = match Request::parse(&message) {
        Ok(request) => {
            let (id, method) = (request.header.id, request.method.clone());
            let result = methods::dispatch(agent, request).await;
            if let Err(error) = &result {
                tracing::info!(method, error = error.repr, "a call failed");
            }
            (id, result)
        }
        Err(error) => {
            let Some(header) = message.first().and_then(|frame| Header::parse(frame).ok()) else { return };
            (header.id, Err(exception::parameters(&error.to_string())))
        }
    };
    let _ = answer.send(Answer::frames(&own_header(id), result.as_ref())); // the peer may be gone
}

fn own_header(id: u32) -> Header {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time = now.map_or(0.0, |since| since.as_secs_f64());
    Header { pid: (std::process::id() & 0xffff) as u16, random: rand::random(), id, time }
}
