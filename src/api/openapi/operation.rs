//! What a declaration says of a route, and how that is written in the document.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    problems,
    schema::{reference, with},
};
use crate::{
    api::route::{Access, Counts, Route},
    http::Kind,
};

/// What there is to say of a route besides its row in the table.
pub struct Operation {
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(StatusCode, Value)>,
    problems: Vec<Kind>,
    links: Vec<(StatusCode, Link)>,
    has_ticket: bool,
}

/// What may be called next with something of an answer.
struct Link {
    to: &'static str,
    parameters: Value,
    body: Option<Value>,
}

/// What a route that wants to know who asks may answer besides.
const OF_SIGNED_ROUTES: [Kind; 4] =
    [Kind::InvalidAuthParams, Kind::AuthFailed, Kind::RateLimitExceeded, Kind::ServiceUnavailable];

// === impl Operation ===

impl Operation {
    /// An operation: the name that programs have for it, its group, and what it does in a few words.
    pub fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Operation {
            id,
            tag,
            summary,
            description: String::new(),
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
            links: Vec::new(),
            has_ticket: false,
        }
    }

    /// The name that programs have for it.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// More about it, in Markdown.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// A part of the path.
    pub fn path(mut self, name: &str, schema: Value) -> Self {
        self.parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
        self
    }

    /// A parameter of the query that may be missing.
    pub fn query(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(json!({"name": name, "in": "query", "description": description, "schema": schema}));
        self
    }

    /// A parameter of the query that may not be missing.
    pub fn required_query(self, name: &str, description: &str, schema: Value) -> Self {
        let mut this = self.query(name, description, schema);
        this.parameters = this.parameters.into_iter().map(|it| require(it, name)).collect();
        this
    }

    /// A JSON body.
    pub fn body(self, schema: &str, example: Value) -> Self {
        self.body_of("application/json", json!({"schema": reference(schema), "example": example}))
    }

    /// A body of this type.
    pub fn body_of(mut self, media_type: &str, media: Value) -> Self {
        self.problems.push(Kind::InvalidApiParams);
        self.body_with_problems_of_its_own(media_type, media)
    }

    /// A body of this type that is not refused as others are.
    pub fn body_with_problems_of_its_own(mut self, media_type: &str, media: Value) -> Self {
        self.body = Some(json!({"required": true, "content": {media_type: media}}));
        self
    }

    /// That the body may be missing.
    pub fn body_may_be_missing(mut self) -> Self {
        self.body = self.body.map(|body| with(body, "required", json!(false)));
        self
    }

    /// A JSON answer.
    pub fn json(self, status: StatusCode, description: &str, schema: Value) -> Self {
        self.answer(status, description, json!({"application/json": {"schema": schema}}))
    }

    /// An answer without a body.
    pub fn empty(self, status: StatusCode, description: &str) -> Self {
        self.answer(status, description, Value::Null)
    }

    /// An answer of other types.
    pub fn answer(mut self, status: StatusCode, description: &str, content: Value) -> Self {
        let mut answer = json!({"description": description});
        if !content.is_null() {
            answer = with(answer, "content", content);
        }
        self.answers.push((status, answer));
        self
    }

    /// What can go wrong, besides what can with every route of its access.
    pub fn problems(mut self, kinds: &[Kind]) -> Self {
        self.problems.extend(kinds);
        self
    }

    /// That an answer gives the parameters of another operation.
    pub fn link(mut self, status: StatusCode, to: &'static str, parameters: Value) -> Self {
        self.links.push((status, Link { to, parameters, body: None }));
        self
    }

    /// That an answer gives the parameters and the body of another operation.
    pub fn link_with_body(mut self, status: StatusCode, to: &'static str, parameters: Value, body: Value) -> Self {
        self.links.push((status, Link { to, parameters, body: Some(body) }));
        self
    }

    /// That a ticket in the query may stand for the signature.
    pub fn or_ticket(mut self) -> Self {
        self.has_ticket = true;
        self
    }

    /// As it stands in the document; links lead only to operations that are there.
    pub fn document(mut self, route: &Route, is_there: impl Fn(&str) -> bool) -> Value {
        self.problems.extend(problems::OF_EVERY_ROUTE);
        if route.access != Access::Open {
            self.problems.extend(OF_SIGNED_ROUTES);
            self.parameters.push(json!({"$ref": "#/components/parameters/owner_access_key"}));
        }
        if route.counts != Counts::Request {
            self.problems.push(Kind::KernelNotFound);
        }
        let mut document = json!({"operationId": self.id, "tags": [self.tag], "summary": self.summary});
        let mut put = |name: &str, value: Value| {
            if let Some(members) = document.as_object_mut() {
                members.insert(name.to_owned(), value);
            }
        };
        if !self.description.is_empty() {
            put("description", json!(self.description));
        }
        put("security", self.security(route));
        if !self.parameters.is_empty() {
            put("parameters", json!(self.parameters));
        }
        if let Some(body) = &self.body {
            put("requestBody", body.clone());
        }
        put("responses", self.responses(is_there));
        document
    }

    fn security(&self, route: &Route) -> Value {
        let signed = json!({"signature": [], "date": [], "version": []});
        match (route.access == Access::Open, self.has_ticket) {
            (true, _) => json!([]),
            (false, false) => json!([signed]),
            (false, true) => json!([signed, {"ticket": []}]),
        }
    }

    fn responses(&self, is_there: impl Fn(&str) -> bool) -> Value {
        let mut responses = Map::new();
        for (status, answer) in &self.answers {
            let links = self.links.iter().filter(|(of, link)| of == status && is_there(link.to));
            let links: Map<String, Value> = links.map(|(_, link)| (link.to.to_owned(), link.document())).collect();
            let mut answer = match status.is_informational() {
                true => answer.clone(),
                false => with(answer.clone(), "headers", headers()),
            };
            if !links.is_empty() {
                answer = with(answer, "links", Value::Object(links));
            }
            responses.insert(status.as_str().to_owned(), answer);
        }
        responses.extend(problems::responses(&self.problems));
        responses.sort_keys();
        Value::Object(responses)
    }
}

impl Link {
    fn document(&self) -> Value {
        let link = json!({"operationId": self.to, "parameters": self.parameters});
        match &self.body {
            Some(body) => with(link, "requestBody", body.clone()),
            None => link,
        }
    }
}

/// The headers of every answer that is no problem.
fn headers() -> Value {
    let names =
        ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Window", "X-RateLimit-Reset", "X-Request-ID"];
    let reference = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    Value::Object(names.into_iter().map(reference).collect())
}

fn require(parameter: Value, name: &str) -> Value {
    if parameter.get("name") == Some(&json!(name)) { with(parameter, "required", json!(true)) } else { parameter }
}
