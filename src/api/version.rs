//! `GET /`, `GET /v1` … `GET /v4`: which version is the latest.

use http::StatusCode;
use serde_json::json;

use super::Call;
use crate::{
    auth::ApiVersion,
    http::{Answer, Kind, Problem},
};

/// Answers the latest version.
///
/// # Errors
/// None.
pub async fn show(_call: Call) -> Result<Answer, Problem> {
    Ok(Answer::json(StatusCode::OK, &json!({"version": ApiVersion::LATEST.to_string()})))
}

/// Answers that there is no such query: routes that were announced once and never came.
///
/// # Errors
/// Always.
pub async fn not_implemented(_call: Call) -> Result<Answer, Problem> {
    Err(Kind::NotImplemented.into())
}
