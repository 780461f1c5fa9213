//! What a client still sends of a body that nobody reads any more.
//!
//! A connection that is closed over bytes which nobody read is reset, and a client that is still sending then sees
//! a broken connection instead of the answer that refuses it. So whatever a handler leaves of a body is read, beside
//! the answer, by the connection's own task, and the connection can be used again afterwards. It is read for so long
//! and no longer: who sends more was told, and may see the connection break. A client that waits for `100 Continue`
//! has sent nothing, and is not asked to.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::engine;

/// Most bytes that are read of a body which nobody wants.
const MOST: u64 = 64 << 20;
/// Longest time for that.
const LONGEST: Duration = Duration::from_secs(10);

/// A body that goes, unless it is read to its end, to its connection when it is dropped.
pub(super) struct Unread {
    body: Option<Incoming>,
    leftovers: Leftovers,
    /// The client sends nothing before it is asked to.
    waits: bool,
}

/// Where the bodies of a connection's requests go that nobody reads.
#[derive(Clone, Default)]
pub(super) struct Leftovers(Rc<Slot>);

/// hyper reads a request's head only after the body of the one before, so there is never a second body.
#[derive(Default)]
struct Slot {
    body: Cell<Option<Incoming>>,
    reader: Cell<Option<Waker>>,
}

// === impl Unread ===

impl Unread {
    /// The body of a request with that head.
    pub fn new(body: Incoming, headers: &HeaderMap, leftovers: Leftovers) -> Self {
        Unread { body: Some(body), leftovers, waits: headers.contains_key(header::EXPECT) }
    }

    /// The body, if it was not read to its end. Whoever takes it here is about to read it.
    pub fn body(&mut self) -> Option<&mut Incoming> {
        self.waits = false;
        self.body.as_mut()
    }

    /// Whether there is nothing to read, and how much there is at least.
    pub fn size(&self) -> (bool, u64) {
        self.body.as_ref().map_or((true, 0), |body| (body.is_end_stream(), body.size_hint().lower()))
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
            && !self.waits
        {
            self.leftovers.0.body.set(Some(body));
            if let Some(reader) = self.leftovers.0.reader.take() {
                reader.wake();
            }
        }
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unread").field(&self.body).finish()
    }
}

// === impl Leftovers ===

impl Leftovers {
    /// Reads them as they come, for as long as the connection goes on.
    pub async fn read(&self) {
        loop {
            let body = poll_fn(|cx| match self.0.body.take() {
                Some(body) => Poll::Ready(body),
                None => {
                    self.0.reader.set(Some(cx.waker().clone()));
                    Poll::Pending
                }
            });
            let body = body.await;
            engine::timeout(LONGEST, throw_away(body)).await;
        }
    }
}

async fn throw_away(mut body: Incoming) {
    let mut left = MOST;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64)) else { return };
        left = rest;
    }
}
