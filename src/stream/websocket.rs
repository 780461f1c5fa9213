//! WebSocket: the handshake's checks, and one connection with bounds on what it holds.
//!
//! tungstenite does the framing. Its buffers are made small here (its own defaults are 128 KiB each, eagerly), a
//! message may be no longer than its route says, and one that is not taken by the client makes the sender wait.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{Sink, Stream};
use http::{HeaderMap, HeaderValue, Method, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::CapacityError,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    engine,
    http::{Answer, Kind, Problem},
};

/// What is read at once, and kept for reading, in bytes.
const READ_BUFFER: usize = 2 << 10;
/// What may wait to be written besides the message that is being sent, in bytes: answers to pings.
const WRITE_ROOM: usize = 64 << 10;
/// Between pings.
pub const PING_EVERY: Duration = Duration::from_secs(30);
/// A client that is waited for and says nothing, though it was pinged, is gone after this.
const SILENCE: Duration = Duration::from_secs(100);
/// Longest time for the last words to reach the client, and for its own.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Longest reason of a close frame, in bytes (RFC 6455, 5.5).
const REASON_MAX: usize = 123;

/// A WebSocket handshake that was checked.
#[derive(Debug)]
pub struct Handshake {
    accept: HeaderValue,
}

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is none: the client does not ask for a WebSocket.
    NotOne,
    /// It is one of another version than 13.
    Version,
    /// Its key is missing, or not 16 bytes in base64.
    Key,
}

/// A WebSocket connection, the server's end. One task at a time receives, and one sends.
pub struct Socket {
    stream: RefCell<WebSocketStream<TokioIo<Upgraded>>>,
    waiting_since: Cell<Option<Instant>>,
}

/// The end of a connection, as it is told to its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code: what programs switch on.
    pub code: Code,
    /// What people read.
    pub reason: Cow<'static, str>,
}

/// Close codes in use (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1000: what it was for has ended.
    Done,
    /// 1001: this worker ends; connect again.
    GoingAway,
    /// 1002: not WebSocket.
    Protocol,
    /// 1007: text that is not UTF-8.
    NotText,
    /// 1008: not allowed, or not offered.
    Policy,
    /// 1009: a message over the limit.
    TooLong,
    /// 1011: the agent or the kernel fails.
    Failed,
    /// 1013: try again later.
    TryLater,
}

/// What comes from a client.
#[derive(Debug)]
pub enum Received {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message, which no route takes.
    Binary,
    /// The end: its own, or with what is to be told of it.
    End(Option<Close>),
}

/// The client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

// === impl Handshake ===

impl Handshake {
    /// Checks a request that should be a handshake (RFC 6455, 4.2.1).
    ///
    /// # Errors
    /// It is none, or not one that can be accepted.
    pub fn check(method: &Method, headers: &HeaderMap) -> Result<Self, Refused> {
        let asked = has_token(headers, header::CONNECTION, "upgrade")
            && has_token(headers, header::UPGRADE, "websocket")
            && method == Method::GET;
        if !asked {
            return Err(Refused::NotOne);
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Refused::Version);
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Refused::Key)?;
        if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
            return Err(Refused::Key);
        }
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| Refused::Key)?;
        Ok(Handshake { accept })
    }

    /// The answer that accepts it.
    pub fn answer(self) -> Answer {
        let mut answer = Answer::switching(HeaderValue::from_static("websocket"));
        answer.set(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        answer
    }
}

/// Whether a header that is a list has an item, whatever its case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let mut items = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    items.any(|item| item.trim().eq_ignore_ascii_case(token))
}

impl Refused {
    /// The answer that says so.
    pub fn answer(self) -> Answer {
        let problem: Problem = match self {
            Refused::NotOne => Kind::UpgradeRequired.into(),
            Refused::Version => Kind::UpgradeRequired.because("of version 13"),
            Refused::Key => Kind::BadRequest.because("Sec-WebSocket-Key is not 16 bytes in base64"),
        };
        let upgrade = problem.kind() == Kind::UpgradeRequired;
        let mut answer = Answer::from(problem);
        if upgrade {
            answer.set(header::UPGRADE, HeaderValue::from_static("websocket"));
            answer.set(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        answer
    }
}

// === impl Socket ===

impl Socket {
    /// Takes the connection over once the 101 is sent; `longest` bounds a client's message, in bytes, and `largest`
    /// ours.
    ///
    /// # Errors
    /// The client was gone before.
    pub async fn open(upgrade: OnUpgrade, longest: usize, largest: usize) -> Result<Self, Gone> {
        let io = TokioIo::new(upgrade.await.map_err(|_| Gone)?);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(largest.saturating_add(WRITE_ROOM))
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Ok(Socket { stream: RefCell::new(stream), waiting_since: Cell::new(None) })
    }

    /// The next message. May be dropped and called again.
    pub async fn receive(&self) -> Received {
        self.waiting_since.set(Some(Instant::now()));
        let received = poll_fn(|cx| self.poll_receive(cx)).await;
        self.waiting_since.set(None);
        received
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            let next = ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_next(cx));
            return Poll::Ready(match next {
                Some(Ok(Message::Text(text))) => Received::Text(text),
                Some(Ok(Message::Binary(_))) => Received::Binary,
                // Pings are answered, and closes acknowledged, by tungstenite, when it is asked for the next.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {
                    self.waiting_since.set(Some(Instant::now()));
                    continue;
                }
                None => Received::End(None),
                Some(Err(error)) => Received::End(told(&error)),
            });
        }
    }

    /// Sends a text, and waits until the kernel has all of it. If this is dropped, what is left goes first with the
    /// next.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn send(&self, text: String) -> Result<(), Gone> {
        self.put(Message::Text(text.into())).await
    }

    /// Asks the client whether it is there.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn ping(&self) -> Result<(), Gone> {
        self.put(Message::Ping(bytes::Bytes::new())).await
    }

    async fn put(&self, message: Message) -> Result<(), Gone> {
        poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_ready(cx)).await.map_err(|_| Gone)?;
        Pin::new(&mut *self.stream.borrow_mut()).start_send(message).map_err(|_| Gone)?;
        poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)).await.map_err(|_| Gone)
    }

    /// Waits until the client has been silent for so long that it must be gone. While nobody receives, it is not its
    /// fault.
    pub async fn is_silent(&self) {
        loop {
            let waited = self.waiting_since.get().map_or(Duration::ZERO, |since| since.elapsed());
            match SILENCE.checked_sub(waited) {
                Some(left) if !left.is_zero() => engine::sleep(left).await,
                _ => return,
            }
        }
    }

    /// Says why it ends, and waits a little for the client to hear it; without a reason, it only sends what is
    /// left to be sent, such as the answer to the client's own close.
    pub async fn close(self, close: Option<Close>) {
        let parting = async {
            match close {
                Some(close) => self.say(close).await?,
                None => {
                    poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)).await.map_err(|_| Gone)?
                }
            }
            self.hear_out().await
        };
        engine::timeout(CLOSE_TIME, parting).await;
    }

    async fn say(&self, close: Close) -> Result<(), Gone> {
        let frame = CloseFrame { code: close.code.into(), reason: close.short_reason().into() };
        self.put(Message::Close(Some(frame))).await?;
        while !matches!(self.receive().await, Received::End(_)) {}
        Ok(())
    }

    /// Reads what is still on its way, to its end: closing over it would reset the connection, and the client would
    /// not read our last words.
    async fn hear_out(self) -> Result<(), Gone> {
        let mut stream = self.stream.into_inner();
        let io = stream.get_mut();
        io.shutdown().await.map_err(|_| Gone)?;
        let mut scratch = [0; 2048];
        while io.read(&mut scratch).await.map_err(|_| Gone)? > 0 {}
        Ok(())
    }
}

/// What a client is told of its own mistake; nothing if it is not there to hear.
fn told(error: &Error) -> Option<Close> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            Some(Close::new(Code::TooLong, format!("a message may have {max_size} bytes")))
        }
        Error::Capacity(_) => Some(Close::new(Code::TooLong, "a message is too long")),
        Error::Utf8(_) => Some(Close::new(Code::NotText, "a text is not UTF-8")),
        Error::Protocol(error) => Some(Close::new(Code::Protocol, error.to_string())),
        _ => None,
    }
}

// === impl Close ===

impl Close {
    /// With a reason for people.
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Close { code, reason: reason.into() }
    }

    fn short_reason(&self) -> &str {
        let end = (0..=self.reason.len().min(REASON_MAX)).rev().find(|end| self.reason.is_char_boundary(*end));
        self.reason.get(..end.unwrap_or(0)).unwrap_or_default()
    }
}

impl From<Code> for CloseCode {
    fn from(code: Code) -> CloseCode {
        match code {
            Code::Done => CloseCode::Normal,
            Code::GoingAway => CloseCode::Away,
            Code::Protocol => CloseCode::Protocol,
            Code::NotText => CloseCode::Invalid,
            Code::Policy => CloseCode::Policy,
            Code::TooLong => CloseCode::Size,
            Code::Failed => CloseCode::Error,
            Code::TryLater => CloseCode::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The example of RFC 6455, 1.3, and what is changed of it.
    fn check(changed: &[(&'static str, &str)]) -> Result<String, Refused> {
        let mut all = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        for (name, value) in headers(changed) {
            all.insert(name.unwrap(), value);
        }
        let handshake = Handshake::check(&Method::GET, &all)?;
        Ok(handshake.accept.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        assert_eq!(check(&[]).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn other_handshakes_are_refused() {
        assert_eq!(check(&[("connection", "keep-alive")]), Err(Refused::NotOne));
        assert_eq!(check(&[("connection", "notupgrade")]), Err(Refused::NotOne));
        assert_eq!(check(&[("upgrade", "h2c")]), Err(Refused::NotOne));
        assert_eq!(check(&[("sec-websocket-version", "8")]), Err(Refused::Version));
        assert_eq!(check(&[("sec-websocket-key", "dGhl")]), Err(Refused::Key));
        assert_eq!(check(&[("sec-websocket-key", "?")]), Err(Refused::Key));
        assert_eq!(Handshake::check(&Method::GET, &HeaderMap::new()).unwrap_err(), Refused::NotOne);
        assert_eq!(Refused::Version.answer().status(), 426);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn a_reason_fits_its_frame_and_stays_text(reason in ".{0,200}") {
            let close = Close::new(Code::Done, reason.clone());
            prop_assert!(close.short_reason().len() <= REASON_MAX && reason.starts_with(close.short_reason()));
            prop_assert!(reason.len() > REASON_MAX || close.short_reason() == reason);
        }
    }
}
