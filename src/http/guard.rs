//! Turns hyper's bare error answers into problem documents.
//!
//! hyper answers a request that it cannot parse (400, 414, 431) by itself, with a head and nothing else, and
//! offers no hook. No answer of ours with one of these codes has an empty body, so a head that ends what is
//! written, has such a code and says `content-length: 0` can only be hyper's; it is replaced on its way out. The
//! test is one comparison of four bytes for every other write.
//!
//! A body that is streamed may hold anything, a transcript of HTTP too, and so may a connection that speaks another
//! protocol: these pass unseen. hyper flushes only what it has written all of, so that a flush after such a body's end
//! says that the body is out. A request that cannot be parsed, comes right behind one whose answer is streamed, and is
//! there before that flush, gets hyper's bare answer.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Answer, Kind};
use crate::engine::{self, Sleep};

/// A stream with that replacement.
///
/// It begins with what was read of it before, and gives up where the client takes nothing for too long.
pub struct Guard<S> {
    inner: S,
    /// What was read before.
    first: Bytes,
    stall_time: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Sleep>,
    /// What stands in for hyper's answer, still to be written.
    replacement: Vec<u8>,
    gate: Gate,
    headers: CommonHeaders,
}

/// Headers that every answer of a service has, where nothing is known of the request.
pub type CommonHeaders = &'static [(&'static str, &'static str)];

/// Whether what is written is looked at, and all of it is out. One thread uses it; it is `Send` since hyper wants
/// connections to be.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    looked_at: AtomicU8,
    unwritten: AtomicBool,
}

/// What is looked at.
const HEADS: u8 = 0;
/// A body goes through.
const BODY: u8 = 1;
/// A body was given to hyper to its end, and may not be written yet.
const BODY_ENDS: u8 = 2;
/// The connection speaks another protocol, once the answer that says so is written.
const UPGRADING: u8 = 3;
/// It does.
const UPGRADED: u8 = 4;

/// A body that goes through, until this is dropped.
#[derive(Debug)]
pub struct Passing(Gate);

impl<S> Guard<S> {
    /// Wraps a stream.
    pub fn new(inner: S, first: Bytes, gate: Gate, stall_time: Duration, headers: CommonHeaders) -> Self {
        Guard { inner, first, stall_time, stalled: None, replacement: Vec::new(), gate, headers }
    }

    /// What is wrapped.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

// === impl Gate ===

impl Gate {
    /// Lets a body through unseen.
    pub fn open(&self) -> Passing {
        self.0.looked_at.store(BODY, Ordering::Relaxed);
        Passing(self.clone())
    }

    /// Lets everything through from now on, as slowly as it goes: whoever speaks that protocol knows who is there.
    pub fn leave_open(&self) {
        self.0.looked_at.store(UPGRADING, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.0.looked_at.load(Ordering::Relaxed) != HEADS
    }

    /// Whether all that hyper had to write is written.
    pub fn is_written(&self) -> bool {
        !self.0.unwritten.load(Ordering::Relaxed)
    }

    /// hyper has given all that it had to write.
    fn given(&self) {
        if self.0.looked_at.load(Ordering::Relaxed) == BODY_ENDS {
            self.0.looked_at.store(HEADS, Ordering::Relaxed);
        }
    }

    /// All of that is written.
    fn written(&self) {
        self.0.unwritten.store(false, Ordering::Relaxed);
        if self.0.looked_at.load(Ordering::Relaxed) == UPGRADING {
            self.0.looked_at.store(UPGRADED, Ordering::Relaxed);
        }
    }

    fn is_upgraded(&self) -> bool {
        self.0.looked_at.load(Ordering::Relaxed) == UPGRADED
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.0.looked_at.store(BODY_ENDS, Ordering::Relaxed);
    }
}

// === impl Guard ===

/// The whole response for a problem that hyper, or nobody, would answer; the connection closes after it.
pub fn last_words(kind: Kind, headers: CommonHeaders) -> Vec<u8> {
    let response = Answer::from(super::Problem::from(kind)).into_response();
    let mut text = format!("HTTP/1.1 {}\r\nserver: {}\r\nconnection: close\r\n", kind.status(), super::server::SERVER)
        .into_bytes();
    let own = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in headers.iter().map(|(name, value)| (*name, value.as_bytes())).chain(own) {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let document = super::Problem::from(kind).to_json().to_string();
    text.extend_from_slice(document.as_bytes());
    text
}

/// Where hyper's own error answer begins in what is to be written, and what it is about.
fn bare_error(written: &[u8]) -> Option<(usize, Kind)> {
    const STATUS_LINE: &[u8] = b"HTTP/1.1 ";
    if !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = written.windows(STATUS_LINE.len()).rposition(|window| window == STATUS_LINE)?;
    let head = written.get(start..)?;
    let kind = match head.get(STATUS_LINE.len()..STATUS_LINE.len() + 3)? {
        b"400" => Kind::BadRequest,
        b"414" => Kind::UriTooLong,
        b"431" => Kind::HeadersTooLarge,
        _ => return None,
    };
    let empty = b"\r\ncontent-length: 0\r\n";
    head.windows(empty.len()).any(|window| window == empty).then_some((start, kind))
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    fn poll_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.replacement.is_empty() {
            let count = ready!(self.poll_inner(cx, None))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.replacement.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes some of what is given, or of the replacement.
    fn poll_inner(&mut self, cx: &mut Context<'_>, given: Option<&[u8]>) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, given.unwrap_or(&self.replacement));
        self.timed(cx, written)
    }

    /// What came of some writing, unless nothing did for too long.
    fn timed<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
        } else if !self.gate.is_upgraded() {
            let limit = self.stalled.get_or_insert_with(|| engine::sleep(self.stall_time));
            ready!(Pin::new(limit).poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        buf.put_slice(&this.first.split_to(this.first.len().min(buf.remaining())));
        if this.first.is_empty() {
            this.first = Bytes::new(); // which lets go of the memory
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.gate.0.unwritten.store(true, Ordering::Relaxed);
        ready!(this.poll_replacement(cx))?;
        match if this.gate.is_open() { None } else { bare_error(buf) } {
            None => this.poll_inner(cx, Some(buf)),
            Some((start, kind)) => {
                this.replacement.extend_from_slice(buf.get(..start).unwrap_or_default());
                this.replacement.extend_from_slice(&last_words(kind, this.headers));
                Poll::Ready(Ok(buf.len()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.gate.given();
        ready!(this.poll_replacement(cx))?;
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        ready!(this.timed(cx, flushed))?;
        this.gate.written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_replacement(cx))?;
        let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.timed(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn hypers_own_answers_are_seen_also_behind_others() {
        assert_eq!(bare_error(BARE), Some((0, Kind::HeadersTooLarge)));
        let before = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let both = [&before[..], BARE].concat();
        assert_eq!(bare_error(&both), Some((before.len(), Kind::HeadersTooLarge)));
    }

    #[test]
    fn our_answers_pass() {
        for ours in [
            &b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\n\r\n\r\n\r\n",
            b"\r\n\r\n",
            &last_words(Kind::BadRequest, &[]),
        ] {
            assert_eq!(bare_error(ours), None);
        }
    }

    /// A client that takes so much and then nothing, over a stream that may keep what it cannot send, as TLS does.
    struct Takes {
        left: usize,
        keeps: bool,
    }

    impl AsyncWrite for Takes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = if self.keeps { buf.len() } else { buf.len().min(self.left) };
            self.left = self.left.saturating_sub(count);
            if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.left == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[test]
    fn who_takes_nothing_is_given_up_however_it_is_written_to_but_not_in_another_protocol() {
        for engine in [engine::Engine::IoUring, engine::Engine::Epoll] {
            let ends = engine::block_on(engine, || async {
                let stall = Duration::from_millis(5);
                let guard = |left, keeps, gate: &Gate| {
                    Guard::new(Takes { left, keeps }, Bytes::new(), gate.clone(), stall, &[])
                };
                let gate = Gate::default();
                let ends = [
                    guard(2, false, &gate).write_all(b"abc").await,
                    guard(2, true, &gate).write_all(b"abc").await,
                    guard(0, true, &gate).flush().await,
                    guard(0, true, &gate).shutdown().await,
                ];
                gate.leave_open();
                let before = guard(0, true, &gate).flush().await;
                guard(1, true, &gate).flush().await.unwrap();
                let after = engine::timeout(20 * stall, guard(0, true, &gate).flush()).await;
                assert!(after.is_none() && gate.is_written());
                (ends.map(|end| end.map_err(|error| error.kind())), before.is_err())
            });
            let late = Err(io::ErrorKind::TimedOut);
            assert_eq!(ends.unwrap(), ([late, Ok(()), late, late], true), "{engine}");
        }
    }
}
