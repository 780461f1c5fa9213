//! Problem documents (RFC 7807): the one table of everything that can go wrong towards a client.
//!
//! Clients switch on `type`, so slugs, status codes and titles are a contract with programs written years ago.
//! What a person needs beyond the title stands behind it in parentheses.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Answer;

/// Where problem types live; the slug follows.
const TYPE_PREFIX: &str = "https://api.backend.ai/probs/";

/// What went wrong, as told to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    kind: Kind,
    extra: Option<String>,
    members: Map<String, Value>,
    retry_after: Option<u64>,
}

/// How an agent failed, for the four problems that carry `agent-details`.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentFault {
    /// No answer in time.
    Timeout,
    /// The agent refused its arguments, or answered what we do not understand; with its own words.
    InvalidInput(String),
    /// The agent raised an exception (`Name(args)`), or the connection to it was lost.
    Failure(String),
}

macro_rules! catalogue {
    ($($name:ident = $slug:literal, $status:literal, $title:literal;)*) => {
        /// A kind of problem: a row of the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $title] $name,)*
        }

        impl Kind {
            /// Every kind, in the order of the catalogue.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),*];

            /// The last part of the problem's `type`.
            pub fn slug(self) -> &'static str {
                match self { $(Kind::$name => $slug),* }
            }

            /// The HTTP status code.
            pub fn status(self) -> StatusCode {
                const fn code(number: u16) -> StatusCode {
                    match StatusCode::from_u16(number) {
                        Ok(status) => status,
                        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
                    }
                }
                match self { $(Kind::$name => const { code($status) }),* }
            }

            /// The title, without what stands behind it in parentheses.
            pub fn title(self) -> &'static str {
                match self { $(Kind::$name => $title),* }
            }
        }
    };
}

catalogue! {
    GeneralError = "general-error", 500, "General Backend API Error.";
    NotFound = "generic-not-found", 404, "Unknown URL path.";
    BadRequest = "generic-bad-request", 400, "Bad request.";
    MethodNotAllowed = "method-not-allowed", 405, "HTTP Method Not Allowed.";
    InternalServerError = "internal-server-error", 500, "Internal server error.";
    ServiceUnavailable = "service-unavailable", 503, "Service unavailable.";
    NotImplemented = "not-implemented", 503, "This API query is not implemented.";
    InvalidAuthParams = "invalid-auth-params", 400, "Missing or invalid authorization parameters.";
    AuthFailed = "auth-failed", 401, "Credential/signature mismatch.";
    InvalidApiParams = "invalid-api-params", 400, "Missing or invalid API parameters.";
    InstanceNotFound = "instance-not-found", 404, "No such instance.";
    ImageNotFound = "image-not-found", 404, "No such environment image.";
    KernelNotFound = "kernel-not-found", 404, "No such kernel.";
    KernelAlreadyExists = "kernel-already-exists", 400, "The kernel already exists with a different runtime type (language).";
    FolderNotFound = "folder-not-found", 404, "No such virtual folder.";
    FolderAlreadyExists = "folder-already-exists", 400, "The virtual folder already exists with the same name.";
    FolderInUse = "folder-in-use", 409, "A session has the virtual folder mounted.";
    QuotaExceeded = "quota-exceeded", 412, "You have reached your resource limit.";
    RateLimitExceeded = "rate-limit-exceeded", 429, "You have reached your API query rate limit.";
    InstanceNotAvailable = "instance-not-available", 503, "There is no available instance.";
    KernelCreationFailed = "kernel-creation-failed", 500, "Kernel creation has failed.";
    KernelDestructionFailed = "kernel-destruction-failed", 500, "Kernel destruction has failed.";
    KernelRestartFailed = "kernel-restart-failed", 500, "Kernel restart has failed.";
    KernelExecutionFailed = "kernel-execution-failed", 500, "Executing user code in the kernel has failed.";
    RequestTimeout = "request-timeout", 408, "The request arrived too slowly.";
    BodyTooLarge = "body-too-large", 413, "The request's body is too large.";
    UriTooLong = "uri-too-long", 414, "The request's URL is too long.";
    UpgradeRequired = "upgrade-required", 426, "The route speaks WebSocket.";
    HeadersTooLarge = "headers-too-large", 431, "The request's headers are too large.";
}

// === impl Problem ===

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Problem { kind, extra: None, members: Map::new(), retry_after: None }
    }
}

impl Kind {
    /// The problem of this kind with something for a person to read behind its title.
    pub fn because(self, extra: impl Into<String>) -> Problem {
        Problem { extra: Some(extra.into()), ..self.into() }
    }

    /// The problem of this kind with how the agent failed.
    pub fn of_agent(self, fault: &AgentFault) -> Problem {
        Problem::from(self).with("agent-details", fault.to_json())
    }
}

impl Problem {
    /// The row of the catalogue.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds a member to the document.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Adds a `Retry-After` header, in seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What is wrong, in words, with what there is to say beyond the kind's own title.
    pub fn title(&self) -> String {
        match &self.extra {
            Some(extra) => format!("{} ({extra})", self.kind.title()),
            None => self.kind.title().to_owned(),
        }
    }

    /// The document.
    pub fn to_json(&self) -> Value {
        let title = self.title();
        let mut document = json!({"type": format!("{TYPE_PREFIX}{}", self.kind.slug()), "title": title});
        if let Some(object) = document.as_object_mut() {
            object.extend(self.members.clone());
        }
        document
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Answer {
        let mut answer = Answer::json(problem.kind.status(), &problem.to_json());
        answer.set(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = problem.retry_after {
            answer.set(http::header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}

// === impl AgentFault ===

impl AgentFault {
    fn to_json(&self) -> Value {
        let (slug, title, exception) = match self {
            AgentFault::Timeout => ("agent-timeout", "The agent did not answer in time.", None),
            AgentFault::InvalidInput(text) => ("agent-invalid-input", "The agent refused its input.", Some(text)),
            AgentFault::Failure(text) => ("agent-failure", "The agent has failed.", Some(text)),
        };
        let mut details = json!({"type": format!("{TYPE_PREFIX}{slug}"), "title": title});
        if let (Some(object), Some(exception)) = (details.as_object_mut(), exception) {
            object.insert("exception".into(), json!(exception));
        }
        details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_its_type_and_title_and_what_was_added() {
        let problem = Kind::InvalidApiParams.because("lang is missing or empty!");
        assert_eq!(
            problem.to_json(),
            json!({
                "type": "https://api.backend.ai/probs/invalid-api-params",
                "title": "Missing or invalid API parameters. (lang is missing or empty!)",
            })
        );
    }

    #[test]
    fn faults_of_agents_name_the_exception() {
        let problem = Kind::KernelExecutionFailed.of_agent(&AgentFault::Failure("RuntimeError('boom', 1)".into()));
        let document = problem.to_json();
        assert_eq!(document["agent-details"]["type"], "https://api.backend.ai/probs/agent-failure");
        assert_eq!(document["agent-details"]["exception"], "RuntimeError('boom', 1)");
    }

    #[test]
    fn slugs_are_unique() {
        let mut slugs: Vec<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }

    #[test]
    fn the_catalogue_in_docs_is_this_one() {
        let rows: String = Kind::ALL
            .iter()
            .map(|kind| format!("| `{}` | {} | {} |\n", kind.slug(), kind.status().as_u16(), kind.title()))
            .collect();
        crate::golden::check("docs/errors.md", &format!("{ERRORS_HEAD}{rows}"));
    }

    const ERRORS_HEAD: &str = "# Problems\n\nEvery error is answered with a problem document (RFC 7807, \
        `application/problem+json`): `{\"type\": \"https://api.backend.ai/probs/<slug>\", \"title\": …}`. \
        Switch on `type`; what stands behind the title in parentheses is for people. The four `kernel-…-failed` \
        problems carry `agent-details` with a `type` of `agent-timeout`, `agent-invalid-input` or `agent-failure`.\n\n\
        This page is generated: `UPDATE_GOLDENS=1 cargo test --lib the_catalogue_in_docs` renews it.\n\n\
        | slug | status | title |\n|---|---|---|\n";
}
