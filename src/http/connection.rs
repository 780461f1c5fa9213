//! One connection: its requests, and the time between them.
//!
//! A connection that waits costs what it keeps. hyper keeps two buffers of 8 KiB each and the space of a request's
//! future, for as long as it has the connection; so whoever has said nothing for [`Limits::park_after`] is *parked*: hyper
//! is given up, and what is left is the socket and a few hundred bytes. The first bytes of the next request make a new
//! hyper of it. Who asks again sooner pays nothing for this.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Kind,
    guard::{self, Gate, Guard},
    server::{self, Limits, Service, Serving},
    unread::Leftovers,
};
use crate::engine::{self, Sleep, Stream};

/// How long a wait goes on where something is still to be written, until that is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Longest time for the last words to a client.
const PART_TIME: Duration = Duration::from_secs(1);

/// Most space of a request's future, in bytes: it is moved into its box for each request. (When it had 137 KB, all
/// copying together was 8 % of the CPU time of `GET /v4`, and 4 % when it had 6.)
const REQUEST_SPACE: usize = 8 << 10;

/// What is read at once of a request that ends the parking, in bytes.
const FIRST_BYTES: usize = 128;

/// A connection of a client.
pub(super) struct Connection<S> {
    /// Where the client is.
    pub peer: SocketAddr,
    /// How it is served.
    pub serving: Serving,
    /// By what.
    pub service: Rc<S>,
}

/// A connection on which no answer is under way, as hyper leaves it.
struct Waiting<IO> {
    stream: IO,
    /// What came of the next request's head.
    head: Bytes,
}

/// hyper's clock for one connection, which it asks for the end of each wait for a head.
///
/// The first head has the time that it is given, each later one no more than it takes to be parked. No wait ends before
/// the answer to the last request is written: where a body's end comes after its answer was made, hyper begins to wait
/// while it has some of the answer.
#[derive(Clone)]
struct HeadTimer {
    first: Duration,
    later: Duration,
    /// How many waits there were.
    waits: Arc<AtomicU32>,
    gate: Gate,
}

/// Such a wait.
struct HeadSleep {
    sleep: Sleep,
    gate: Gate,
}

// === impl Connection ===

impl<S: Service> Connection<S> {
    /// Serves it until its end.
    pub async fn serve(&self, stream: Stream) {
        match &self.serving.tls {
            None => self.run(stream).await,
            // In a box, so that connections without TLS need not have room for it.
            Some(tls) => {
                let shaken = async {
                    // A client that does not get through its handshake has nobody to be told by.
                    if let Ok(stream) = tls.accept(stream).await {
                        self.run(stream).await;
                    }
                };
                Box::pin(shaken).await;
            }
        }
    }

    async fn run(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Limits { park_after, head_time, .. } = self.serving.limits;
        let (mut head, mut time) = (Bytes::new(), park_after);
        loop {
            // The box is what parking gives up.
            let conversed = Box::pin(self.converse(stream, head, time)).await;
            let Some(waiting) = conversed else { return };
            stream = waiting.stream;
            head = match waiting.head {
                none if none.is_empty() => {
                    drop(none); // which has hyper's buffer
                    match self.park(&mut stream).await {
                        Some(first) => first,
                        None => return part(&mut stream, &[]).await,
                    }
                }
                begun => begun,
            };
            // What has begun has the rest of its time, which began when it was waited for.
            time = head_time.saturating_sub(park_after);
        }
    }

    /// Waits for the first bytes of a request; `None` if the connection is over before.
    async fn park(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
        let first = async {
            let mut bytes = [0; FIRST_BYTES];
            let Limits { park_after, head_time, .. } = self.serving.limits;
            let idle = head_time.saturating_sub(park_after);
            let count = engine::timeout(idle, stream.read(&mut bytes)).await?.ok()?;
            bytes.get(..count).filter(|bytes| !bytes.is_empty()).map(Bytes::copy_from_slice)
        };
        let drained = async {
            server::lingered(&self.serving.drain).await;
            None
        };
        futures_lite::future::or(first, drained).await
    }

    /// Answers requests until the connection is over, or waits for one: then it is handed back. It begins with what is
    /// there of the first one's head, the rest of which has `time` to come.
    async fn converse<IO>(&self, stream: IO, head: Bytes, time: Duration) -> Option<Waiting<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Connection { peer, serving, service } = self;
        let limits = &serving.limits;
        let (leftovers, gate) = (Leftovers::default(), Gate::default());
        // In a box of its own, since hyper keeps the space of this future.
        let handler = service_fn(|request: http::Request<Incoming>| {
            let answered = Box::pin(server::answer(&**service, request, *peer, &serving.drain, leftovers.clone()));
            debug_assert!(size_of_val(&*answered) <= REQUEST_SPACE, "{} bytes", size_of_val(&*answered));
            async { Ok::<_, Infallible>(server::written(answered.await, &gate)) }
        });
        let begun = !head.is_empty();
        let timer = HeadTimer { first: time, later: limits.park_after, waits: Arc::default(), gate: gate.clone() };
        // Not `pipeline_flush`: it would keep back the answers before a request that cannot be parsed.
        let mut builder = http1::Builder::new();
        builder
            .timer(timer.clone())
            .header_read_timeout(limits.park_after)
            .max_header_size(limits.head_bytes)
            .max_headers(limits.header_fields)
            .half_close(false);
        let stream = Guard::new(stream, head, gate.clone(), limits.stall_time, S::HEADERS);
        let mut connection = builder.serve_connection(TokioIo::new(stream), handler).with_upgrades();
        let mut reading = std::pin::pin!(leftovers.read());
        let served = async { Some((&mut connection).await) };
        let told = async {
            server::lingered(&serving.drain).await;
            None
        };
        let outcome = match beside(futures_lite::future::or(served, told), reading.as_mut()).await {
            Some(outcome) => outcome,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                beside(&mut connection, reading).await
            }
        };
        if !outcome.is_err_and(|error| error.is_timeout()) {
            return None;
        }
        let parts = connection.into_parts()?;
        let (head, mut stream) = (parts.read_buf, parts.io.into_inner().into_inner());
        if begun && timer.waits.load(Ordering::Relaxed) == 1 {
            part(&mut stream, &guard::last_words(Kind::RequestTimeout, S::HEADERS)).await;
            return None;
        }
        Some(Waiting { stream, head })
    }
}

/// Ends a connection after some last words, if its client takes them.
async fn part(stream: &mut (impl AsyncWrite + Unpin), words: &[u8]) {
    let parting = async {
        // The client may be gone; there is nobody to tell then.
        let _ = stream.write_all(words).await;
        let _ = stream.shutdown().await;
    };
    engine::timeout(PART_TIME, parting).await;
}

/// Waits for some work, beside some that has no end.
async fn beside<T>(work: impl Future<Output = T>, endless: impl Future<Output = ()>) -> T {
    futures_lite::future::or(work, async {
        endless.await;
        std::future::pending().await
    })
    .await
}

// === impl HeadTimer ===

impl HeadTimer {
    fn wait(&self) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let time = if self.waits.fetch_add(1, Ordering::Relaxed) == 0 { self.first } else { self.later };
        Box::pin(HeadSleep { sleep: engine::sleep(time), gate: self.gate.clone() })
    }
}

/// hyper has no other use for a clock, and knows one time alone: its own is not looked at.
impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.wait()
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.wait()
    }
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(Pin::new(&mut self.sleep).poll(cx));
            if self.gate.is_written() {
                return Poll::Ready(());
            }
            self.sleep = engine::sleep(LOOK_AGAIN);
        }
    }
}

impl hyper::rt::Sleep for HeadSleep {}
