//! Calls from a browser's page of another origin.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::http::{Answer, Kind, Problem, Request};

/// Headers that a page may send.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, date, x-backendai-date, x-backendai-version, x-method-override, x-request-id, \
     x-sorna-date, x-sorna-version",
);
/// Headers of an answer that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "date, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-ratelimit-window, x-request-id",
);
/// Seconds for which a browser may remember a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The answer where a path is known but the method is not its own: to a preflight, what is allowed; to others 405.
///
/// # Errors
/// It was no preflight.
pub fn preflight_or_refuse(request: &Request, methods: &[&'static Method]) -> Result<Answer, Problem> {
    let mut names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    names.push("OPTIONS");
    let names = names.join(", ");
    let allow = HeaderValue::from_str(&names).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"));
    let mut answer = match *request.method() == Method::OPTIONS {
        true => Answer::empty(StatusCode::NO_CONTENT),
        false => Problem::from(Kind::MethodNotAllowed).into(),
    };
    if answer.status() == StatusCode::NO_CONTENT {
        answer.set(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
        answer.set(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        answer.set(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    answer.set(header::ALLOW, allow);
    Ok(answer)
}

/// Lets the page read the answer, if its origin is one of those allowed.
pub fn write(answer: &mut Answer, origins: &[String], origin: Option<&HeaderValue>) {
    const ANY: HeaderValue = HeaderValue::from_static("*");
    const ALLOW_ORIGIN: HeaderName = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    if origins.iter().any(|allowed| allowed == "*") {
        answer.set(ALLOW_ORIGIN, ANY);
    } else {
        answer.set(header::VARY, HeaderValue::from_static("origin"));
        match origin {
            Some(origin) if origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) => {
                answer.set(ALLOW_ORIGIN, origin.clone());
            }
            _ => return,
        }
    }
    answer.set(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
