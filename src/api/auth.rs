//! `/authorize`, `/auth`, `/auth/test`: a client tries its key.

use http::StatusCode;
use serde_json::json;

use super::{Call, fields::Fields};
use crate::http::{Answer, Kind, Problem};

/// Answers that the key is good, and the client's text.
///
/// # Errors
/// 400: the body is not what the route expects.
pub async fn authorize(call: Call) -> Result<Answer, Problem> {
    let fields = Fields::parse(&call.body, Kind::InvalidAuthParams)?;
    let echo = fields.text("echo")?.ok_or_else(|| fields.wrong("echo", "is missing"))?;
    Ok(Answer::json(StatusCode::OK, &json!({"authorized": "yes", "echo": echo})))
}
