//! One side of one connection: greeting, READY, then traffic.
//!
//! Both sides send their greeting at once and READY as soon as the peer's greeting is good. The
//! user moves bytes: what arrived goes to [`Session::input`] (or [`Session::feed`]), events come
//! from [`Session::next_event`] until there is none, and whatever [`Session::output`] holds goes to
//! the peer. PING is answered here.
//!
//! ```
//! use backendai::wire::zmtp::{Event, Limits, Session, SocketType};
//!
//! let mut agent = Session::new(SocketType::Router, b"", Limits::RPC);
//! let mut gateway = Session::new(SocketType::Dealer, b"", Limits::RPC);
//! for _ in 0..2 {
//!     agent.feed(&gateway.output().split());
//!     while agent.next_event().unwrap().is_some() {}
//!     gateway.feed(&agent.output().split());
//!     while gateway.next_event().unwrap().is_some() {}
//! }
//! gateway.send(&["hello", "world"]);
//! agent.feed(&gateway.output().split());
//! assert_eq!(agent.next_event(), Ok(Some(Event::Message(vec!["hello".into(), "world".into()]))));
//! ```

use bytes::{Bytes, BytesMut};

use super::{
    Command, Decoder, GREETING_LEN, Limits, Message, SocketType, Unit, ZmtpError, command, encode_command,
    encode_greeting, encode_message, parse_greeting,
};

/// PINGs are left unanswered while this much waits to be sent, in bytes: a peer that sends but does
/// not read must not fill our memory with PONGs.
const PONG_ROOM: usize = 64 << 10;

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done; messages may be sent. Comes once, before any other.
    Ready {
        /// The peer's type, one that goes with ours.
        peer: SocketType,
        /// The peer's identity, often empty.
        identity: Bytes,
    },
    /// A message arrived.
    Message(Message),
    /// On a PUB socket: the peer wants messages that begin with this.
    Subscribe(Bytes),
    /// On a PUB socket: the peer takes a subscription back.
    Cancel(Bytes),
}

/// The state of one side of a connection.
#[derive(Debug)]
pub struct Session {
    socket: SocketType,
    identity: Bytes,
    stage: Stage,
    decoder: Decoder,
    output: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ready,
    Traffic,
}

// === impl Session ===

impl Session {
    /// A session at the start of a connection; its greeting waits in [`Session::output`].
    /// `identity` (at most 255 bytes) is told to the peer if `socket` is a dealer or a router.
    pub fn new(socket: SocketType, identity: &[u8], limits: Limits) -> Session {
        Session {
            socket,
            identity: Bytes::copy_from_slice(identity),
            stage: Stage::Greeting,
            decoder: Decoder::new(limits),
            output: BytesMut::from(encode_greeting().as_slice()),
        }
    }

    /// Whether the handshake is done.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Traffic
    }

    /// Where to append bytes that arrived, with room for a read already made.
    pub fn input(&mut self) -> &mut BytesMut {
        self.decoder.input()
    }

    /// Appends bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input().extend_from_slice(bytes);
    }

    /// What waits to be sent; take from its front what was sent.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Queues a message. To be called only once the session [`is_ready`](Session::is_ready).
    pub fn send<F: AsRef<[u8]>>(&mut self, frames: &[F]) {
        debug_assert!(self.is_ready(), "a message before the handshake is done");
        encode_message(&mut self.output, frames);
    }

    /// On a SUB socket: queues a subscription to messages that begin with `prefix`.
    pub fn subscribe(&mut self, prefix: &[u8]) {
        self.send(&[[&[1], prefix].concat()]);
    }

    /// The next event of the bytes fed so far, or `None` until more arrive. After an error the
    /// connection must be closed.
    pub fn next_event(&mut self) -> Result<Option<Event>, ZmtpError> {
        if self.stage == Stage::Greeting && !self.greet()? {
            return Ok(None);
        }
        while let Some(unit) = self.decoder.next_unit()? {
            let event = match (self.stage, unit) {
                (Stage::Traffic, Unit::Message(message)) => Some(self.on_message(message)),
                (Stage::Traffic, Unit::Command(body)) => self.on_command(Command::parse(body)?)?,
                (_, Unit::Command(body)) => Some(self.on_ready(Command::parse(body)?)?),
                (_, Unit::Message(_)) => return Err(ZmtpError::NotReady),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Takes the peer's greeting, and answers READY once it is whole.
    fn greet(&mut self) -> Result<bool, ZmtpError> {
        let input = self.decoder.buffered();
        let arrived = input.get(..GREETING_LEN).unwrap_or(input);
        if !parse_greeting(arrived)? {
            return Ok(false);
        }
        self.decoder.skip(GREETING_LEN);
        encode_command(&mut self.output, &command::ready(self.socket, &self.identity));
        self.stage = Stage::Ready;
        Ok(true)
    }

    fn on_ready(&mut self, command: Command) -> Result<Event, ZmtpError> {
        let (socket, identity) = match command {
            Command::Ready { socket, identity } => (socket, identity),
            Command::Error(reason) => return Err(ZmtpError::Refused(reason)),
            _ => return Err(ZmtpError::NotReady),
        };
        let peer = socket.ok_or(ZmtpError::UnknownSocket)?;
        if !self.socket.goes_with(peer) {
            return Err(ZmtpError::Incompatible { ours: self.socket, theirs: peer });
        }
        self.stage = Stage::Traffic;
        Ok(Event::Ready { peer, identity })
    }

    fn on_command(&mut self, command: Command) -> Result<Option<Event>, ZmtpError> {
        match command {
            Command::Ping(context) => self.pong(&context),
            Command::Error(reason) => return Err(ZmtpError::Refused(reason)),
            Command::Subscribe(prefix) if self.socket == SocketType::Pub => return Ok(Some(Event::Subscribe(prefix))),
            Command::Cancel(prefix) if self.socket == SocketType::Pub => return Ok(Some(Event::Cancel(prefix))),
            _ => {}
        }
        Ok(None)
    }

    fn pong(&mut self, context: &[u8]) {
        if self.output.len() < PONG_ROOM {
            encode_command(&mut self.output, &command::pong(context));
        }
    }

    /// On a PUB socket the only messages are subscriptions; others are handed on as they are.
    fn on_message(&self, message: Message) -> Event {
        match (self.socket, message.as_slice()) {
            (SocketType::Pub, [body]) => match body.first() {
                Some(1) => Event::Subscribe(body.slice(1..)),
                Some(0) => Event::Cancel(body.slice(1..)),
                _ => Event::Message(message),
            },
            _ => Event::Message(message),
        }
    }
}

#[cfg(test)]
mod tests;
