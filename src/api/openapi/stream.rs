//! `/stream/…` and the tickets for it.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    operation::Operation,
    schema::{count, nullable, object, pattern, text},
    session::session_name,
};
use crate::http::Kind;

const TAG: &str = "Streams";

/// What there is to say of a route.
pub fn describe(method: &str, path: &str) -> Option<Operation> {
    Some(match (method, path) {
        ("POST", "/auth/ticket") => Operation::new("issueTicket", TAG, "A ticket, by which a browser opens a stream")
            .text("Good once, for 30 seconds, as `_auth` in the query of a stream's route.")
            .body_of("application/json", json!({"schema": object([("path?", nullable(stream_path()))])}))
            .body_may_be_missing()
            .json(StatusCode::OK, "The ticket.", ticket()),
        ("GET", "/stream/kernel/{id}/pty") => web_socket("openTerminal", "A session's terminal, by WebSocket").text(
            "Text frames of JSON. From the client: `{\"type\": \"stdin\", \"chars\": base64}`, \
             `{\"type\": \"resize\", \"rows\": n, \"cols\": n}`, `{\"type\": \"ping\"}`, `{\"type\": \"restart\"}`. \
             From the server: `{\"type\": \"out\", \"data\": base64}`, `{\"type\": \"error\", \"data\": text}`.",
        ),
        ("GET", "/stream/kernel/{id}/execute") => {
            web_socket("streamExecution", "Runs code without polling, by WebSocket").text(
                "The client sends the body of `POST /kernel/{id}` in a text frame, the server sends results as they \
                 come until one is `finished`, and closes. Meanwhile the client may send \
                 `{\"type\": \"input\", \"code\": text}` and `{\"type\": \"interrupt\"}`; what is wrong is told as \
                 `{\"type\": \"error\", \"data\": text}`. Where the body leaves out `runId`, as clients of release \
                 18.12 do, every later text is a line of input as it is.",
            )
        }
        ("GET", "/stream/kernel/{id}/events") => of_session("streamEvents", "What happens to a session")
            .text(
                "Server-sent events: `terminated` and `restarted`, with a `reason`. `Last-Event-ID` brings what was \
                 missed in the last minute, and so does `last_event_id` in the query of a page that opens them anew \
                 with another ticket. They end when the key pair is switched off.",
            )
            .query("last_event_id", "The last event that the client knows.", pattern("^[0-9]+-[0-9]+$", ""))
            .answer(StatusCode::OK, "Events as they come.", json!({"text/event-stream": {"schema": text("")}})),
        _ => return None,
    })
}

fn of_session(id: &'static str, summary: &'static str) -> Operation {
    // Also those that only streams have: too many of them, and a route that speaks WebSocket asked without.
    let upgrade: Vec<Kind> =
        Kind::ALL.iter().copied().filter(|kind| kind.status() == StatusCode::UPGRADE_REQUIRED).collect();
    Operation::new(id, TAG, summary)
        .path("id", session_name())
        .or_ticket()
        .problems(&[Kind::KernelNotFound, Kind::ServiceUnavailable])
        .problems(&upgrade)
}

fn web_socket(id: &'static str, summary: &'static str) -> Operation {
    of_session(id, summary).empty(StatusCode::SWITCHING_PROTOCOLS, "From here on the connection speaks WebSocket.")
}

fn stream_path() -> Value {
    let form = "^(/v[1-4])?/stream/kernel/[A-Za-z0-9._-]{4,64}/(pty|execute|events)$";
    pattern(form, "The only path that the ticket opens.")
}

fn ticket() -> Value {
    object([("ticket", text("")), ("expires_in", count("Seconds."))])
}
