//! Bodies that are not read, or written, in one piece.
//!
//! Both ways a bounded channel's worth of chunks is in memory and no more: a client that does not read stops the
//! producer, a handler that does not read stops the client.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::{
    Kind, Problem,
    guard::{Gate, Passing},
    unread::Unread,
};
use crate::engine;

/// Chunks of an answer that wait for a slow client.
const CHUNKS: usize = 4;
/// Longest time between two parts of a request's body.
const PART_TIME: Duration = Duration::from_secs(30);

/// An answer's body: bytes at hand, or what a producer sends.
pub enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// No bytes, of a 204: not at its end before it is asked, since hyper would then leave out the
    /// `Content-Length: 0` that clients of 2017 read.
    Nothing,
    /// Chunks as they come; an error breaks the answer off, so that the client sees that it is not whole.
    Chunks(Produced),
}

/// What a producer sends.
pub struct Produced {
    chunks: mpsc::Receiver<std::io::Result<Bytes>>,
    /// Lets it through where written answers are looked at.
    passing: Option<Passing>,
}

/// Where a producer puts an answer's chunks.
pub type Chunks = mpsc::Sender<std::io::Result<Bytes>>;

/// A body whose chunks are put into the sender; `send` fails once the client is gone.
pub fn chunks() -> (Chunks, AnswerBody) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    (sender, AnswerBody::Chunks(Produced { chunks: receiver, passing: None }))
}

/// A request's body, part by part.
pub struct RequestBody {
    body: Option<Unread>,
    left: u64,
    limit: u64,
}

impl RequestBody {
    /// At most `limit` bytes of a body.
    pub(super) fn new(body: Option<Unread>, limit: u64) -> Self {
        RequestBody { body, left: limit, limit }
    }

    /// The next part; `None` at its end.
    ///
    /// # Errors
    /// 413 if it is longer than its limit, 408 if a part takes too long, 400 if it is broken off or ill-framed.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while let Some(body) = self.body.as_mut().and_then(Unread::body) {
            let Some(frame) = engine::timeout(PART_TIME, body.frame()).await else {
                self.body = None;
                return Err(Kind::RequestTimeout.into());
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(|_| Kind::BadRequest.because("the body is broken"))?.into_data() else {
                continue;
            };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                self.body = None;
                return Err(Kind::BodyTooLarge.because(format!("at most {} bytes", self.limit)));
            };
            self.left = left;
            return Ok(Some(data));
        }
        self.body = None;
        Ok(None)
    }
}

// === impl AnswerBody ===

impl AnswerBody {
    /// Has it go through a gate, if its bytes are not ours.
    pub(super) fn pass(&mut self, gate: &Gate) {
        if let AnswerBody::Chunks(produced) = self {
            produced.passing = Some(gate.open());
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            AnswerBody::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            AnswerBody::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            AnswerBody::Nothing => Poll::Ready(None),
            AnswerBody::Chunks(produced) => {
                produced.chunks.poll_recv(cx).map(|chunk| chunk.map(|c| c.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, AnswerBody::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            AnswerBody::Nothing => SizeHint::with_exact(0),
            AnswerBody::Chunks(_) => SizeHint::default(),
        }
    }
}
