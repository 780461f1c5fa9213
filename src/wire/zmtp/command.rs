//! Commands: READY opens a session, PING keeps it, ERROR refuses it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{SocketType, ZmtpError};

/// A command that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The peer's side of the handshake.
    Ready {
        /// The `Socket-Type` property, if there is one that we know.
        socket: Option<SocketType>,
        /// The `Identity` property: empty if the peer leaves its naming to us.
        identity: Bytes,
    },
    /// The peer cannot go on, and says why.
    Error(String),
    /// To be answered by a PONG with the same context.
    Ping(Bytes),
    /// From this prefix on, messages are wanted (revision 3.1; in 3.0 it is a message).
    Subscribe(Bytes),
    /// Messages of this prefix are no longer wanted.
    Cancel(Bytes),
    /// PONG, or a name of a later revision: nothing to do.
    Other,
}

/// A PING carries its time to live (2 bytes), then a context of at most 16 bytes.
const PING_TTL: usize = 2;
const PING_CONTEXT: usize = 16;

// === impl Command ===

impl Command {
    /// Parses a command frame's body.
    pub fn parse(mut body: Bytes) -> Result<Command, ZmtpError> {
        let name = take_short(&mut body)?;
        match name.as_ref() {
            b"READY" => parse_ready(body),
            b"ERROR" => Ok(Command::Error(String::from_utf8_lossy(&take_short(&mut body)?).into_owned())),
            b"PING" => parse_ping(body),
            b"SUBSCRIBE" => Ok(Command::Subscribe(body)),
            b"CANCEL" => Ok(Command::Cancel(body)),
            _ => Ok(Command::Other),
        }
    }
}

/// The body of our READY.
pub(super) fn ready(socket: SocketType, identity: &[u8]) -> BytesMut {
    let mut body = BytesMut::with_capacity(64);
    put_name(&mut body, b"READY");
    put_property(&mut body, b"Socket-Type", socket.name().as_bytes());
    if socket.has_identity() {
        put_property(&mut body, b"Identity", identity);
    }
    body
}

/// The body of the PONG that answers a PING of this context.
pub(super) fn pong(context: &[u8]) -> BytesMut {
    let mut body = BytesMut::with_capacity(5 + context.len());
    put_name(&mut body, b"PONG");
    body.put_slice(context);
    body
}

fn put_name(out: &mut BytesMut, name: &[u8]) {
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put_slice(name);
}

fn put_property(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    put_name(out, name);
    out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.put_slice(value);
}

fn parse_ready(mut properties: Bytes) -> Result<Command, ZmtpError> {
    let (mut socket, mut identity) = (None, Bytes::new());
    while properties.has_remaining() {
        let name = take_short(&mut properties)?;
        let len = properties.try_get_u32().map_err(|_| ZmtpError::Command)?;
        let value = take(&mut properties, len as usize)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            socket = SocketType::from_name(&value);
        } else if name.eq_ignore_ascii_case(b"Identity") {
            identity = value;
        }
    }
    Ok(Command::Ready { socket, identity })
}

fn parse_ping(mut body: Bytes) -> Result<Command, ZmtpError> {
    take(&mut body, PING_TTL)?;
    if body.len() > PING_CONTEXT {
        return Err(ZmtpError::Command);
    }
    Ok(Command::Ping(body))
}

/// Takes a one-byte length and as many bytes.
fn take_short(from: &mut Bytes) -> Result<Bytes, ZmtpError> {
    let len = from.try_get_u8().map_err(|_| ZmtpError::Command)?;
    take(from, len.into())
}

fn take(from: &mut Bytes, len: usize) -> Result<Bytes, ZmtpError> {
    if from.len() < len {
        return Err(ZmtpError::Command);
    }
    Ok(from.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &'static [u8]) -> Result<Command, ZmtpError> {
        Command::parse(Bytes::from_static(body))
    }

    #[test]
    fn ready_goes_both_ways() {
        let identity = Bytes::from_static(b"me");
        let body = ready(SocketType::Dealer, &identity).freeze();
        assert_eq!(Command::parse(body), Ok(Command::Ready { socket: Some(SocketType::Dealer), identity }));
    }

    #[test]
    fn property_names_have_no_case_and_unknown_ones_are_skipped() {
        let body = b"\x05READY\x0bsocket-TYPE\0\0\0\x03SUB\x03X-y\0\0\0\x01z";
        let expected = Command::Ready { socket: Some(SocketType::Sub), identity: Bytes::new() };
        assert_eq!(parse(body), Ok(expected));
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        for body in [b"".as_slice(), b"\x05READ", b"\x05READY\x0bSocket", b"\x05READY\x01a\0\0\0\x02b", b"\x04PING\0"] {
            assert_eq!(parse(body), Err(ZmtpError::Command), "{body:?}");
        }
    }

    #[test]
    fn pings_keep_their_context_up_to_16_bytes() {
        assert_eq!(parse(b"\x04PING\0\x0aabc"), Ok(Command::Ping(Bytes::from_static(b"abc"))));
        assert_eq!(parse(b"\x04PING\0\x0a0123456789abcdefg"), Err(ZmtpError::Command));
        assert_eq!(&pong(b"abc")[..], b"\x04PONGabc");
    }

    #[test]
    fn later_commands_are_let_be() {
        assert_eq!(parse(b"\x04JOINgroup"), Ok(Command::Other));
        assert_eq!(parse(b"\x05ERROR\x02no"), Ok(Command::Error("no".into())));
    }
}
