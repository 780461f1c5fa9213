//! The task that owns an agent's stream: connects when somebody calls, moves bytes, tries again after
//! a loss, and ends when nobody has called for long.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::{
    Link, LinkError,
    client::{Client, SEND_ROOM, State},
    keep_alive,
};
use crate::{
    engine::{self, Sleep, Stream},
    store::backoff::Backoff,
    telemetry::{self, Counter},
    wire::{
        rpc::Answer,
        zmtp::{Event, Limits, Session, SocketType},
    },
};

/// Reads of one turn, after which the other tasks of the worker have theirs.
const READS_A_TURN: usize = 16;
/// An output buffer that grew over this is given back once it is empty, in bytes.
const OUTPUT_KEPT: usize = 256 << 10;

/// Drives the client's connection until it has been unused for as long as its settings say.
pub(super) async fn drive(client: &Client) {
    let mut backoff = Backoff::new();
    while wanted(client).await {
        let trouble = match connect(client).await {
            Ok((stream, session)) => {
                client.state.borrow_mut().session = Some(session);
                client.changed.notify_waiters();
                let Some((trouble, answered)) = Traffic::new(client, stream).run().await else { return };
                if answered {
                    backoff.reset();
                }
                trouble
            }
            Err(trouble) => trouble.to_string(),
        };
        tracing::debug!(agent = %client.addr, %trouble, "no connection to an agent");
        client.state.borrow_mut().trouble = trouble;
        engine::sleep(backoff.next(rand::random())).await;
    }
}

/// Waits until a call wants the connection; `false` if none did for long.
async fn wanted(client: &Client) -> bool {
    loop {
        let left = client.state.borrow().idle_left(client.settings.idle, Instant::now());
        let Some(left) = left else { return false };
        let asked = poll_fn(|cx| {
            let mut state = client.state.borrow_mut();
            state.driver = Some(cx.waker().clone());
            if state.is_wanted() { Poll::Ready(()) } else { Poll::Pending }
        });
        if engine::timeout(left, asked).await.is_some() {
            return true;
        }
    }
}

async fn connect(client: &Client) -> Result<(Stream, Session), LinkError> {
    let attempt = async {
        let stream = Stream::connect_tcp(engine::resolve(&client.addr).await?).await?;
        keep_alive(&stream)?;
        let session = Session::new(SocketType::Dealer, b"", Limits::RPC);
        Ok(Link::handshake(stream, session).await?.into_parts())
    };
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time").into());
    engine::timeout(client.settings.handshake, attempt).await.unwrap_or_else(late)
}

/// A connection that is up. However it ends, those who wait for answers learn of it.
struct Traffic<'a> {
    client: &'a Client,
    stream: Stream,
    idle: Sleep,
    answered: bool,
}

// === impl Traffic ===

impl<'a> Traffic<'a> {
    fn new(client: &'a Client, stream: Stream) -> Traffic<'a> {
        telemetry::count(Counter::AgentConnections);
        Traffic { client, stream, idle: engine::sleep(client.settings.idle), answered: false }
    }

    /// Runs until the connection is lost, for the reason given with whether it ever brought an answer;
    /// `None` if it was closed because nobody used it.
    async fn run(mut self) -> Option<(String, bool)> {
        let end = poll_fn(|cx| self.poll(cx)).await;
        end.map(|error| (error.to_string(), self.answered))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<LinkError>> {
        if self.poll_idle(cx).is_ready() {
            return Poll::Ready(None);
        }
        let mut state = self.client.state.borrow_mut();
        state.driver = Some(cx.waker().clone());
        match self.poll_io(cx, &mut state) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Some(error)),
        }
    }

    /// Ready when the connection has been unused for long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.client.settings.idle;
        loop {
            ready!(Pin::new(&mut self.idle).poll(cx));
            match self.client.state.borrow().idle_left(idle, Instant::now()) {
                Some(left) => self.idle = engine::sleep(left),
                None => return Poll::Ready(()),
            }
        }
    }

    /// Moves bytes both ways until neither way has any.
    fn poll_io(&mut self, cx: &mut Context<'_>, state: &mut State) -> Result<(), LinkError> {
        for _ in 0..READS_A_TURN {
            let writable = self.poll_write(cx, state)?;
            if self.poll_read(cx, state)?.is_pending() {
                let State { session: Some(session), .. } = state else { return Ok(()) };
                // A PONG may have been queued by what was read.
                if session.output().is_empty() || !writable {
                    return Ok(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Writes what waits; `false` if the kernel takes no more.
    fn poll_write(&mut self, cx: &mut Context<'_>, state: &mut State) -> Result<bool, LinkError> {
        let State { session: Some(session), .. } = state else { return Ok(true) };
        let output = session.output();
        let queued = output.len();
        while !output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, output)? {
                Poll::Ready(0) => return Err(LinkError::Closed),
                Poll::Ready(count) => output.advance(count),
                Poll::Pending => break,
            }
        }
        if queued >= SEND_ROOM && output.len() < SEND_ROOM {
            self.client.changed.notify_waiters();
        }
        if queued > OUTPUT_KEPT && output.is_empty() {
            *output = BytesMut::new();
        }
        Ok(output.is_empty())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, state: &mut State) -> Result<Poll<()>, LinkError> {
        let State { session: Some(session), waiting, .. } = state else { return Ok(Poll::Pending) };
        let read = pin!(self.stream.read_buf(session.input())).poll(cx)?;
        match read {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(0) => return Err(LinkError::Closed),
            Poll::Ready(_) => {}
        }
        while let Some(event) = session.next_event()? {
            let Event::Message(frames) = event else { continue };
            match Answer::parse(&frames) {
                // Nobody waits for an answer that comes late or a second time.
                Ok(answer) => {
                    self.answered = true;
                    drop(waiting.remove(&answer.header.id).map(|caller| caller.send(answer)));
                }
                Err(error) => self.client.on_nonsense(&error),
            }
        }
        Ok(Poll::Ready(()))
    }
}

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        telemetry::sub(Counter::AgentConnections, 1);
        let mut state = self.client.state.borrow_mut();
        state.session = None;
        state.waiting.clear();
        self.client.changed.notify_waiters();
    }
}
