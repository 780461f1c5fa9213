//! Who is at the other end of a stream, and what each of its messages costs.
//!
//! A message passes the same gate as a request: it counts as a query of the session and towards the key's limit, and
//! the key must be active still.

use std::rc::Rc;

use serde_json::Value;

use super::websocket::{Close, Code};
use crate::{
    http::{Kind, Problem},
    ratelimit::{Charge, Gate, SessionCount},
    registry::{Error, Registry, Session},
    store::keyring::Keyring,
};

/// The caller of a stream, and the session that it is about.
pub struct Caller {
    /// The rules of sessions.
    pub registry: Rc<Registry>,
    /// What every message passes.
    pub gate: Gate,
    /// Where the key is looked up again.
    pub keyring: Keyring,
    /// Whose key it is.
    pub access_key: Rc<str>,
    /// The session; its owner may be another, where an admin calls.
    pub session: Rc<Session>,
    /// What a client is told of a failure of the registry.
    pub explain: fn(Error) -> Problem,
}

/// Longest line of an error that a client is told, in characters.
const LINE_MAX: usize = 2000;

/// Why a message is not obeyed.
#[derive(Debug)]
pub enum Refusal {
    /// It is told so, and may go on.
    Told(Problem),
    /// The stream ends.
    Ended(Close),
}

// === impl Caller ===

impl Caller {
    /// Counts a message; gives how that run stands, where Redis knows.
    pub(super) async fn count(&self, run: Option<&str>) -> Result<Option<String>, Refusal> {
        let away = || Refusal::Told(Kind::ServiceUnavailable.into());
        let found = self.keyring.find(&self.access_key).await.map_err(|_| away())?;
        let key = found.filter(|key| key.is_active).ok_or_else(|| Refusal::Ended(inactive()))?;
        let (access_key, session) = (&*self.access_key, Some(self.session.id));
        let charge = Charge { access_key, limit: key.rate_limit, session, run };
        let verdict = self.gate.admit(charge).await.map_err(|_| away())?;
        if !verdict.allowed {
            let again = format!("again in {} s", verdict.retry_ms.div_ceil(1000));
            return Err(Refusal::Told(Kind::RateLimitExceeded.because(again)));
        }
        if !matches!(verdict.session, SessionCount::Total(_)) {
            self.registry.count_anew(&self.session).await.map_err(|error| self.refusal(error))?;
        }
        Ok(verdict.run)
    }

    /// Waits until the key may not be used any more.
    pub(super) async fn is_shut_out(&self) {
        is_shut_out(&self.keyring, &self.access_key).await;
    }

    /// What a failure of the registry means for the stream.
    pub(super) fn refusal(&self, error: Error) -> Refusal {
        match error {
            Error::SessionNotFound => Refusal::Ended(ended("gone")),
            error => Refusal::Told((self.explain)(error)),
        }
    }
}

/// Waits until a key may not be used any more; while nobody can tell, it may. A change is heard of at once, and what
/// was missed when the connection to PostgreSQL is new.
pub async fn is_shut_out(keyring: &Keyring, access_key: &Rc<str>) {
    let watch = keyring.watch(access_key);
    loop {
        let changed = watch.changed();
        // What an idle stream holds is what it costs: the looking up takes its memory for its own time only.
        if Box::pin(keyring.find(access_key)).await.is_ok_and(|found| found.is_none_or(|key| !key.is_active)) {
            return;
        }
        changed.await;
    }
}

/// How a stream ends whose session has ended.
pub(super) fn ended(why: &str) -> Close {
    Close::new(Code::Done, format!("the session has ended ({why})"))
}

/// How a stream ends whose key was switched off.
pub(super) fn inactive() -> Close {
    Close::new(Code::Policy, "the key pair is not active any more")
}

/// How a stream ends whose worker drains.
pub(super) fn going_away() -> Close {
    Close::new(Code::GoingAway, "this worker of the gateway ends; connect again")
}

/// A problem in one line: its title, and how the agent failed.
pub(super) fn line(problem: &Problem) -> String {
    let document = problem.to_json();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let details = document.get("agent-details").and_then(|d| text(d.get("exception").or_else(|| d.get("title"))?));
    let title = document.get("title").and_then(text).unwrap_or_default();
    let line = details.map_or(title.clone(), |details| format!("{title} {details}"));
    line.chars().take(LINE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::AgentFault;

    #[test]
    fn a_problem_is_told_in_one_line() {
        let line_of = |problem: Problem| line(&problem);
        assert_eq!(line_of(Kind::RateLimitExceeded.because("again in 3 s")), {
            "You have reached your API query rate limit. (again in 3 s)"
        });
        let failed = Kind::KernelExecutionFailed.of_agent(&AgentFault::Failure("RuntimeError('boom')".into()));
        assert_eq!(line_of(failed), "Executing user code in the kernel has failed. RuntimeError('boom')");
        let late = Kind::KernelExecutionFailed.of_agent(&AgentFault::Timeout);
        assert!(line_of(late).ends_with("The agent did not answer in time."));
    }
}
