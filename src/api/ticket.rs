//! Tickets: how a browser, which cannot set headers for a WebSocket or an event source, opens a stream.

use std::rc::Rc;

use http::{Method, StatusCode};
use serde_json::json;

use super::{
    Api, Call,
    fields::Fields,
    route::{self, Access},
};
use crate::{
    http::{Answer, Kind, Problem, Request},
    store::{
        postgres::keypairs::Keypair,
        redis::{
            RedisError,
            tickets::{LIFE, Ticket},
        },
    },
    telemetry::{self, Counter},
};

/// `POST /auth/ticket`: issues a ticket, for one path where the body names it.
///
/// # Errors
/// 400: the path is no stream's. 503: Redis is away.
pub async fn issue(call: Call) -> Result<Answer, Problem> {
    let path = if call.body.is_empty() { None } else { path(&call.fields()?)? };
    let access_key = call.key.as_ref().map(|key| key.access_key.to_string()).unwrap_or_default();
    let ticket = Ticket { access_key, path };
    let name = call.api.tickets.issue(&ticket, rand::random()).await.map_err(away)?;
    Ok(Answer::json(StatusCode::OK, &json!({"ticket": name, "expires_in": LIFE.as_secs()})))
}

/// The ticket that a request brings instead of a signature.
pub fn named(request: &Request) -> Option<String> {
    let (_, query) = request.path_and_query().split_once('?')?;
    let ticket = query.split('&').find_map(|pair| pair.strip_prefix("_auth="))?;
    (!request.headers().contains_key(http::header::AUTHORIZATION)).then(|| ticket.to_owned())
}

impl Api {
    /// The key of a ticket, which is used up by this.
    ///
    /// # Errors
    /// 401: it is unknown, used, too old, or for another path; or its key is not active any more.
    pub(super) async fn redeem(&self, ticket: &str, path: &str) -> Result<Rc<Keypair>, Problem> {
        let ticket = self.tickets.redeem(ticket).await.map_err(away)?;
        let good = ticket.filter(|ticket| ticket.path.as_deref().is_none_or(|bound| bound == path));
        let key = match good {
            Some(ticket) => self.key(&ticket.access_key).await?,
            None => None,
        };
        key.ok_or_else(|| {
            telemetry::count(Counter::AuthKey);
            Kind::AuthFailed.into()
        })
    }
}

/// The path that a ticket is for; it has to be a stream's.
fn path(fields: &Fields) -> Result<Option<String>, Problem> {
    let Some(path) = fields.text("path")? else { return Ok(None) };
    let found = route::find(&Method::GET, path).ok();
    match found.and_then(|found| found.route()) {
        Some(route) if path.starts_with('/') && route.access == Access::Ticket => Ok(Some(path.to_owned())),
        _ => Err(fields.wrong("path", "is not that of a stream")),
    }
}

fn away(error: RedisError) -> Problem {
    tracing::warn!(%error, "tickets cannot be looked up");
    Kind::ServiceUnavailable.because("tickets cannot be looked up").retry_after(1)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn of(body: &Value) -> Result<Option<String>, Problem> {
        path(&Fields::parse(body.to_string().as_bytes(), Kind::InvalidApiParams).unwrap())
    }

    #[test]
    fn a_ticket_is_for_a_stream_or_for_all() {
        assert_eq!(of(&json!({})), Ok(None));
        let pty = "/v4/stream/kernel/mine/pty";
        assert_eq!(of(&json!({"path": pty})), Ok(Some(pty.to_owned())));
        for wrong in ["", "/", "/v4/kernel/mine", "stream/kernel/mine/pty", "/stream/kernel/mine/x"] {
            assert!(of(&json!({"path": wrong})).is_err(), "{wrong}");
        }
        assert!(of(&json!({"path": 7})).is_err());
    }
}
