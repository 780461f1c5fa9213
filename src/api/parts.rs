//! The parts of a multipart body as they arrive.

use bytes::Bytes;
use http::header;

use super::Call;
use crate::http::{
    Kind, Problem, RequestBody,
    multipart::{Boundary, Event, PartHead, Reader},
};

/// A body's parts, one after the other.
pub struct Parts {
    reader: Reader,
    /// A body that was read because its signature covers it.
    whole: Bytes,
    body: RequestBody,
}

impl Parts {
    /// Those of a request's body, of at most `limit` bytes.
    ///
    /// # Errors
    /// 400: it is not multipart.
    pub fn of(call: &mut Call, limit: u64) -> Result<Self, Problem> {
        let wrong = || Kind::InvalidApiParams.because("the body is not multipart/form-data with a boundary");
        let content_type = call.request.header(header::CONTENT_TYPE).ok_or_else(wrong)?;
        // Clients of release 1.0 send multipart/mixed where they work asynchronously.
        let boundary = ["multipart/form-data", "multipart/mixed"]
            .iter()
            .find_map(|media_type| Boundary::of(content_type, media_type).ok())
            .ok_or_else(wrong)?;
        let body = call.request.take_body(limit);
        Ok(Parts { reader: Reader::new(&boundary), whole: std::mem::take(&mut call.body), body })
    }

    /// The head of the next part; `None` at the end.
    ///
    /// # Errors
    /// The body is malformed, too large, too slow, or broken off.
    pub async fn next(&mut self) -> Result<Option<PartHead>, Problem> {
        loop {
            match self.event().await? {
                Event::Part(head) => return Ok(Some(head)),
                Event::End => return Ok(None),
                Event::Data(_) | Event::PartEnd | Event::NeedMore => {}
            }
        }
    }

    /// The next bytes of the part that has begun; `None` at its end.
    ///
    /// # Errors
    /// As for [`Parts::next`].
    pub async fn data(&mut self) -> Result<Option<Bytes>, Problem> {
        match self.event().await? {
            Event::Data(bytes) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    /// What comes next, never that more is needed.
    async fn event(&mut self) -> Result<Event, Problem> {
        loop {
            let event = self.reader.next_event().map_err(|why| Kind::InvalidApiParams.because(why.to_string()))?;
            if event != Event::NeedMore {
                return Ok(event);
            }
            let more = match self.whole.is_empty() {
                true => self.body.next().await?,
                false => Some(std::mem::take(&mut self.whole)),
            };
            match more {
                Some(bytes) => self.reader.feed(&bytes),
                None => self.reader.end_of_body(),
            }
        }
    }
}
