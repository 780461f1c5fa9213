//! Frames: flags, a length of 1 or 8 bytes, a body. A message is frames of which all but the last
//! say that more follow.
//!
//! The decoder owns one buffer, into which its user reads; frames are cut out of it without a copy.
//! It never sets aside memory for what a header merely announces, so a peer pays for what it makes
//! us hold.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::ZmtpError;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What is read at once when nothing is known to be missing, in bytes.
const READ_LEAST: usize = 4 << 10;
/// What is read at once for a frame that is known to be long, in bytes.
const READ_MOST: usize = 256 << 10;
/// Longest command. READY with an identity of 255 bytes and some metadata is well under it.
const COMMAND_MAX: u64 = 4 << 10;

/// The frames of a message, in order.
pub type Message = Vec<Bytes>;

/// How much a peer may make us hold. Over it, the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame, in bytes.
    pub frame: usize,
    /// Most frames in a message.
    pub frames: usize,
    /// Longest message, all its frames together, in bytes.
    pub message: usize,
}

/// What a decoder gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// All frames of a message.
    Message(Message),
    /// A command's body.
    Command(Bytes),
}

/// Cuts a stream of bytes into messages and commands.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    buffer: BytesMut,
    frames: Message,
    held: usize,
}

struct Header {
    flags: u8,
    len: usize,
    body: usize,
}

/// Appends a message to `out`. A message without frames is one empty frame: ZMTP has no other.
pub fn encode_message<F: AsRef<[u8]>>(out: &mut BytesMut, frames: &[F]) {
    match frames.split_last() {
        Some((last, before)) => {
            before.iter().for_each(|frame| encode_frame(out, MORE, frame.as_ref()));
            encode_frame(out, 0, last.as_ref());
        }
        None => encode_frame(out, 0, &[]),
    }
}

/// Appends a command to `out`; `body` begins with the command's name and its length.
pub fn encode_command(out: &mut BytesMut, body: &[u8]) {
    encode_frame(out, COMMAND, body);
}

fn encode_frame(out: &mut BytesMut, flags: u8, body: &[u8]) {
    out.reserve(9 + body.len());
    match u8::try_from(body.len()) {
        Ok(short) => {
            out.put_u8(flags);
            out.put_u8(short);
        }
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(body.len() as u64);
        }
    }
    out.put_slice(body);
}

// === impl Limits ===

impl Limits {
    /// For RPC: uploads and archives go through one frame of up to 64 MiB.
    pub const RPC: Limits = Limits { frame: 64 << 20, frames: 64, message: 65 << 20 };
    /// For events, which anyone who reaches the port can send: 4 MiB, enough for the statistics of
    /// thousands of kernels.
    pub const EVENTS: Limits = Limits { frame: 4 << 20, frames: 8, message: 4 << 20 };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::RPC
    }
}

// === impl Decoder ===

impl Decoder {
    /// A decoder at the start of a stream (after the greeting).
    pub fn new(limits: Limits) -> Decoder {
        Decoder { limits, buffer: BytesMut::new(), frames: Message::new(), held: 0 }
    }

    /// Where to append what arrived. It has room for a sensible read already.
    pub fn input(&mut self) -> &mut BytesMut {
        let missing = match parse_header(&self.buffer, self.limits) {
            Ok(Some(header)) => (header.body + header.len).saturating_sub(self.buffer.len()),
            _ => 0,
        };
        self.buffer.reserve(missing.clamp(READ_LEAST, READ_MOST));
        &mut self.buffer
    }

    /// What arrived and is not decoded yet.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Drops the next `len` bytes of [`Decoder::buffered`], or all if there are fewer.
    pub(super) fn skip(&mut self, len: usize) {
        self.buffer.advance(len.min(self.buffer.len()));
    }

    /// The next message or command that is whole, or `None` until more has arrived. After an error
    /// the stream means nothing any more.
    pub fn next_unit(&mut self) -> Result<Option<Unit>, ZmtpError> {
        while let Some(header) = parse_header(&self.buffer, self.limits)? {
            self.admit(&header)?;
            if self.buffer.len() < header.body + header.len {
                return Ok(None);
            }
            self.buffer.advance(header.body);
            let body = self.buffer.split_to(header.len).freeze();
            self.let_go(body.len());
            if header.flags & COMMAND != 0 {
                return Ok(Some(Unit::Command(body)));
            }
            self.held += body.len();
            self.frames.push(body);
            if header.flags & MORE == 0 {
                self.held = 0;
                return Ok(Some(Unit::Message(std::mem::take(&mut self.frames))));
            }
        }
        Ok(None)
    }

    /// After a long frame, starts a buffer of ordinary size again.
    fn let_go(&mut self, taken: usize) {
        if taken > READ_MOST && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Refuses a frame by its header, before its body arrives.
    fn admit(&self, header: &Header) -> Result<(), ZmtpError> {
        if header.flags & COMMAND != 0 {
            return Ok(());
        }
        if self.frames.len() >= self.limits.frames {
            return Err(ZmtpError::TooManyFrames);
        }
        if self.held + header.len > self.limits.message {
            return Err(ZmtpError::MessageTooLong);
        }
        Ok(())
    }
}

/// The header that `bytes` begin with, if it is whole.
fn parse_header(bytes: &[u8], limits: Limits) -> Result<Option<Header>, ZmtpError> {
    let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & (COMMAND | MORE) == COMMAND | MORE {
        return Err(ZmtpError::Flags(flags));
    }
    let (body, len) = if flags & LONG == 0 {
        match rest.first() {
            Some(&len) => (2, u64::from(len)),
            None => return Ok(None),
        }
    } else {
        match rest.first_chunk::<8>() {
            Some(len) => (9, u64::from_be_bytes(*len)),
            None => return Ok(None),
        }
    };
    let most = if flags & COMMAND == 0 { limits.frame as u64 } else { COMMAND_MAX };
    match usize::try_from(len) {
        Ok(len) if len as u64 <= most => Ok(Some(Header { flags, len, body })),
        _ => Err(ZmtpError::FrameTooLong(len)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SMALL: Limits = Limits { frame: 1000, frames: 4, message: 1500 };

    fn decode(limits: Limits, bytes: &[u8]) -> Result<Vec<Unit>, ZmtpError> {
        let mut decoder = Decoder::new(limits);
        decoder.input().extend_from_slice(bytes);
        let mut units = Vec::new();
        while let Some(unit) = decoder.next_unit()? {
            units.push(unit);
        }
        Ok(units)
    }

    #[test]
    fn lengths_take_one_byte_up_to_255_and_eight_beyond() {
        for (len, header) in [(0, 2), (255, 2), (256, 9), (70_000, 9)] {
            let mut out = BytesMut::new();
            encode_message(&mut out, &[vec![7; len]]);
            assert_eq!(out.len(), header + len);
            assert_eq!(decode(Limits::RPC, &out), Ok(vec![Unit::Message(vec![vec![7; len].into()])]));
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
        let mut header = vec![LONG];
        header.extend((65u64 << 20).to_be_bytes());
        assert_eq!(decode(Limits::RPC, &header), Err(ZmtpError::FrameTooLong(65 << 20)));
        assert_eq!(decode(Limits::RPC, &[2, 255, 255, 255, 255, 255, 255, 255, 255]), {
            Err(ZmtpError::FrameTooLong(u64::MAX))
        });
    }

    #[test]
    fn an_announced_frame_reserves_little() {
        let mut decoder = Decoder::new(Limits::RPC);
        decoder.input().extend_from_slice(&[LONG, 0, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(decoder.next_unit(), Ok(None));
        assert!(decoder.input().capacity() <= 2 * READ_MOST);
    }

    #[test]
    fn too_many_frames_and_too_long_messages_are_refused() {
        let mut out = BytesMut::new();
        encode_message(&mut out, &[b"x"; 5]);
        assert_eq!(decode(SMALL, &out), Err(ZmtpError::TooManyFrames));
        let mut out = BytesMut::new();
        encode_message(&mut out, &[vec![0; 800], vec![0; 800]]);
        assert_eq!(decode(SMALL, &out), Err(ZmtpError::MessageTooLong));
    }

    #[test]
    fn endless_frames_without_a_body_end_too() {
        let mut decoder = Decoder::new(Limits::RPC);
        decoder.input().extend_from_slice(&[MORE, 0].repeat(65));
        assert_eq!(decoder.next_unit(), Err(ZmtpError::TooManyFrames));
    }

    #[test]
    fn reserved_flags_and_unfinished_commands_are_refused() {
        for flags in [8, 0x80, COMMAND | MORE] {
            assert_eq!(decode(Limits::RPC, &[flags]), Err(ZmtpError::Flags(flags)));
        }
    }

    #[test]
    fn a_command_may_come_between_the_frames_of_a_message() {
        let bytes = [MORE, 1, b'a', COMMAND, 5, 4, b'P', b'O', b'N', b'G', 0, 1, b'b'];
        let units = decode(Limits::RPC, &bytes).unwrap();
        assert_eq!(units[0], Unit::Command(Bytes::from_static(b"\x04PONG")));
        assert_eq!(units[1], Unit::Message(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_split_of_the_stream_gives_the_same_messages(
            messages in vec(vec(vec(any::<u8>(), 0..300), 1..5), 0..6),
            cuts in vec(1usize..64, 1..32),
        ) {
            let mut stream = BytesMut::new();
            messages.iter().for_each(|message| encode_message(&mut stream, message));
            let mut decoder = Decoder::new(Limits::RPC);
            let (mut got, mut rest, mut cuts) = (Vec::new(), &stream[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                decoder.input().extend_from_slice(now);
                while let Some(unit) = decoder.next_unit().unwrap() {
                    got.push(unit);
                }
                rest = later;
            }
            let expected: Vec<_> = messages
                .into_iter()
                .map(|message| Unit::Message(message.into_iter().map(Bytes::from).collect()))
                .collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn garbage_never_panics(bytes in vec(any::<u8>(), 0..400)) {
            let _ = decode(SMALL, &bytes);
        }
    }
}
