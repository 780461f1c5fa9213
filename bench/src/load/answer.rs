//! Where an answer ends: just enough of HTTP/1.1 to count answers whole and see their status.

/// What was found at the front of the bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Bytes of head and body together.
    pub len: usize,
    /// Where the body begins.
    pub body: usize,
    /// Whether the server ends the connection after it.
    pub close: bool,
}

/// What came is no answer that we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The answer at the front, once it is whole; a body's length has to be given.
///
/// # Errors
/// What came is no such answer.
pub fn parse(bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX { Err(Malformed) } else { Ok(None) };
    };
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| Malformed)?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).ok_or(Malformed)?;
    let (mut length, mut close) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Malformed)?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().map_err(|_| Malformed)?);
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let body = end + 4;
    let len = match (length, status) {
        (Some(length), _) => body + length,
        (None, 101 | 204 | 304) => body,
        (None, _) => return Err(Malformed),
    };
    Ok((bytes.len() >= len).then_some(Answer { status, len, body, close }))
}

/// Longest head that is waited for, in bytes.
const HEAD_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: close\r\n\r\nabcHTTP/1.1 ";
        for cut in 0..bytes.len() - 9 {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
        }
        let whole = Answer { status: 200, len: bytes.len() - 9, body: bytes.len() - 12, close: true };
        assert_eq!(parse(bytes), Ok(Some(whole)));
    }

    #[test]
    fn what_has_no_length_is_refused_unless_it_has_no_body() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Malformed));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().len, 27);
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), Err(Malformed));
        assert_eq!(parse(&[b'a'; HEAD_MAX + 1]), Err(Malformed));
    }
}
