//! The headers that tell a client how much it may still ask.

use http::{HeaderName, HeaderValue};

use crate::{
    auth::ApiVersion,
    http::{Answer, CommonHeaders},
    ratelimit::Verdict,
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const WINDOW: HeaderName = HeaderName::from_static("x-ratelimit-window");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Seconds of the window.
const WINDOW_S: HeaderValue = HeaderValue::from_static("900");
/// What is told where nobody is known to ask.
const ANONYMOUS: u32 = 1000;
/// The same, where nothing else is known either.
pub const UNREAD: CommonHeaders =
    &[("x-ratelimit-limit", "1000"), ("x-ratelimit-remaining", "1000"), ("x-ratelimit-window", "900")];

/// How a key's window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Nobody is known to ask.
    Unknown,
    /// After this request.
    Known {
        /// Requests in a window.
        limit: u32,
        /// What is left of them.
        remaining: u32,
        /// Until the oldest counted request leaves the window.
        reset_ms: u64,
    },
}

impl Rate {
    /// As the gate says.
    pub fn of(verdict: &Verdict) -> Self {
        Rate::Known { limit: verdict.limit, remaining: verdict.remaining, reset_ms: verdict.reset_ms }
    }

    /// Writes the headers; `Reset` for clients that speak a version below 4.
    pub fn write(self, answer: &mut Answer, version: ApiVersion) {
        let (limit, remaining, reset_ms) = match self {
            Rate::Unknown => (ANONYMOUS, ANONYMOUS, 0),
            Rate::Known { limit, remaining, reset_ms } => (limit, remaining, reset_ms),
        };
        answer.set(LIMIT, limit.into());
        answer.set(REMAINING, remaining.into());
        answer.set(WINDOW, WINDOW_S);
        if version.major() < 4 {
            answer.set(RESET, reset_ms.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_read_is_told_what_anybody_is() {
        let mut answer = Answer::empty(http::StatusCode::NO_CONTENT);
        Rate::Unknown.write(&mut answer, ApiVersion::LATEST);
        let response = answer.into_response();
        let told = |(name, value): &(&str, &str)| response.headers().get(*name).is_some_and(|it| it == value);
        assert!(UNREAD.iter().all(told) && !response.headers().contains_key(RESET));
    }
}
