//! ZMTP 3.0 with the NULL mechanism (RFC 23 of ZeroMQ), sans I/O.
//!
//! Agents and kernels speak ZeroMQ. No ZeroMQ crate runs without tokio's reactor, the protocol's
//! part in use is small, and the gateway needs bounds that libzmq does not set, so this is our own:
//! a [`Session`] is one side of one connection, fed with what arrived and asked for what to send.
//! What a socket pattern does beyond the wire (queues, fan-out, reconnecting) is its user's.
//!
//! Peers of later revisions (libzmq 4.2 and newer speak 3.1) step down to the 3.0 of our greeting,
//! yet may send `PING`; it is answered. Peers older than 3.0 are refused.

mod command;
mod frame;
mod greeting;
mod session;
mod socket;
mod subscriptions;

pub use command::Command;
pub use frame::{Decoder, Limits, Message, Unit, encode_command, encode_message};
pub use greeting::{GREETING_LEN, encode_greeting, parse_greeting};
pub use session::{Event, Session};
pub use socket::SocketType;
pub use subscriptions::Subscriptions;

/// Why a connection must be closed: its peer does not speak what we do, or went over a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZmtpError {
    /// The first bytes are no ZMTP signature.
    #[error("no ZMTP greeting")]
    Signature,
    /// The peer speaks only a revision before 3.0.
    #[error("the peer speaks ZMTP {0}, older than 3")]
    Version(u8),
    /// The peer wants another security mechanism than NULL.
    #[error("the peer's security mechanism is not NULL")]
    Mechanism,
    /// A frame's flags have reserved bits, or a command claims that more follows.
    #[error("a frame has the flags {0:#04x}")]
    Flags(u8),
    /// A frame is longer than [`Limits::frame`], in bytes.
    #[error("a frame of {0} bytes is over the limit")]
    FrameTooLong(u64),
    /// A message has more frames than [`Limits::frames`].
    #[error("a message has too many frames")]
    TooManyFrames,
    /// A message's frames together are longer than [`Limits::message`].
    #[error("a message is over the limit")]
    MessageTooLong,
    /// A command's body does not parse.
    #[error("a malformed command")]
    Command,
    /// Something else than READY came where READY must.
    #[error("the peer did not send READY")]
    NotReady,
    /// READY names no socket type, or one that we don't speak.
    #[error("the peer's socket type is unknown")]
    UnknownSocket,
    /// The two socket types do not go together.
    #[error("a {theirs} peer on our {ours} socket")]
    Incompatible {
        /// Our own type.
        ours: SocketType,
        /// What the peer said that it is.
        theirs: SocketType,
    },
    /// The peer sent the ERROR command, with this reason.
    #[error("the peer refused the connection: {0}")]
    Refused(String),
}
