//! An agent that does as its methods' names say.

use std::{cell::Cell, net::SocketAddr, os::fd::OwnedFd, rc::Rc};

use bytes::Bytes;
use rmpv::Value;
use tokio::io::AsyncWriteExt;

use super::{LONG, listening};
use crate::{
    agents::{Link, LinkError},
    engine::{self, Listener, Stream},
    wire::{
        rpc::{Answer, Header, RemoteError, Request},
        zmtp::{Event, Limits, Session, SocketType},
    },
};

/// A fake agent that listens.
pub struct Agent {
    /// Its address, as heartbeats tell it.
    pub addr: String,
    /// Connections that came, and those that are still there.
    pub came: Rc<Cell<u32>>,
    pub open: Rc<Cell<u32>>,
}

/// Starts an agent.
pub fn agent() -> Agent {
    let (fd, addr) = listening();
    agent_on(fd, addr)
}

pub fn agent_on(fd: OwnedFd, addr: SocketAddr) -> Agent {
    let agent = Agent { addr: format!("tcp://{addr}"), came: Rc::default(), open: Rc::default() };
    let (came, open) = (agent.came.clone(), agent.open.clone());
    let listener = Listener::from_fd(fd).unwrap();
    engine::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            came.set(came.get() + 1);
            open.set(open.get() + 1);
            let open = open.clone();
            engine::spawn(async move {
                let _ = serve(stream).await;
                open.set(open.get() - 1);
            });
        }
    });
    agent
}

/// Accepts and sends these bytes instead of a greeting.
pub fn stranger(greeting: &'static [u8]) -> String {
    let (fd, addr) = listening();
    let listener = Listener::from_fd(fd).unwrap();
    engine::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(greeting).await;
            streams.push(stream);
        }
    });
    format!("tcp://{addr}")
}

async fn serve(stream: Stream) -> Result<(), LinkError> {
    let mut link = Link::handshake(stream, Session::new(SocketType::Router, b"", Limits::RPC)).await?;
    let mut held: Vec<Request> = Vec::new();
    loop {
        let Event::Message(frames) = link.next().await? else { continue };
        let request = Request::parse(&frames).unwrap();
        let (header, args) = (request.header, request.args.clone());
        let argument = || args.first().cloned().unwrap_or(Value::Nil);
        match request.method.as_str() {
            "echo" => good(&mut link, &header, &argument()).await?,
            "twice" => {
                good(&mut link, &header, &argument()).await?;
                good(&mut link, &header, &"again".into()).await?;
            }
            "raise" => {
                let error = RemoteError::new("builtins.RuntimeError", args);
                link.send(&Answer::frames(&header, Err(&error))).await?;
            }
            // Kept until this many are there, then answered in the other order.
            "gather" => {
                held.push(request);
                if Some(held.len() as u64) == args[1].as_u64() {
                    while let Some(request) = held.pop() {
                        good(&mut link, &request.header, &request.args[0]).await?;
                    }
                }
            }
            "late" => held.push(request),
            "release" => {
                for request in held.drain(..) {
                    good(&mut link, &request.header, &"too late".into()).await?;
                }
                good(&mut link, &header, &Value::Nil).await?;
            }
            "garbage" => link.send(&[&answer_header(&header)[..], &[0xc1]]).await?,
            "pickle" => link.send(&[&answer_header(&header)[..], &[0xd4, 127, 0x80]]).await?,
            "nonsense" => {
                link.send(&[b"one frame"]).await?;
                link.send(&[&b"no header"[..], &[0xc0]]).await?;
                let unknown = Header { id: header.id.wrapping_add(1000), ..header };
                good(&mut link, &unknown, &"for nobody".into()).await?;
                good(&mut link, &header, &argument()).await?;
            }
            // A frame of 65 MiB, of which only the header is sent; then waits for the connection's end.
            "huge" => {
                link.session().output().extend_from_slice(&[2, 0, 0, 0, 0, 4, 0x10, 0, 0]);
                link.flush().await?;
            }
            "flags" => {
                link.session().output().extend_from_slice(&[0xff; 20]);
                link.flush().await?;
            }
            "close" => return Ok(()),
            "stop_reading" => engine::sleep(2 * LONG).await,
            // Never answered.
            _ => {}
        }
    }
}

async fn good(link: &mut Link<Stream>, header: &Header, value: &Value) -> Result<(), LinkError> {
    link.send(&Answer::frames(header, Ok(value))).await
}

fn answer_header(header: &Header) -> Bytes {
    [&header.to_bytes()[..], &[0]].concat().into()
}
