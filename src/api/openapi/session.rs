//! `/kernel/…`: sessions.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    operation::Operation,
    schema::{any, boolean, constant, count, integer, list, nullable, object, one_of, pattern, reference, text, with},
};
use crate::http::Kind;

const TAG: &str = "Sessions";

/// What there is to say of a route.
pub fn describe(method: &str, path: &str) -> Option<Operation> {
    Some(match (method, path) {
        ("POST", "/kernel/create") => create("createSession"),
        ("POST", "/kernel") => create("createSessionInCollection"),
        ("GET", "/kernel/{id}") => of_session("getSession", "What a session is, and what it used").json(
            StatusCode::OK,
            "The session.",
            reference("Session"),
        ),
        ("DELETE", "/kernel/{id}") => of_session("destroySession", "Ends a session")
            .json(StatusCode::OK, "It is gone for later calls.", object([("stats", nullable(object([])))]))
            .problems(&[Kind::KernelDestructionFailed]),
        ("PATCH", "/kernel/{id}") => of_session("restartSession", "Restarts a session's kernel")
            .text("Its files stay, its variables go. Clients that cannot send PATCH send `X-Method-Override: PATCH`.")
            .empty(StatusCode::NO_CONTENT, "It runs again.")
            .problems(&[Kind::KernelRestartFailed]),
        ("POST", "/kernel/{id}") => execute(),
        ("POST", "/kernel/{id}/interrupt") => asks_agent("interruptSession", "Interrupts what runs, as Ctrl-C would")
            .empty(StatusCode::NO_CONTENT, "The kernel was told."),
        ("POST", "/kernel/{id}/complete") => asks_agent("completeCode", "How a line of code may go on")
            .body(
                "CompletionRequest",
                json!({"code": "pri", "options": {"post": "", "line": "pri", "row": 0, "col": 3}}),
            )
            .json(StatusCode::OK, "The completions.", object([("result", reference("CompletionResult"))])),
        ("GET", "/kernel/{id}/logs") => asks_agent("getSessionLogs", "What a kernel logged").json(
            StatusCode::OK,
            "The log.",
            object([("result", object([("logs", text(""))]))]),
        ),
        _ => return None,
    })
}

/// The schemas of bodies and answers.
pub fn components() -> Vec<(&'static str, Value)> {
    vec![
        ("SessionRequest", session_request()),
        ("SessionConfig", session_config()),
        ("Session", session()),
        ("RunRequest", run_request()),
        ("RunResult", run_result()),
        ("RunResultV1", run_result_v1()),
        ("CompletionRequest", completion_request()),
        (
            "CompletionResult",
            object([("status", constant("finished", "")), ("completions", any("The texts that may follow."))]),
        ),
    ]
}

/// The name of a session in a path.
pub fn session_name() -> Value {
    pattern("^[A-Za-z0-9._-]{4,64}$", "The session's name: its `clientSessionToken`.")
}

/// An operation on a session.
pub fn of_session(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, TAG, summary).path("id", session_name())
}

/// One that its agent may fail at, or be too old for.
pub fn asks_agent(id: &'static str, summary: &'static str) -> Operation {
    of_session(id, summary).problems(&[Kind::KernelExecutionFailed, Kind::NotImplemented])
}

fn create(id: &'static str) -> Operation {
    let named = json!({"id": "$response.body#/kernelId"});
    let code = |mode: &str, code: &str| json!({"mode": mode, "runId": null, "code": code});
    Operation::new(id, TAG, "Gets the session of a name, or makes it")
        .text(
            "Two requests at once with one token make one session. `config` is ignored in version 1; a member that \
             is null counts as missing.",
        )
        .body("SessionRequest", json!({"lang": "python", "clientSessionToken": "my-first"}))
        .json(
            StatusCode::CREATED,
            "The session.",
            object([
                ("kernelId", pattern("^[A-Za-z0-9._-]{4,64}$", "Its name: the token.")),
                ("created", boolean("Whether it was not there before.")),
            ]),
        )
        .problems(&[
            Kind::ImageNotFound,
            Kind::FolderNotFound,
            Kind::KernelAlreadyExists,
            Kind::QuotaExceeded,
            Kind::InstanceNotAvailable,
            Kind::KernelCreationFailed,
        ])
        .link(StatusCode::CREATED, "getSession", named.clone())
        .link_with_body(StatusCode::CREATED, "executeCode", named.clone(), code("query", "print(6 * 7)"))
        .link(StatusCode::CREATED, "completeCode", named.clone())
        .link(StatusCode::CREATED, "interruptSession", named.clone())
        .link(StatusCode::CREATED, "getSessionLogs", named.clone())
        .link(StatusCode::CREATED, "listSessionFiles", named.clone())
        .link(StatusCode::CREATED, "uploadSessionFiles", named.clone())
        .link(StatusCode::CREATED, "restartSession", named.clone())
        .link(StatusCode::CREATED, "destroySession", named)
}

fn execute() -> Operation {
    let result = json!({"anyOf": [reference("RunResult"), reference("RunResultV1")]});
    let go_on = json!({"mode": "continue", "runId": "$response.body#/result/runId", "code": ""});
    asks_agent("executeCode", "Runs code, and follows a run")
        .text(
            "A run begins with `query` or `batch`. The answer comes after about two seconds at the latest, with what \
             the run has written so far; while its `status` is `continued`, go on with `continue`, where it is \
             `waiting-input`, with `input`, in both cases with the `runId` of the answer. In version 1 `mode` is \
             always `query` and `runId` may be missing.",
        )
        .body("RunRequest", json!({"mode": "query", "runId": null, "code": "print(6 * 7)"}))
        .json(StatusCode::OK, "How the run stands.", object([("result", result)]))
        .link_with_body(StatusCode::OK, "executeCode", json!({"id": "$request.path.id"}), go_on)
}

fn session_request() -> Value {
    object([
        ("lang", with(text("An image: its name, an alias, or `name:tag`."), "minLength", json!(1))),
        (
            "clientSessionToken",
            pattern("^[A-Za-z0-9._-]{4,64}$", "The session's name, unique among the key's live ones."),
        ),
        ("config?", nullable(reference("SessionConfig"))),
        ("tag?", nullable(no_nul("A note of the client's, of which 64 characters are kept."))),
        ("reuseIfExists?", nullable(boolean("Whether a live session of that name will do (default: true)."))),
    ])
}

fn session_config() -> Value {
    let digits = |first: &str| {
        let form = format!("^[ \\t]*\\+?{first}([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]{{1,2}})?[ \\t]*$");
        pattern(&form, "As clients from release 1.4 on write it.")
    };
    let amount = |description: &str, number: Value, text: Value| json!({"description": description, "anyOf": [number, text, {"type": "null"}]});
    let above_0 = |description: &str| {
        amount(description, json!({"type": "number", "exclusiveMinimum": 0}), digits("(?=[^eE]*[1-9])"))
    };
    let from_0 = |description: &str| amount(description, json!({"type": "number", "minimum": 0}), digits(""));
    let environ = json!({
        "type": "object",
        "description": "Environment variables.",
        "propertyNames": {"pattern": "^[^=\\u0000]+$"},
        "additionalProperties": {"type": ["string", "number"], "pattern": "^[^\\u0000]*$"},
    });
    object([
        ("mounts?", nullable(with(list(no_nul("")), "description", json!("Names of virtual folders.")))),
        ("environ?", nullable(environ)),
        ("clusterSize?", json!({"enum": [1, "1", null], "description": "Kernels of the session: only 1."})),
        ("instanceMemory?", above_0("MiB.")),
        ("instanceCores?", above_0("Cores.")),
        ("instanceGPUs?", from_0("GPUs, in fractions.")),
    ])
}

fn session() -> Value {
    let none = || constant(-1, "Not limited.");
    object([
        ("lang", text("Its image: `name:tag`.")),
        ("age", count("Milliseconds.")),
        ("queryTimeout", none()),
        ("idleTimeout", none()),
        ("memoryLimit", count("KiB.")),
        ("maxCpuCredit", none()),
        ("numQueriesExecuted", with(count("Calls of the session, this one included."), "minimum", json!(1))),
        ("idle", none()),
        ("memoryUsed", count("KiB.")),
        ("cpuCreditUsed", count("Milliseconds.")),
    ])
}

fn run_request() -> Value {
    let modes = ["query", "batch", "complete", "continue", "input"];
    let run_id = pattern("^[!-~]{1,64}$", "The run; null begins one with an id of the server's.");
    let options = "For `batch`: `clean`, `build`, `exec` (commands, or `*` for the image's own), `buildLog`.";
    let members = object([
        ("mode", one_of(&modes, "")),
        ("runId", nullable(run_id)),
        ("code?", nullable(text("The code, or the input; `query` needs it."))),
        ("options?", nullable(json!({"type": "object", "description": options}))),
    ]);
    let mode = |names: &[&str]| json!({"properties": {"mode": {"enum": names}}});
    let rules = json!([
        {"if": mode(&["continue", "input"]), "then": {"properties": {"runId": {"type": "string"}}}},
        {"if": mode(&["query"]), "then": {"required": ["code"], "properties": {"code": {"type": "string"}}}},
    ]);
    with(members, "allOf", rules)
}

/// The members that results of all versions have.
fn run_result_members() -> [(&'static str, Value); 5] {
    let statuses = ["continued", "build-finished", "clean-finished", "waiting-input", "finished"];
    let file = object([("name?", text("")), ("url?", nullable(text("")))]);
    [
        ("runId", text("")),
        ("status", one_of(&statuses, "")),
        ("exitCode", nullable(integer("Of a run that ended; 130 where its kernel went away."))),
        ("options", nullable(object([("is_password?", boolean("Of `waiting-input`: whether not to show it."))]))),
        ("files", nullable(list(file))),
    ]
}

fn run_result() -> Value {
    let streams = ["stdout", "stderr", "media", "html", "log"];
    let record = json!({
        "type": "array",
        "description": "A stream and what was written to it: a text, or for `media` its type and data.",
        "prefixItems": [{"enum": streams}, {"type": ["string", "array", "object"]}],
        "minItems": 2,
        "maxItems": 2,
    });
    let own = [("console", list(record)), ("completions", any("Of mode `complete`."))];
    with(object(run_result_members().into_iter().chain(own)), "title", json!("From version 2 on"))
}

fn run_result_v1() -> Value {
    let own =
        [("stdout", text("")), ("stderr", text("")), ("media", list(any("Type and data."))), ("html", list(any("")))];
    with(object(run_result_members().into_iter().chain(own)), "title", json!("Version 1"))
}

fn completion_request() -> Value {
    let options = object([
        ("post?", any("The text behind the cursor.")),
        ("line?", any("The line of the cursor.")),
        ("row?", any("Its number.")),
        ("col?", any("The cursor's column.")),
    ]);
    object([("code", text("The text before the cursor.")), ("options?", nullable(options))])
}

/// A text that a C program can take.
fn no_nul(description: &str) -> Value {
    pattern("^[^\\u0000]*$", description)
}
