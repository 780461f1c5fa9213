//! The catalogue of problems as components: one schema for each kind, one answer for each status of a route.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::schema::{constant, object, pattern, reference, text, with};
use crate::http::{Kind, Problem};

/// Where answers are among the components.
const PREFIX: &str = "#/components/responses/";

/// The kinds whose documents say how the agent failed.
const OF_AGENTS: [Kind; 4] =
    [Kind::KernelCreationFailed, Kind::KernelDestructionFailed, Kind::KernelRestartFailed, Kind::KernelExecutionFailed];

/// What a request can meet before its route is known, or in its body.
pub const OF_EVERY_ROUTE: [Kind; 5] =
    [Kind::BadRequest, Kind::RequestTimeout, Kind::BodyTooLarge, Kind::UriTooLong, Kind::HeadersTooLarge];

/// The answers for these kinds, by status: references to components, since many routes have the same ones.
pub fn responses(kinds: &[Kind]) -> impl Iterator<Item = (String, Value)> {
    let mut by_status = BTreeMap::<String, Vec<Kind>>::new();
    for kind in Kind::ALL.iter().filter(|kind| kinds.contains(kind)) {
        by_status.entry(kind.status().as_str().to_owned()).or_default().push(*kind);
    }
    by_status.into_iter().map(|(status, kinds)| {
        let slugs: Vec<_> = kinds.iter().map(|kind| kind.slug()).collect();
        (status, json!({"$ref": format!("{PREFIX}{}", slugs.join("."))}))
    })
}

/// The answer that a reference to a component means.
pub fn referred(reference: &str) -> Option<(String, Value)> {
    let name = reference.strip_prefix(PREFIX)?;
    let slugs: Vec<_> = name.split('.').collect();
    let kinds: Vec<_> = Kind::ALL.iter().copied().filter(|kind| slugs.contains(&kind.slug())).collect();
    Some((name.to_owned(), response(&kinds)))
}

/// The schemas of all kinds.
pub fn components() -> impl Iterator<Item = (String, Value)> {
    let kinds = Kind::ALL.iter().map(|kind| (component_name(*kind), schema(*kind)));
    kinds.chain([("AgentFault".to_owned(), agent_fault())])
}

fn response(kinds: &[Kind]) -> Value {
    let titles: Vec<String> = kinds.iter().map(|kind| format!("`{}`: {}", kind.slug(), kind.title())).collect();
    let schema = match kinds {
        [kind] => reference(&component_name(*kind)),
        kinds => json!({"oneOf": kinds.iter().map(|kind| reference(&component_name(*kind))).collect::<Vec<_>>()}),
    };
    json!({
        "description": titles.join("  \n"),
        "headers": headers(kinds),
        "content": {"application/problem+json": {"schema": schema}},
    })
}

fn headers(kinds: &[Kind]) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    let mut headers = json!({});
    if !kinds.iter().any(|kind| OF_EVERY_ROUTE.contains(kind)) {
        headers = with(headers, "X-Request-ID", reference("X-Request-ID"));
    }
    if kinds.contains(&Kind::RateLimitExceeded) {
        for name in
            ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Window", "X-RateLimit-Reset", "Retry-After"]
        {
            headers = with(headers, name, reference(name));
        }
    } else if kinds.contains(&Kind::ServiceUnavailable) {
        headers = with(headers, "Retry-After", reference("Retry-After"));
    }
    headers
}

fn component_name(kind: Kind) -> String {
    format!("problem.{}", kind.slug())
}

fn schema(kind: Kind) -> Value {
    let title = escaped(kind.title());
    let mut members = vec![
        (
            "type",
            constant(
                Problem::from(kind).to_json().get("type").cloned().unwrap_or_default(),
                "What programs switch on.",
            ),
        ),
        ("title", pattern(&format!("^{title}( \\([\\s\\S]*\\))?$"), "What people read.")),
    ];
    if OF_AGENTS.contains(&kind) {
        members.push(("agent-details", reference("AgentFault")));
    }
    with(object(members), "title", json!(kind.title()))
}

fn agent_fault() -> Value {
    let types = ["agent-timeout", "agent-invalid-input", "agent-failure"];
    let types: Vec<_> = types.iter().map(|slug| format!("https://api.backend.ai/probs/{slug}")).collect();
    object([
        ("type", json!({"type": "string", "enum": types})),
        ("title", text("")),
        ("exception?", text("`Name(args)`, as the agent raised it.")),
    ])
}

/// A text as a regular expression that matches it.
fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for character in text.chars() {
        if r"\^$.|?*+()[]{}/".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
