//! Writing multipart/mixed.

use bytes::Bytes;
use http::HeaderValue;

use super::Boundary;

/// Writes what stands around the parts; their bytes go between, untouched. For each part: [`MixedWriter::head`], the
/// bytes, [`MixedWriter::PART_END`]; at the end [`MixedWriter::end`].
#[derive(Clone, Debug)]
pub struct MixedWriter {
    boundary: Boundary,
}

// === impl MixedWriter ===

impl MixedWriter {
    /// What follows the bytes of each part.
    pub const PART_END: Bytes = Bytes::from_static(b"\r\n");

    /// With a boundary that no part has in it.
    #[must_use]
    pub fn new(boundary: Boundary) -> MixedWriter {
        MixedWriter { boundary }
    }

    /// The content type of the whole.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/mixed; boundary=\"{}\"", self.boundary);
        // A boundary has visible characters and blanks only.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("multipart/mixed"))
    }

    /// What stands before the bytes of a part. A header with a line's end in it is left out.
    #[must_use]
    pub fn head(&self, headers: &[(&str, &str)]) -> Bytes {
        let mut head = format!("--{}\r\n", self.boundary);
        for (name, value) in headers {
            if !name.contains(['\r', '\n']) && !value.contains(['\r', '\n']) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("\r\n");
        head.into()
    }

    /// What stands behind the last part.
    #[must_use]
    pub fn end(&self) -> Bytes {
        format!("--{}--\r\n", self.boundary).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::multipart::{Event, Reader, attachment};

    #[test]
    fn what_is_written_can_be_read() {
        let writer = MixedWriter::new(Boundary::random(42));
        let mut body = Vec::new();
        for (name, content) in [("a/b", &b"one\r\n--"[..]), ("c", b"")] {
            let headers = [("Content-Disposition", attachment(name)), ("X-Evil", "a\r\nb: c".into())];
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            body.extend_from_slice(&writer.head(&headers));
            body.extend_from_slice(content);
            body.extend_from_slice(&MixedWriter::PART_END);
        }
        body.extend_from_slice(&writer.end());
        let content_type = writer.content_type();
        let boundary = Boundary::of(content_type.to_str().unwrap(), "multipart/mixed").unwrap();
        let mut reader = Reader::new(&boundary);
        reader.feed(&body);
        let mut seen = Vec::new();
        loop {
            match reader.next_event().unwrap() {
                Event::Part(head) => {
                    assert_eq!(head.headers.len(), 1);
                    seen.push((head.disposition.filename.unwrap(), Vec::new()));
                }
                Event::Data(bytes) => seen.last_mut().unwrap().1.extend_from_slice(&bytes),
                Event::PartEnd => {}
                Event::End => break,
                Event::NeedMore => panic!("all was fed"),
            }
        }
        assert_eq!(seen, [(b"a/b".to_vec(), b"one\r\n--".to_vec()), (b"c".to_vec(), vec![])]);
    }
}
