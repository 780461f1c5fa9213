//! The 64 bytes with which each side of a connection begins.
//!
//! Signature (`ff`, 8 bytes of padding, `7f`), version, mechanism in 20 bytes, as-server, filler.
//! libzmq writes a length into the signature's padding for peers older than ZMTP 2, so only bytes
//! 0 and 9 mean anything.

use super::ZmtpError;

/// Length of a greeting, in bytes.
pub const GREETING_LEN: usize = 64;

const MECHANISM: [u8; 20] = *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Our greeting: ZMTP 3.0, NULL, not a server (with NULL both sides may say so).
pub fn encode_greeting() -> [u8; GREETING_LEN] {
    let mut greeting = [0; GREETING_LEN];
    let start = [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0].into_iter().chain(MECHANISM);
    greeting.iter_mut().zip(start).for_each(|(to, byte)| *to = byte);
    greeting
}

/// Checks as much of a peer's greeting as has arrived, so that a peer of another protocol is turned
/// away by its first bytes. `Ok(true)`: it is whole and good; `Ok(false)`: good so far.
pub fn parse_greeting(bytes: &[u8]) -> Result<bool, ZmtpError> {
    let wrong = |at: usize, good: fn(u8) -> bool| bytes.get(at).is_some_and(|&byte| !good(byte));
    if wrong(0, |byte| byte == 0xff) || wrong(9, |byte| byte & 1 == 1) {
        return Err(ZmtpError::Signature);
    }
    match bytes.get(10) {
        Some(&major) if major < 3 => return Err(ZmtpError::Version(major)),
        _ => {}
    }
    let theirs = bytes.get(12..).unwrap_or_default();
    if theirs.iter().zip(MECHANISM).any(|(&byte, ours)| byte != ours) {
        return Err(ZmtpError::Mechanism);
    }
    Ok(bytes.len() >= GREETING_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_good_at_every_length_and_whole_at_64() {
        let greeting = encode_greeting();
        for len in 0..=GREETING_LEN {
            assert_eq!(parse_greeting(&greeting[..len]), Ok(len == GREETING_LEN));
        }
    }

    #[test]
    fn other_protocols_are_turned_away_by_their_first_bytes() {
        assert_eq!(parse_greeting(b"GET / HTTP/1.1"), Err(ZmtpError::Signature));
        assert_eq!(parse_greeting(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(ZmtpError::Signature));
        assert_eq!(parse_greeting(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 1]), Err(ZmtpError::Version(1)));
    }

    #[test]
    fn another_mechanism_is_refused() {
        let mut greeting = encode_greeting();
        greeting[12..17].copy_from_slice(b"PLAIN");
        assert_eq!(parse_greeting(&greeting), Err(ZmtpError::Mechanism));
        let mut greeting = encode_greeting();
        greeting[16] = b'2';
        assert_eq!(parse_greeting(&greeting), Err(ZmtpError::Mechanism));
    }

    #[test]
    fn later_revisions_and_the_padding_of_libzmq_are_accepted() {
        let mut greeting = encode_greeting();
        greeting[8] = 1;
        greeting[11] = 1;
        greeting[32] = 1;
        assert_eq!(parse_greeting(&greeting), Ok(true));
    }
}
