//! A viewer's own connections to a kernel's terminal: PUB to where it reads, SUB to where it writes.
//!
//! Output is read only as fast as the viewer takes it: then TCP fills, and the kernel's publisher drops for this
//! viewer alone. Input waits for the kernel in the same way. The end that carries input reads nothing once it is set
//! up, so that an idle terminal keeps one read buffer and not two.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;

use crate::{
    agents::{Link, LinkError, keep_alive},
    config::HostPort,
    engine::{self, Stream},
    wire::zmtp::{Event, Limits, Session, SocketType, encode_message},
};

/// Longest time for both connections to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest time for the kernel to ask for input: one that does not hears none.
const SUBSCRIBE_TIME: Duration = Duration::from_secs(1);
/// A terminal's output comes in pieces of some KiB; longer ones than this are no terminal's.
const LIMITS: Limits = Limits { frame: 1 << 20, frames: 4, message: 1 << 20 };
/// A buffer that grew over this is given back once it is empty, in bytes.
const KEPT: usize = 4 << 10;

/// Where a kernel's terminal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Where it reads its input.
    pub input: HostPort,
    /// Where it writes its output.
    pub output: HostPort,
}

/// The way to a terminal.
pub struct Input {
    stream: Stream,
    buffer: BytesMut,
}

/// The way from a terminal.
pub struct Output {
    link: Link<Stream>,
}

/// Connects both ways.
///
/// # Errors
/// There is nobody, or somebody who is no terminal.
pub async fn connect(ports: &Ports) -> Result<(Input, Output), LinkError> {
    let both = async {
        let output = Output::connect(&ports.output).await?;
        Ok((Input::connect(&ports.input).await?, output))
    };
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time").into());
    engine::timeout(CONNECT_TIME, both).await.unwrap_or_else(late)
}

async fn link(to: &HostPort, socket: SocketType) -> Result<Link<Stream>, LinkError> {
    let stream = Stream::connect_tcp(engine::resolve(to).await?).await?;
    keep_alive(&stream)?;
    Link::handshake(stream, Session::new(socket, b"", LIMITS)).await
}

// === impl Input ===

impl Input {
    async fn connect(to: &HostPort) -> Result<Self, LinkError> {
        let mut link = link(to, SocketType::Pub).await?;
        let subscribed = async {
            loop {
                match link.next().await {
                    Ok(Event::Subscribe(_)) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
        };
        engine::timeout(SUBSCRIBE_TIME, subscribed).await.unwrap_or(Ok(()))?;
        let (stream, _) = link.into_parts();
        Ok(Input { stream, buffer: BytesMut::new() })
    }

    /// Sends some keys, and waits until the kernel's machine has them.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send(&mut self, keys: &[u8]) -> io::Result<()> {
        encode_message(&mut self.buffer, &[keys]);
        while self.buffer.has_remaining() {
            self.stream.write_buf(&mut self.buffer).await?;
        }
        if self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }
}

// === impl Output ===

impl Output {
    async fn connect(to: &HostPort) -> Result<Self, LinkError> {
        let mut link = link(to, SocketType::Sub).await?;
        link.session().subscribe(b"");
        link.flush().await?;
        Ok(Output { link })
    }

    /// The next piece. May be dropped and called again.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn next(&mut self) -> Result<Bytes, LinkError> {
        loop {
            if let Event::Message(mut frames) = self.link.next().await?
                && let Some(frame) = frames.pop()
            {
                return Ok(frame);
            }
        }
    }
}
