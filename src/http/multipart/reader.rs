//! Reading multipart/form-data.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Boundary, Disposition};

/// Longest head of a part, and most headers in it.
const HEAD_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 16;

/// Takes bytes by [`Reader::feed`] and gives what they mean by [`Reader::next_event`].
#[derive(Debug)]
pub struct Reader {
    /// CR LF, two dashes, the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
    ended: bool,
}

/// What comes next in a body. A part is one `Part`, then `Data` any number of times, then `PartEnd`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A part begins.
    Part(PartHead),
    /// Bytes of the part.
    Data(Bytes),
    /// The part is whole.
    PartEnd,
    /// The last part was before this; what may follow is ignored.
    End,
    /// More bytes are needed.
    NeedMore,
}

/// What a part says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PartHead {
    /// Its name and file name.
    pub disposition: Disposition,
    /// All its headers.
    pub headers: HeaderMap,
}

/// Why a body is no multipart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ended before its last boundary.
    #[error("the multipart body ends in the middle")]
    Truncated,
    /// Behind a boundary is neither a line's end nor `--`.
    #[error("a boundary of the multipart body is not alone on its line")]
    Boundary,
    /// A part's head is too long, or has too many headers.
    #[error("the head of a part is over {HEAD_MAX} bytes or {HEADERS_MAX} headers")]
    HeadTooLarge,
    /// A part's head is not made of headers.
    #[error("the head of a part is malformed")]
    Head,
    /// A part is encoded, which RFC 7578 forbids.
    #[error("a part has a Content-Transfer-Encoding or Content-Encoding that is not understood")]
    Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Right behind a boundary.
    Delimited,
    Head,
    Data,
    End,
}

// === impl Reader ===

impl Reader {
    /// Of a body with that boundary.
    #[must_use]
    pub fn new(boundary: &Boundary) -> Reader {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first boundary may begin the body: as if a line had ended before it.
        Reader { delimiter, buffer: BytesMut::from("\r\n"), state: State::Preamble, ended: false }
    }

    /// Adds bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The body has no more bytes.
    pub fn end_of_body(&mut self) {
        self.ended = true;
    }

    /// What comes next.
    ///
    /// # Errors
    /// The body is malformed.
    pub fn next_event(&mut self) -> Result<Event, Malformed> {
        let event = self.advance()?;
        if event == Event::NeedMore && self.ended { Err(Malformed::Truncated) } else { Ok(event) }
    }

    fn advance(&mut self) -> Result<Event, Malformed> {
        loop {
            match self.state {
                State::End => return Ok(Event::End),
                State::Data => return Ok(self.data()),
                State::Preamble => {
                    let (before, found) = self.until_delimiter();
                    self.buffer.advance(before);
                    if !found {
                        return Ok(Event::NeedMore);
                    }
                    self.pass_delimiter();
                }
                State::Delimited => match self.delimited()? {
                    true => continue,
                    false => return Ok(Event::NeedMore),
                },
                State::Head => return self.head(),
            }
        }
    }

    fn data(&mut self) -> Event {
        match self.until_delimiter() {
            (0, true) => {
                self.pass_delimiter();
                Event::PartEnd
            }
            (0, false) => Event::NeedMore,
            (before, _) => Event::Data(self.buffer.split_to(before).freeze()),
        }
    }

    /// What stands behind a boundary: a line's end, or two dashes at the end of all. False: more is needed.
    fn delimited(&mut self) -> Result<bool, Malformed> {
        // Blanks may follow it (RFC 2046, 5.1.1), a few of them.
        let blanks = self.buffer.iter().take_while(|byte| b" \t".contains(byte)).count();
        match self.buffer.get(blanks..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                // The line's end stays: a head without headers is an empty line at once.
                self.buffer.advance(blanks);
                self.state = State::Head;
                Ok(true)
            }
            [b'-', b'-', ..] if blanks == 0 => {
                self.state = State::End;
                self.buffer.clear();
                Ok(true)
            }
            [] | [b'\r' | b'-'] if blanks < HEAD_MAX => Ok(false),
            _ => Err(Malformed::Boundary),
        }
    }

    fn head(&mut self) -> Result<Event, Malformed> {
        const END: &[u8] = b"\r\n\r\n";
        let window = self.buffer.get(..self.buffer.len().min(HEAD_MAX)).unwrap_or_default();
        let Some(end) = window.windows(END.len()).position(|it| it == END) else {
            return if window.len() < HEAD_MAX { Ok(Event::NeedMore) } else { Err(Malformed::HeadTooLarge) };
        };
        let head = self.buffer.split_to(end);
        self.buffer.advance(END.len());
        self.state = State::Data;
        let headers = headers(head.get(2..).unwrap_or_default())?;
        check_encoding(&headers)?;
        let disposition = headers.get(header::CONTENT_DISPOSITION).map(|it| Disposition::parse(it.as_bytes()));
        Ok(Event::Part(PartHead { disposition: disposition.unwrap_or_default(), headers }))
    }

    /// How many bytes come before the next delimiter or what may be the beginning of one; whether it is whole.
    fn until_delimiter(&self) -> (usize, bool) {
        let mut from = 0;
        while let Some(found) = self.buffer.get(from..).and_then(|it| it.iter().position(|&byte| byte == b'\r')) {
            let at = from + found;
            let rest = self.buffer.get(at..).unwrap_or_default();
            if rest.starts_with(&self.delimiter) {
                return (at, true);
            }
            if self.delimiter.starts_with(rest) {
                return (at, false);
            }
            from = at + 1;
        }
        (self.buffer.len(), false)
    }

    fn pass_delimiter(&mut self) {
        self.buffer.advance(self.delimiter.len());
        self.state = State::Delimited;
    }
}

fn headers(head: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::new();
    if head.is_empty() {
        return Ok(headers);
    }
    for line in head.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Malformed::Head)?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed::Head)?;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| Malformed::Head)?);
        if headers.len() > HEADERS_MAX {
            return Err(Malformed::HeadTooLarge);
        }
    }
    Ok(headers)
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Malformed> {
    let plain = |name: &str| {
        let values = headers.get_all(name).into_iter();
        values.map(HeaderValue::as_bytes).all(|it| {
            [&b"binary"[..], b"7bit", b"8bit", b"identity"].iter().any(|plain| it.eq_ignore_ascii_case(plain))
        })
    };
    let good = plain("content-transfer-encoding") && plain("content-encoding");
    good.then_some(()).ok_or(Malformed::Encoding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    type Parts = Vec<(String, Vec<u8>)>;

    /// Reads a body in pieces of a size; the parts by file name.
    fn read(body: &[u8], piece: usize) -> Result<Parts, Malformed> {
        let mut reader = Reader::new(&Boundary::of(TYPE, "multipart/form-data").unwrap());
        let (mut parts, mut pieces, mut open) = (Parts::new(), body.chunks(piece.max(1)), false);
        loop {
            match reader.next_event()? {
                Event::Part(head) => {
                    assert!(!open);
                    open = true;
                    let name = head.disposition.filename.unwrap_or_default();
                    parts.push((String::from_utf8(name).unwrap(), Vec::new()));
                }
                Event::Data(bytes) => {
                    assert!(open && !bytes.is_empty());
                    parts.last_mut().unwrap().1.extend_from_slice(&bytes);
                }
                Event::PartEnd => {
                    assert!(open);
                    open = false;
                }
                Event::End => {
                    assert!(!open);
                    return Ok(parts);
                }
                Event::NeedMore => match pieces.next() {
                    Some(bytes) => reader.feed(bytes),
                    None => reader.end_of_body(),
                },
            }
        }
    }

    fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, content) in parts {
            let head = format!(
                "--XX\r\nContent-Disposition: form-data; name=\"src\"; filename=\"{name}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--XX--\r\n");
        body
    }

    #[test]
    fn parts_are_the_same_whatever_the_pieces() {
        let tricky: &[(&str, &[u8])] = &[
            ("empty", b""),
            ("crlf", b"\r\n"),
            ("nearly", b"\r\n--X\r\n--XY\r\n-\r\r\n\r--XX"),
            ("dashes", b"--XX--\r\n--"),
            ("binary", &[0, 255, 13, 10, 45, 45]),
        ];
        let body = body(tricky);
        let expected: Parts = tricky.iter().map(|(name, it)| ((*name).to_owned(), it.to_vec())).collect();
        for piece in 1..body.len() + 1 {
            // `dashes` begins a line in the body only by its place right behind the head.
            assert_eq!(read(&body, piece).as_ref(), Ok(&expected), "pieces of {piece}");
        }
    }

    #[test]
    fn preamble_epilogue_blanks_and_parts_without_headers_are_taken() {
        let body = b"ignored\r\n--XX  \r\n\r\nno head\r\n--XX\t\r\ncontent-disposition:form-data;filename=b\r\n\r\n\r\n--XX--junk";
        let expected = vec![(String::new(), b"no head".to_vec()), ("b".to_owned(), Vec::new())];
        for piece in [1, 3, 1000] {
            assert_eq!(read(body, piece).as_ref(), Ok(&expected));
        }
        assert_eq!(read(b"--XX--", 100), Ok(vec![]));
    }

    #[test]
    fn what_is_malformed_is_told() {
        let whole = body(&[("a", b"content")]);
        for cut in 0..whole.len() - 4 {
            assert_eq!(read(&whole[..cut], 7), Err(Malformed::Truncated), "cut at {cut}");
        }
        let long = format!("--XX\r\nX-Long: {}", "x".repeat(HEAD_MAX));
        let many = format!("--XX\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        let table: [(&str, Malformed); 8] = [
            ("--XXjunk\r\n\r\n", Malformed::Boundary),
            ("--XX -- \r\n\r\n", Malformed::Boundary),
            ("--XX\r\nno colon\r\n\r\n--XX--", Malformed::Head),
            ("--XX\r\nbad name: x\r\n\r\n--XX--", Malformed::Head),
            ("--XX\r\na: b\x01\r\n\r\n--XX--", Malformed::Head),
            ("--XX\r\nContent-Transfer-Encoding: base64\r\n\r\n--XX--", Malformed::Encoding),
            (&long, Malformed::HeadTooLarge),
            (&many, Malformed::HeadTooLarge),
        ];
        for (body, expected) in table {
            assert_eq!(read(body.as_bytes(), 64), Err(expected), "{body:.40}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_was_written_is_read(
            contents in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\r\n-Xab".to_vec()), 0..60), 0..4),
            piece in 1usize..40,
        ) {
            let has = |it: &Vec<u8>| [&b"\r\n"[..], it].concat().windows(6).any(|w| w == b"\r\n--XX");
            prop_assume!(!contents.iter().any(has));
            let parts: Vec<(&str, &[u8])> = contents.iter().map(|it| ("f", it.as_slice())).collect();
            let expected: Parts = contents.iter().map(|it| ("f".to_owned(), it.clone())).collect();
            prop_assert_eq!(read(&body(&parts), piece), Ok(expected));
        }

        #[test]
        fn no_bytes_panic_and_none_are_invented(
            bytes in prop::collection::vec(prop::sample::select(b"\r\n-X: ;=\"a\0\xff".to_vec()), 0..200),
            piece in 1usize..20,
        ) {
            let body = [&b"--XX\r\n"[..], &bytes].concat();
            if let Ok(parts) = read(&body, piece) {
                prop_assert!(parts.iter().map(|(_, it)| it.len()).sum::<usize>() <= body.len());
            }
        }
    }
}
