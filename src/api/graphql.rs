//! `POST /admin/graphql`: the admin API.
//!
//! Clients of 2017 read the data object itself, and switch on problem documents; with `Accept:
//! application/graphql-response+json` the answer follows GraphQL over HTTP, for today's tools.

use async_graphql::{Response, ServerError};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::Call;
use crate::{
    graphql::{Ask, Caller, Fault, Outcome},
    http::{Answer, Kind, Problem},
    store::postgres::audit::Via,
};

/// The media type of GraphQL over HTTP.
const GRAPHQL: &str = "application/graphql-response+json";

/// Does a query or a mutation.
///
/// # Errors
/// 400: the query is malformed or asks for too much. 500: a store failed.
pub async fn execute(call: Call) -> Result<Answer, Problem> {
    let modern = accepts_graphql(&call);
    let ask = match ask(&call.body) {
        Ok(ask) => ask,
        Err(why) if modern => {
            return Ok(document(StatusCode::BAD_REQUEST, &Response::from_errors(vec![ServerError::new(why, None)])));
        }
        Err(why) => return Err(Kind::InvalidApiParams.because(why)),
    };
    let caller = Caller {
        access_key: call.owner.to_string(),
        is_admin: call.key.as_ref().is_some_and(|key| key.is_admin),
        actor: call.actor(Via::Graphql),
    };
    let outcome = call.api.schemas.execute(call.api.sources(), caller, ask).await;
    match outcome {
        Outcome::Refused(response) if modern => Ok(document(StatusCode::BAD_REQUEST, &response)),
        Outcome::Done(response) if modern => Ok(document(StatusCode::OK, &response)),
        Outcome::Refused(response) | Outcome::Done(response) => data(&response),
    }
}

fn accepts_graphql(call: &Call) -> bool {
    let types = call.request.header("accept").unwrap_or_default().split(',');
    types.map(|it| it.split(';').next().unwrap_or_default().trim()).any(|it| it.eq_ignore_ascii_case(GRAPHQL))
}

/// What the body asks.
fn ask(body: &Bytes) -> Result<Ask, String> {
    let wrong = |what: &str| Err(what.to_owned());
    let Ok(Value::Object(mut body)) = serde_json::from_slice(body) else { return wrong("the body is no JSON object") };
    let query = match body.remove("query") {
        Some(Value::String(query)) => query,
        Some(_) => return wrong("query is not a text"),
        None => return wrong("query is missing"),
    };
    let variables = match body.remove("variables") {
        Some(variables @ Value::Object(_)) => variables,
        Some(Value::Null) | None => Value::Null,
        Some(_) => return wrong("variables is neither an object nor null"),
    };
    let operation = match body.remove("operationName") {
        Some(Value::String(name)) if !name.is_empty() => Some(name),
        Some(Value::String(_) | Value::Null) | None => None,
        Some(_) => return wrong("operationName is not a text"),
    };
    Ok(Ask { query, variables, operation })
}

/// The data object itself, or the first error as a problem; one of a store before all others.
fn data(response: &Response) -> Result<Answer, Problem> {
    let broken = response.errors.iter().find(|error| error.source::<Fault>() == Some(&Fault::Broken));
    match (broken, response.errors.first()) {
        (None, None) => Ok(Answer::json(StatusCode::OK, &response.data)),
        (Some(error), _) => Err(Kind::GeneralError.because(&error.message)),
        (None, Some(error)) => Err(Kind::InvalidApiParams.because(&error.message)),
    }
}

fn document(status: StatusCode, response: &Response) -> Answer {
    let mut body = serde_json::to_value(response).unwrap_or_default();
    if status != StatusCode::OK
        && let Some(object) = body.as_object_mut()
    {
        // A request that was refused has no data, not even null.
        object.shift_remove("data");
    }
    let mut answer = Answer::json(status, &body);
    answer.set(header::CONTENT_TYPE, HeaderValue::from_static("application/graphql-response+json; charset=utf-8"));
    answer
}
