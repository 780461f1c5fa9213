//! `/stream/kernel/…`: connections that stay. Everything that can be wrong with them before they begin is answered
//! with a problem document; from then on the streams themselves say what is wrong.

use std::rc::Rc;

use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::{Call, kernel, query, translate::to_problem};
use crate::{
    auth::ApiVersion,
    engine,
    http::{Answer, Kind, Problem, chunks},
    registry::{Run, RunResult, Session},
    store::redis::{RedisError, session_events::EventId},
    stream::{
        Caller, Place,
        events::{self, Watched},
        execute::{self, Dialect, Texts},
        terminal,
        websocket::{Handshake, Refused, Socket},
    },
};

/// `GET /stream/kernel/{id}/pty`: the terminal.
///
/// # Errors
/// It is no WebSocket handshake, or there are too many streams.
pub async fn pty(mut call: Call) -> Result<Answer, Problem> {
    let (handshake, upgrade) = match handshake(&mut call) {
        Ok(both) => both,
        Err(refused) => return Ok(refused.answer()),
    };
    let (caller, place) = (caller(&call)?, place(&call)?);
    engine::spawn(async move {
        if let Ok(socket) = Socket::open(upgrade, terminal::LONGEST, terminal::LARGEST).await {
            terminal::serve(socket, caller, place).await;
        }
    });
    Ok(handshake.answer())
}

/// `GET /stream/kernel/{id}/execute`: a run, followed.
///
/// # Errors
/// It is no WebSocket handshake, or there are too many streams.
pub async fn execute(mut call: Call) -> Result<Answer, Problem> {
    let (handshake, upgrade) = match handshake(&mut call) {
        Ok(both) => both,
        Err(refused) => return Ok(refused.answer()),
    };
    let (caller, place) = (caller(&call)?, place(&call)?);
    let (dialect, longest) = (Spoken(call.version), call.api.settings.max_body);
    engine::spawn(async move {
        // A result is as long as the agent makes it; it is in memory once already.
        if let Ok(socket) = Socket::open(upgrade, longest, usize::MAX).await {
            execute::serve(socket, caller, place, dialect).await;
        }
    });
    Ok(handshake.answer())
}

/// `GET /stream/kernel/{id}/events`: what befalls the session, as server-sent events.
///
/// # Errors
/// There is no such session, or Redis is away, or there are too many streams.
pub async fn events(call: Call) -> Result<Answer, Problem> {
    let place = place(&call)?;
    let watched = watched(&call).await?;
    let (registry, keyring) = (call.api.registry.clone(), call.api.keyring.clone());
    let (sender, body) = chunks();
    engine::spawn(events::serve(sender, registry, keyring, watched, place));
    let mut answer = Answer::stream(StatusCode::OK, HeaderValue::from_static("text/event-stream"), body);
    answer.set(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would keep events back.
    answer.set(header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(answer)
}

fn handshake(call: &mut Call) -> Result<(Handshake, OnUpgrade), Refused> {
    let handshake = Handshake::check(call.request.method(), call.request.headers())?;
    let upgrade = call.request.take_upgrade().ok_or(Refused::NotOne)?;
    Ok((handshake, upgrade))
}

fn place(call: &Call) -> Result<Place, Problem> {
    let full = || Kind::ServiceUnavailable.because("too many streams").retry_after(5);
    call.api.streams.enter().ok_or_else(full)
}

fn caller(call: &Call) -> Result<Caller, Problem> {
    let key = call.key.as_ref().ok_or(Kind::AuthFailed)?;
    Ok(Caller {
        registry: call.api.registry.clone(),
        gate: call.api.gate.clone(),
        keyring: call.api.keyring.clone(),
        access_key: key.access_key.clone(),
        session: call.session()?.clone(),
        explain: to_problem,
    })
}

/// What is watched: a session that lives; for one who was cut off also those of its name that have ended lately,
/// which is why this route finds and counts its session itself.
async fn watched(call: &Call) -> Result<Watched, Problem> {
    let missing = || Problem::from(Kind::KernelNotFound);
    // A page that opens events anew, with another ticket, cannot set the header.
    let named = query::values(call.query(), "last_event_id").pop();
    let known = call.request.header("last-event-id").or(named.as_deref()).and_then(|id| id.parse::<EventId>().ok());
    let name = super::session_name(call.param.as_deref()).ok_or_else(missing)?;
    let live = live(call).await?;
    let ended = match known {
        Some(_) => call.api.registry.ended_lately(&call.owner, &name).await.map_err(to_problem)?,
        None => Vec::new(),
    };
    let after = match (known, &live) {
        (Some(known), _) => known,
        (None, Some(session)) => call.api.registry.last_event(session.id).await.map_err(away)?,
        (None, None) => return Err(missing()),
    };
    if live.is_none() && ended.is_empty() {
        return Err(missing());
    }
    let access_key = call.key.as_ref().ok_or(Kind::AuthFailed)?.access_key.clone();
    Ok(Watched { name, live, ended, after, access_key })
}

/// The session of that name, if it lives; it counts a query.
async fn live(call: &Call) -> Result<Option<Rc<Session>>, Problem> {
    let counted = match call.api.session(call, call.param.as_deref()).await {
        Ok(session) => call.api.registry.count_anew(&session).await.map_err(to_problem),
        Err(problem) => Err(problem),
    };
    match counted {
        Ok((session, _)) => Ok(Some(session)),
        Err(problem) if problem.kind() == Kind::KernelNotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn away(error: RedisError) -> Problem {
    tracing::warn!(%error, "events cannot be read");
    Kind::ServiceUnavailable.because("events cannot be read").retry_after(1)
}

/// Execute calls and results of a version.
struct Spoken(ApiVersion);

impl Dialect for Spoken {
    fn run_id(&self, body: &[u8]) -> Option<String> {
        kernel::run_id(body)
    }

    fn run(&self, body: &[u8], last_status: Option<String>) -> Result<(Run, Texts), Problem> {
        kernel::streamed_run(&super::fields::Fields::parse(body, Kind::InvalidApiParams)?, self.0, last_status)
    }

    fn document(&self, result: &RunResult) -> Value {
        kernel::result_document(result, self.0)
    }
}
