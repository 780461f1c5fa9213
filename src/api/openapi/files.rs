//! `/kernel/{id}/files`, `/upload`, `/download`: a session's files.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    operation::Operation,
    schema::{list, object, pattern, text, with},
    session::asks_agent,
};
use crate::http::Kind;

/// What there is to say of a route.
pub fn describe(method: &str, path: &str) -> Option<Operation> {
    Some(match (method, path) {
        ("GET", "/kernel/{id}/files") => asks_agent("listSessionFiles", "What is in a folder of a session")
            .query("path", "The folder, relative to the session's own; that one where it is missing.", folder())
            .json(StatusCode::OK, "The folder.", listing())
            .problems(&[Kind::InvalidApiParams]),
        ("GET", "/kernel/{id}/download") => asks_agent("downloadSessionFiles", "Files of a session, as tar archives")
            .text("Older clients name the files in a JSON body. Where a later file fails, the answer breaks off.")
            .required_query("files", "Paths of files and folders.", several(inner_path(), 5))
            .answer(StatusCode::OK, "A part for each path.", archives())
            .problems(&[Kind::InvalidApiParams]),
        ("POST", "/kernel/{id}/upload") => asks_agent("uploadSessionFiles", "Puts files into a session")
            .text("At most 20 files of at most 1 MiB; the path of each is its part's file name.")
            .body_of("multipart/form-data", form(20))
            .empty(StatusCode::NO_CONTENT, "The files are there."),
        _ => return None,
    })
}

/// A path that stays inside.
fn inner_path() -> Value {
    pattern("^(?!/)(?!([^/]*/)*\\.\\.(/|$))[^\\u0000]+$", "A relative path without `..`.")
}

/// The path of a folder, or nothing.
fn folder() -> Value {
    json!({"anyOf": [inner_path(), {"const": ""}]})
}

/// 1 to `most` of something.
pub fn several(items: Value, most: u32) -> Value {
    with(with(list(items), "minItems", json!(1)), "maxItems", json!(most))
}

/// A form of that many files at most. What its parts are called does not matter; `src` is what old clients say.
pub fn form(most: u32) -> Value {
    let file = json!({"type": "string", "format": "binary"});
    json!({"schema": with(object([("src", several(file, most))]), "additionalProperties", json!(false))})
}

/// The content of a download.
pub fn archives() -> Value {
    json!({"multipart/mixed": {"schema": {"type": "string", "format": "binary"}}})
}

fn listing() -> Value {
    object([
        ("files", json_text("A JSON text: a list of `{mode, size, ctime, mtime, atime, filename}`.")),
        ("errors", text("What could not be listed.")),
        ("folder_path", text("The folder, as the session has it.")),
        ("abspath", text("The same.")),
    ])
}

/// A text with JSON in it.
pub fn json_text(description: &str) -> Value {
    with(text(description), "contentMediaType", json!("application/json"))
}
