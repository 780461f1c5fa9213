//! The REST API: from a request to the route's handler and back.
//!
//! Everything that all routes share happens here, in this order: find the route; check the signature; find the
//! session that the path names; count the request, and the session's query, in one call to the gate; then the
//! handler. What is refused before the gate is not counted, what passes it is counted once.

mod anonymous;
mod audit;
mod auth;
mod call;
mod cors;
mod fields;
mod folders;
mod graphql;
mod kernel;
mod kernel_files;
pub mod openapi;
mod parts;
mod query;
mod rate;
mod route;
mod stream;
mod ticket;
mod translate;
mod upload;
mod version;

use std::{cell::RefCell, net::IpAddr, rc::Rc, time::Instant};

use http::{HeaderMap, HeaderValue, Method, header};
use ipnet::IpNet;

pub use call::Call;
pub use cors::Cors;
pub use route::{ROUTES, labels};

use self::{
    anonymous::Anonymous,
    rate::Rate,
    route::{Access, Counts, Match, NO_ROUTE, Route, Unrouted},
};
use crate::{
    auth::{ApiVersion, AuthError, Claim, DerivedKeys, HashSet, Headers},
    engine,
    graphql::{Schemas, Sources},
    http::{Answer, CommonHeaders, Kind, Problem, Request, Served, Service, client_address, panicked},
    ratelimit::{Charge, Gate, GateError, SessionCount},
    registry::{Registry, Session, SessionName},
    store::{
        keyring::Keyring,
        postgres::keypairs::Keypair,
        redis::{Redis, replay, tickets::Tickets},
    },
    stream::Streams,
    telemetry::{self, Counter, LoggedRequest, RequestLog},
    vfolder::Folders,
};

/// What the API needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest JSON body in bytes.
    pub max_body: usize,
    /// Hashes that signatures may use.
    pub sign_methods: HashSet,
    /// Whether a signature of a changing request may be used once only.
    pub replay_protection: bool,
    /// What pages of other origins may do.
    pub cors: Cors,
    /// Unsigned requests that an address may send in a window; none: any number.
    pub anonymous_limit: Option<u32>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the admin API tells of its schema.
    pub introspection: bool,
    /// Where images come from, if it is known.
    pub docker_registry: Option<Rc<str>>,
}

/// What the API stands on.
pub struct StandsOn {
    /// The rules of sessions.
    pub registry: Rc<Registry>,
    /// The rules of virtual folders.
    pub folders: Rc<Folders>,
    /// Key pairs.
    pub keyring: Keyring,
    /// Counts requests and limits them.
    pub gate: Gate,
    /// Used signatures, and tickets (database 1).
    pub replay: Redis,
    /// Connections that stay.
    pub streams: Rc<Streams>,
}

/// A worker's API.
pub struct Api {
    settings: Settings,
    registry: Rc<Registry>,
    folders: Rc<Folders>,
    keyring: Keyring,
    gate: Gate,
    schemas: Schemas,
    replay: Redis,
    tickets: Tickets,
    streams: Rc<Streams>,
    namespace: String,
    derived: RefCell<DerivedKeys>,
    anonymous: Option<RefCell<Anonymous>>,
    started: Instant,
}

impl Api {
    /// The API over what the worker has.
    pub fn new(settings: Settings, stands_on: StandsOn, namespace: &str) -> Rc<Self> {
        let derived = RefCell::new(DerivedKeys::new(DERIVED_KEYS));
        let tickets = Tickets::new(stands_on.replay.clone(), namespace);
        let anonymous = settings.anonymous_limit.map(|limit| RefCell::new(Anonymous::new(limit)));
        let (namespace, started) = (namespace.to_owned(), Instant::now());
        let schemas = Schemas::new(settings.introspection);
        let StandsOn { registry, folders, keyring, gate, replay, streams } = stands_on;
        Rc::new(Api {
            settings,
            registry,
            folders,
            keyring,
            gate,
            schemas,
            replay,
            tickets,
            streams,
            namespace,
            derived,
            anonymous,
            started,
        })
    }
}

impl Api {
    /// What the admin API is answered from.
    fn sources(&self) -> Sources {
        Sources::new(&self.registry, self.settings.docker_registry.clone())
    }
}

/// Derived signing keys that a worker remembers: of that many key pairs at once.
const DERIVED_KEYS: usize = 4096;

/// The service that a listener serves: the API behind an `Rc`, since handlers keep it, and the log of requests.
pub struct ApiService {
    api: Rc<Api>,
    log: Rc<RefCell<RequestLog>>,
}

impl ApiService {
    /// The API, with a log that somebody else writes out.
    pub fn new(api: Rc<Api>, log: Rc<RefCell<RequestLog>>) -> Self {
        ApiService { api, log }
    }
}

impl Service for ApiService {
    const NO_ROUTE: usize = NO_ROUTE;
    const HEADERS: CommonHeaders = rate::UNREAD;

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client_address(peer, headers, &self.api.settings.trusted_proxies)
    }

    fn answered(&self, request: &LoggedRequest<'_>, route: usize) {
        telemetry::observe_request(route, request.status, request.micros);
        let mut log = self.log.borrow_mut();
        log.record(request);
        if log.is_full() {
            // A log that cannot be written cannot be told of.
            let _ = log.flush(&mut std::io::stderr());
        }
    }

    fn begun(&self) {
        telemetry::add(Counter::RequestsInFlight, 1);
    }

    fn ended(&self, answered: bool) {
        telemetry::sub(Counter::RequestsInFlight, 1);
        telemetry::add(Counter::RequestsAbandoned, (!answered).into());
    }

    fn open(&self, connections: usize, come: bool) {
        telemetry::add(Counter::ConnectionsAccepted, come.into());
        telemetry::set_gauge(Counter::ConnectionsOpen, connections as u64);
    }

    async fn call(&self, request: Request) -> Served {
        let version = route::version(request.path()).or_else(|| header_version(&request));
        let version = version.unwrap_or(ApiVersion::LATEST);
        let mut context = Context { rate: Rate::Unknown, route: NO_ROUTE, version, access_key: None };
        let origin = request.headers().get(header::ORIGIN).cloned();
        let (client, id) = (request.client, request.id.clone());
        // Caught here, so that the answer has the headers that every answer has.
        let mut answer = match engine::caught(self.api.clone().respond(request, &mut context)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(problem)) => problem.into(),
            Err(panic) => panicked(&id, &panic).into(),
        };
        if context.access_key.is_none()
            && let Err(problem) = self.api.admit_anonymous(client, &mut context)
        {
            answer = problem.into();
        }
        context.rate.write(&mut answer, context.version);
        self.api.settings.cors.write(&mut answer, origin.as_ref());
        Served { answer, route: context.route, access_key: context.access_key }
    }
}

/// What is learned on the way and stands in the answer whatever it is.
struct Context {
    rate: Rate,
    route: usize,
    /// The path's, or the header's.
    version: ApiVersion,
    access_key: Option<Rc<str>>,
}

impl Api {
    async fn respond(self: Rc<Self>, request: Request, context: &mut Context) -> Result<Answer, Problem> {
        if request.headers().get_all(header::HOST).iter().count() > 1 {
            return Err(Kind::BadRequest.because("several Host headers"));
        }
        let found = match route::find(&routed_method(&request), request.path()) {
            Ok(found) => found,
            Err(Unrouted::Problem(problem)) => return Err(problem),
            Err(Unrouted::Methods(methods)) => return self.settings.cors.preflight_or_refuse(&request, &methods),
        };
        context.route = found.index;
        let Some(route) = found.route() else { return Err(Kind::NotFound.into()) };
        let version = context.version;
        let call = match route.access {
            Access::Open => Call::open(self, request, version),
            Access::Key | Access::Ticket => self.admit(request, route, found, version, context).await?,
        };
        match audit::action(&call, route) {
            // Seldom, and too large to be a part of every request's future.
            Some(action) => Box::pin(audit::noted(call, route, action)).await,
            None => (route.handler)(call).await,
        }
    }

    /// Checks who asks, finds what the path names, and counts.
    async fn admit(
        self: Rc<Self>,
        mut request: Request,
        route: &Route,
        found: Match,
        version: ApiVersion,
        context: &mut Context,
    ) -> Result<Call, Problem> {
        let (key, body) = match ticket::named(&request).filter(|_| route.access == Access::Ticket) {
            Some(ticket) => (Box::pin(self.redeem(&ticket, request.path())).await?, None),
            None => self.authenticate(&mut request).await?,
        };
        let access_key = key.access_key.clone();
        context.access_key = Some(access_key.clone());
        let owner = call::owner(&request, &key)?;
        let body = match body {
            Some(body) => body,
            // The handler reads it part by part, if it wants one.
            None if is_multipart(&request) => bytes::Bytes::new(),
            None => request.read_body(self.settings.max_body).await?,
        };
        let mut call = Call::of_key(self.clone(), request, version, key.clone(), owner, body);
        call.param = found.param.clone();
        let session = match route.counts {
            Counts::Request => None,
            Counts::Session | Counts::Run => Some(self.session(&call, found.param.as_deref()).await),
        };
        let named = session.as_ref().and_then(|session| session.as_ref().ok());
        let run = if route.counts == Counts::Run { kernel::run_id(&call.body) } else { None };
        let charge = Charge {
            access_key: &access_key,
            limit: key.rate_limit,
            session: named.map(|session| session.id),
            run: run.as_deref(),
        };
        let verdict = self.gate.admit(charge).await.map_err(|error| match error {
            GateError::Unavailable => Kind::ServiceUnavailable.because("the rate limit is unknown").retry_after(1),
        })?;
        context.rate = Rate::of(&verdict);
        if !verdict.allowed {
            telemetry::count(Counter::RateLimited);
            return Err(Problem::from(Kind::RateLimitExceeded).retry_after(verdict.retry_ms.div_ceil(1000).max(1)));
        }
        if let Some(session) = session {
            let session = session?;
            (call.session, call.queries) = match verdict.session {
                SessionCount::Total(queries) => (Some(session), queries),
                _ => {
                    let (session, queries) =
                        Box::pin(self.registry.count_anew(&session)).await.map_err(translate::to_problem)?;
                    (Some(session), queries)
                }
            };
        }
        call.run_status = verdict.run;
        Ok(call)
    }

    /// Counts a request that nobody signed, or not rightly, where there is a limit for those.
    fn admit_anonymous(&self, client: IpAddr, context: &mut Context) -> Result<(), Problem> {
        let Some(anonymous) = &self.anonymous else { return Ok(()) };
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let admitted = anonymous.borrow_mut().admit(now_ms, client);
        context.rate = admitted.rate;
        if admitted.allowed {
            return Ok(());
        }
        telemetry::count(Counter::RateLimited);
        Err(Problem::from(Kind::RateLimitExceeded).retry_after(admitted.retry_ms.div_ceil(1000).max(1)))
    }

    async fn session(&self, call: &Call, param: Option<&str>) -> Result<Rc<Session>, Problem> {
        let name = session_name(param).ok_or(Kind::KernelNotFound)?;
        self.registry.session(&call.owner, &name).await.map_err(translate::to_problem)
    }

    /// Whose request this is; and its body, where the signature covers it.
    async fn authenticate(&self, request: &mut Request) -> Result<(Rc<Keypair>, Option<bytes::Bytes>), Problem> {
        // The head is copied out of the way of the body, which is read in between.
        let head = SignedHead::of(request);
        let claim =
            Claim::parse(&head.headers(), jiff::Timestamp::now(), self.settings.sign_methods).map_err(refused)?;
        let Some(key) = self.key(claim.access_key().as_str()).await? else {
            telemetry::count(Counter::AuthKey);
            return Err(Kind::AuthFailed.into());
        };
        let body = match claim.signs_body() {
            true => Some(request.read_body(self.settings.max_body).await?),
            false => None,
        };
        let verified = claim.verify(
            key.secret_key.reveal(),
            head.method.as_str(),
            &head.target,
            body.as_deref().unwrap_or_default(),
            &mut self.derived.borrow_mut(),
        );
        verified.map_err(|error| {
            telemetry::count(Counter::AuthSignature);
            refused(error)
        })?;
        self.refuse_replay(&head.method, &routed_method(request), claim.signature()).await?;
        Ok((key, body))
    }

    /// The key pair of that access key, if it is active.
    async fn key(&self, access_key: &str) -> Result<Option<Rc<Keypair>>, Problem> {
        let found = self.keyring.find(access_key).await.map_err(|error| {
            telemetry::count(Counter::AuthUnavailable);
            tracing::warn!(%error, "a key pair could not be looked up");
            Kind::ServiceUnavailable.because("key pairs cannot be looked up").retry_after(1)
        })?;
        Ok(found.filter(|key| key.is_active))
    }

    /// Refuses a signature that was seen before, where what is asked changes something. A signature covers the method
    /// that was `sent`; those of safe methods are not remembered, and so may not be used for another.
    async fn refuse_replay(&self, sent: &Method, routed: &Method, signature: &str) -> Result<(), Problem> {
        if !self.settings.replay_protection || (sent.is_safe() && routed.is_safe()) {
            return Ok(());
        }
        if sent.is_safe() {
            telemetry::count(Counter::AuthReplay);
            return Err(Kind::AuthFailed.because(format!("{sent} may not stand for {routed}")));
        }
        match Box::pin(replay::is_first_use(&self.replay, &self.namespace, signature)).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                telemetry::count(Counter::AuthReplay);
                Err(Kind::AuthFailed.into())
            }
            Err(error) => {
                tracing::warn!(%error, "used signatures could not be looked up");
                Err(Kind::ServiceUnavailable.because("used signatures cannot be looked up").retry_after(1))
            }
        }
    }
}

/// What of a request's head is signed.
struct SignedHead {
    method: Method,
    target: String,
    values: [Option<HeaderValue>; 8],
}

impl SignedHead {
    fn of(request: &Request) -> Self {
        let header = |name: &str| request.headers().get(name).cloned();
        SignedHead {
            method: request.method().clone(),
            target: request.path_and_query().to_owned(),
            values: [
                header("date"),
                header("x-backendai-date"),
                header("x-sorna-date"),
                header("x-backendai-version"),
                header("x-sorna-version"),
                header("authorization"),
                header("host"),
                header("content-type"),
            ],
        }
    }

    fn headers(&self) -> Headers<'_> {
        let [date, backendai_date, sorna_date, version, sorna_version, authorization, host, content_type] =
            &self.values;
        fn read(value: &Option<HeaderValue>) -> Option<&str> {
            value.as_ref()?.to_str().ok()
        }
        Headers {
            date: read(date),
            backendai_date: read(backendai_date),
            sorna_date: read(sorna_date),
            backendai_version: read(version),
            sorna_version: read(sorna_version),
            authorization: read(authorization),
            host: read(host),
            content_type: read(content_type),
        }
    }
}

/// The session's name that a path's parameter is.
fn session_name(param: Option<&str>) -> Option<SessionName> {
    let decoded = percent_encoding::percent_decode_str(param.unwrap_or_default()).decode_utf8();
    SessionName::parse(&decoded.ok()?)
}

fn refused(error: AuthError) -> Problem {
    match error {
        AuthError::Invalid(why) => {
            telemetry::count(Counter::AuthMalformed);
            Kind::InvalidAuthParams.because(why)
        }
        AuthError::Failed => Kind::AuthFailed.into(),
    }
}

fn is_multipart(request: &Request) -> bool {
    request.media_type().is_some_and(|name| name.get(..10).is_some_and(|it| it.eq_ignore_ascii_case("multipart/")))
}

/// The method that the route is found by: `X-Method-Override` where it is sent.
fn routed_method(request: &Request) -> Method {
    let wanted = request.header("x-method-override").and_then(|name| name.to_ascii_uppercase().parse().ok());
    wanted.unwrap_or_else(|| request.method().clone())
}

/// The version that the request's header names.
fn header_version(request: &Request) -> Option<ApiVersion> {
    ["x-backendai-version", "x-sorna-version"].iter().find_map(|name| ApiVersion::parse(request.header(*name)?))
}
