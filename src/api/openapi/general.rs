//! The routes that are about no session and no folder.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    operation::Operation,
    schema::{any, constant, nullable, object, pattern, text},
};
use crate::{auth::ApiVersion, http::Kind};

/// What there is to say of a route.
pub fn describe(method: &str, path: &str) -> Option<Operation> {
    Some(match (method, path) {
        ("GET", "/") => Operation::new("getVersion", "General", "The latest version of the API").json(
            StatusCode::OK,
            "The version.",
            object([("version", constant(ApiVersion::LATEST.to_string(), ""))]),
        ),
        ("GET", "/openapi.json") => Operation::new("getDescription", "General", "This document").json(
            StatusCode::OK,
            "An OpenAPI document.",
            object([("openapi", pattern("^3\\.1\\.", "")), ("paths", object([]))]),
        ),
        ("GET", "/authorize") => authorize("authorizeByGet"),
        ("POST", "/authorize") => authorize("authorize"),
        ("GET", "/auth") => authorize("authByGet"),
        ("POST", "/auth") => authorize("auth"),
        ("GET", "/auth/test") => authorize("testAuthByGet"),
        ("POST", "/auth/test") => authorize("testAuth"),
        ("POST", "/admin/graphql") => graphql(),
        ("POST", "/folder/create") => old("createOldFolder"),
        ("GET", "/folder/{id}") => old("getOldFolder").path("id", text("")),
        ("DELETE", "/folder/{id}") => old("deleteOldFolder").path("id", text("")),
        _ => return None,
    })
}

/// The schemas of bodies and answers.
pub fn components() -> Vec<(&'static str, Value)> {
    vec![
        ("Echo", object([("echo", text("Any text."))])),
        ("Authorized", object([("authorized", constant("yes", "")), ("echo", text("The text of the request."))])),
        (
            "Query",
            object([("query", text("")), ("variables?", nullable(object([]))), ("operationName?", nullable(text("")))]),
        ),
    ]
}

fn authorize(id: &'static str) -> Operation {
    let document = json!({"schema": {"$ref": "#/components/schemas/Echo"}, "example": {"echo": "hello"}});
    Operation::new(id, "General", "Tries a key").body_with_problems_of_its_own("application/json", document).json(
        StatusCode::OK,
        "The key is good.",
        json!({"$ref": "#/components/schemas/Authorized"}),
    )
}

fn graphql() -> Operation {
    Operation::new("queryGraphql", "Administration", "The cluster's objects, by GraphQL")
        .text(
            "An admin's key sees all, another its own. The answer is the data itself, without `data` around it; with \
             `Accept: application/graphql-response+json` it follows GraphQL over HTTP instead.",
        )
        .body("Query", json!({"query": "{ keypair { access_key rate_limit } }"}))
        .answer(
            StatusCode::OK,
            "The data.",
            json!({
                "application/json": {"schema": object([])},
                "application/graphql-response+json": {"schema": object([("data?", any("")), ("errors?", any(""))])},
            }),
        )
        .problems(&[Kind::GeneralError])
}

/// A route that was announced once and never came.
fn old(id: &'static str) -> Operation {
    Operation::new(id, "General", "Not implemented").problems(&[Kind::NotImplemented])
}
