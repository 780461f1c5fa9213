//! What admins do for others by the REST API, noted in the audit log.
//!
//! What is only looked at is not noted, except where looking is acting: a terminal and a stream of runs.

use http::Method;
use serde_json::json;

use super::{
    Call,
    route::{Access, Counts, Route},
    translate::to_problem,
};
use crate::{
    http::{Answer, Problem},
    registry::Action,
    store::postgres::audit::{Outcome, Via},
};

/// What is to be noted of a call: nothing where a key acts for itself, or changes nothing.
pub fn action(call: &Call, route: &Route) -> Option<Action> {
    let for_another = call.key.as_ref().is_some_and(|key| key.access_key != call.owner);
    let acts = !route.method.is_safe() || (route.access == Access::Ticket && route.counts == Counts::Session);
    if !for_another || !acts {
        return None;
    }
    let target_type = if route.path.starts_with("/folders") { "vfolder" } else { "session" };
    Some(Action {
        name: format!("{} {}", route.method, route.path),
        target_type,
        target: target(call, route),
        detail: json!({"owner": *call.owner}),
    })
}

/// Does a call and notes it.
///
/// # Errors
/// The call's own, or it cannot be noted.
pub async fn noted(call: Call, route: &'static Route, action: Action) -> Result<Answer, Problem> {
    let (registry, actor) = (call.api.registry.clone(), call.actor(Via::Rest));
    let answered = registry.noted(actor, action, (route.handler)(call), outcome).await;
    answered.map_err(to_problem)?
}

/// The name in the path, or the one that what is made will have.
fn target(call: &Call, route: &Route) -> String {
    if call.param.is_some() || route.method != Method::POST {
        return call.param();
    }
    let fields = call.fields().ok();
    let named = |name| fields.as_ref().and_then(|fields| fields.text(name).ok().flatten());
    named("clientSessionToken").or_else(|| named("name")).unwrap_or_default().to_owned()
}

fn outcome(answered: &Result<Answer, Problem>) -> Outcome {
    match answered {
        Ok(_) => Outcome::Done,
        Err(problem) if problem.kind().status().is_server_error() => Outcome::Failed(problem.title()),
        Err(problem) => Outcome::Refused(problem.title()),
    }
}
