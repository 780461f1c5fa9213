//! Connections: accepted, served, drained.
//!
//! Draining without a broken request: from the moment the flag is up, every answer says `Connection: close`;
//! what is queued in the listener goes on being accepted, and idle connections stay, for [`LINGER`], since a
//! client may have a request on the way that it could not send again. Ending them at once was measured to break
//! 35 to 278 requests in a replacement under load; this way none.

use std::{
    cell::Cell,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::body::Incoming;

use super::{
    Answer, Drain, Kind, Problem, Request, RequestId, Tls,
    body::AnswerBody,
    connection::Connection,
    guard::{CommonHeaders, Gate},
    request_id,
    unread::Leftovers,
};
use crate::{
    engine::{self, Listener, Stream},
    telemetry::LoggedRequest,
};

/// The `Server` header of every response.
pub(super) const SERVER: &str = "BackendAI-API/v4.20181215";

/// How long a draining worker still accepts, and keeps idle connections.
const LINGER: Duration = Duration::from_millis(500);

/// How long to wait after accept(2) failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How often a draining worker looks for connections.
const DRAIN_POLL: Duration = Duration::from_millis(2);

/// Bounds on what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub header_fields: usize,
    /// Longest time for a head to arrive, and for a connection to be idle.
    pub head_time: Duration,
    /// How long a connection is idle until it is parked.
    pub park_after: Duration,
    /// Longest time for a client to take some more of an answer.
    pub stall_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 32 << 10,
            header_fields: 100,
            head_time: Duration::from_secs(20),
            park_after: Duration::from_millis(100),
            stall_time: Duration::from_secs(60),
        }
    }
}

/// What a service made of a request.
pub struct Served {
    /// The answer.
    pub answer: Answer,
    /// The route, as an index that telemetry knows.
    pub route: usize,
    /// Who asked, if that was established.
    pub access_key: Option<Rc<str>>,
}

/// Something that answers requests.
pub trait Service: 'static {
    /// What stands for a route where none is known, as an index that telemetry knows.
    const NO_ROUTE: usize = 0;
    /// Headers of answers to requests that cannot be read, beside those that all have.
    const HEADERS: CommonHeaders = &[];

    /// Answers one.
    fn call(&self, request: Request) -> impl Future<Output = Served>;

    /// The address of the client whose request came over a connection from `peer`.
    fn client(&self, peer: IpAddr, _headers: &HeaderMap) -> IpAddr {
        peer
    }

    /// Is told of each that was answered, and by which route.
    fn answered(&self, _request: &LoggedRequest<'_>, _route: usize) {}

    /// Is told that a request waits for its answer.
    fn begun(&self) {}

    /// Is told that one waits no more: it is answered, or its client went away.
    fn ended(&self, _answered: bool) {}

    /// Is told how many connections are open when one has come or gone.
    fn open(&self, _connections: usize, _come: bool) {}
}

/// How a listener is served.
#[derive(Clone)]
pub struct Serving {
    /// Bounds on what clients send.
    pub limits: Limits,
    /// TLS, if connections begin with it.
    pub tls: Option<Tls>,
    /// The flag that ends it.
    pub drain: Drain,
    /// Longest time that requests have to finish from then on.
    pub drain_time: Duration,
}

/// Serves a listener until the drain is over and the last connection has ended, or its time has passed.
pub async fn serve<S: Service>(listener: Listener, service: Rc<S>, serving: Serving) {
    let open = Rc::new(Cell::new(0usize));
    let accepting = async {
        loop {
            match next(&listener, &serving.drain).await {
                Ok((stream, peer)) => {
                    let connection = Connection { peer, serving: serving.clone(), service: service.clone() };
                    let guard = OpenGuard::new(open.clone(), service.clone());
                    engine::spawn(async move {
                        connection.serve(stream).await;
                        drop(guard);
                    });
                }
                // The client is gone already: the next one need not wait for that.
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    engine::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    futures_lite::future::or(lingered(&serving.drain), accepting).await;
    // A turn of the loop, for the kernel to hear that nobody waits for a connection any more.
    engine::sleep(DRAIN_POLL).await;
    drop(listener);
    let ended = async {
        while open.get() > 0 {
            engine::sleep(Duration::from_millis(10)).await;
        }
    };
    if engine::timeout(serving.drain_time.saturating_sub(LINGER), ended).await.is_none() {
        tracing::warn!(connections = open.get(), "the drain time is over, the rest is broken off");
    }
}

/// Waits until a drain has begun and gone on for [`LINGER`].
pub(super) async fn lingered(drain: &Drain) {
    drain.begun().await;
    engine::sleep(LINGER).await;
}

/// The next connection.
///
/// A draining worker looks instead of waiting: a request to the kernel that it gave up at its end would take one more
/// connection with it (measured on io_uring under load: one for each worker replaced), while one that is left in the
/// queue is its successor's.
async fn next(listener: &Listener, drain: &Drain) -> io::Result<(Stream, SocketAddr)> {
    if !drain.has_begun() {
        return listener.accept().await;
    }
    loop {
        if let Some(accepted) = listener.accept_waiting()? {
            return Ok(accepted);
        }
        engine::sleep(DRAIN_POLL).await;
    }
}

/// Whether accept(2) failed for the connection's own sake, not for want of descriptors or memory.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | NotConnected)
}

/// Counts a connection for as long as it lives.
struct OpenGuard<S: Service>(Rc<Cell<usize>>, Rc<S>);

impl<S: Service> OpenGuard<S> {
    fn new(open: Rc<Cell<usize>>, service: Rc<S>) -> Self {
        open.set(open.get() + 1);
        service.open(open.get(), true);
        OpenGuard(open, service)
    }
}

impl<S: Service> Drop for OpenGuard<S> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
        self.1.open(self.0.get(), false);
    }
}

/// Has a request answered, and says so.
pub(super) async fn answer<S: Service>(
    service: &S,
    request: http::Request<Incoming>,
    peer: SocketAddr,
    drain: &Drain,
    leftovers: Leftovers,
) -> Answer {
    let started = std::time::Instant::now();
    let mut in_flight = InFlight::new(service);
    let id = RequestId::of(request.headers(), rand::random);
    let client = service.client(peer.ip(), request.headers());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let request = Request::new(request, peer, client, id.clone(), leftovers);
    let Served { mut answer, route, access_key } = match engine::caught(service.call(request)).await {
        Ok(served) => served,
        Err(panic) => Served { answer: panicked(&id, &panic).into(), route: S::NO_ROUTE, access_key: None },
    };
    answer.set(header::SERVER, HeaderValue::from_static(SERVER));
    answer.set(request_id::HEADER, id.header());
    if drain.has_begun() && !answer.status().is_informational() {
        answer.set(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let line = LoggedRequest {
        at: SystemTime::now(),
        id: id.as_str(),
        method: method.as_str(),
        path: uri.path(),
        status: answer.status().as_u16(),
        micros,
        access_key: access_key.as_deref(),
        bytes: answer.known_len() as u64,
        remote: client,
    };
    service.answered(&line, route);
    in_flight.answered = true;
    answer
}

/// The response as hyper takes it, let through by the guard where its bytes are not ours.
pub(super) fn written(answer: Answer, gate: &Gate) -> http::Response<AnswerBody> {
    let mut response = answer.into_response();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        gate.leave_open();
    }
    response.body_mut().pass(gate);
    response
}

/// What a client is told where a panic kept its request from an answer. The log says what of, with the request's id.
pub fn panicked(id: &RequestId, panic: &str) -> Problem {
    tracing::error!(request = %id, %panic, "a request could not be answered");
    Kind::InternalServerError.because(format!("request {id}"))
}

/// A request that waits for its answer; hyper drops it when its client goes away.
struct InFlight<'a, S: Service> {
    service: &'a S,
    answered: bool,
}

impl<'a, S: Service> InFlight<'a, S> {
    fn new(service: &'a S) -> Self {
        service.begun();
        InFlight { service, answered: false }
    }
}

impl<S: Service> Drop for InFlight<'_, S> {
    fn drop(&mut self) {
        self.service.ended(self.answered);
    }
}
