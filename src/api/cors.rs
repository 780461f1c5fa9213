//! Calls from a browser's page of another origin.
//!
//! What a page may do is the operator's to say; a preflight also says what a path has.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::http::{Answer, Kind, Problem, Request};

/// Headers of an answer that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "date, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-ratelimit-window, \
     x-request-id, x-total-payloads-length",
);
/// Seconds for which a browser may remember a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// What pages of other origins may do.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Whose pages; `*` is anybody's.
    pub origins: Vec<String>,
    /// Headers that they may send.
    pub headers: Vec<String>,
    /// Methods that they may use, of those that a path has; `*` is all.
    pub methods: Vec<String>,
}

// === impl Cors ===

impl Cors {
    /// The answer where a path is known but the method is not its own: to a preflight, what is allowed; to others 405.
    ///
    /// # Errors
    /// It was no preflight.
    pub fn preflight_or_refuse(&self, request: &Request, methods: &[&'static Method]) -> Result<Answer, Problem> {
        let names = || methods.iter().map(|method| method.as_str()).chain(["OPTIONS"]);
        let mut answer = match *request.method() == Method::OPTIONS {
            true => Answer::empty(StatusCode::NO_CONTENT),
            false => Problem::from(Kind::MethodNotAllowed).into(),
        };
        if answer.status() == StatusCode::NO_CONTENT {
            let allowed = names().filter(|name| self.methods.iter().any(|it| it == "*" || it == name));
            answer.set(header::ACCESS_CONTROL_ALLOW_METHODS, list(allowed));
            answer.set(header::ACCESS_CONTROL_ALLOW_HEADERS, list(self.headers.iter().map(String::as_str)));
            answer.set(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        answer.set(header::ALLOW, list(names()));
        Ok(answer)
    }

    /// Lets the page read the answer, if its origin is one of those allowed.
    pub fn write(&self, answer: &mut Answer, origin: Option<&HeaderValue>) {
        const ANY: HeaderValue = HeaderValue::from_static("*");
        const ALLOW_ORIGIN: HeaderName = header::ACCESS_CONTROL_ALLOW_ORIGIN;
        if self.origins.iter().any(|allowed| allowed == "*") {
            answer.set(ALLOW_ORIGIN, ANY);
        } else {
            answer.set(header::VARY, HeaderValue::from_static("origin"));
            match origin {
                Some(origin) if self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) => {
                    answer.set(ALLOW_ORIGIN, origin.clone());
                }
                _ => return,
            }
        }
        answer.set(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// A header's value of names, which are no other than such as a value may hold.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    HeaderValue::from_str(&names.collect::<Vec<_>>().join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}
