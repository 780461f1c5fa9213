//! The description of the REST API (OpenAPI 3.1).
//!
//! Methods, paths, who may call and what counts come from the table of routes, problems from the catalogue; what
//! else there is to say of a route is declared here, by method and path. A route without a declaration is a failing
//! test, a declaration without a route is not in the document, and what the routes answer is compared with it by
//! tests that generate requests from it (tests/e2e/test_schema.py).
//!
//! Paths stand without the version's prefix, which is a variable of the server's URL; so every path is there once,
//! and a generated client says its version in one place.

mod components;
mod files;
mod folder;
mod general;
mod operation;
mod page;
mod problems;
mod schema;
mod session;
mod stream;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use self::operation::Operation;
use super::{
    Call,
    route::{ROUTES, Route},
};
use crate::{
    auth::ApiVersion,
    http::{Answer, Problem},
};

/// The document as text.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));
    &TEXT
}

/// The document as a page for people.
pub fn page() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| page::render(&document()));
    &PAGE
}

/// `GET /openapi.json`.
///
/// # Errors
/// None.
pub async fn show(_call: Call) -> Result<Answer, Problem> {
    const TYPE: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
    Ok(Answer::bytes(StatusCode::OK, TYPE, Bytes::from_static(text().as_bytes())))
}

/// What is declared of a route.
fn describe(route: &Route) -> Option<Operation> {
    let all = [general::describe, session::describe, files::describe, stream::describe, folder::describe];
    all.iter().find_map(|describe| describe(route.method.as_str(), route.path))
}

fn document() -> Value {
    let ids: Vec<_> = ROUTES.iter().filter_map(|route| Some(describe(route)?.id())).collect();
    let mut paths = Map::new();
    for route in ROUTES {
        let Some(operation) = describe(route) else { continue };
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            let method = route.method.as_str().to_ascii_lowercase();
            item.insert(method, operation.document(route, |id| ids.contains(&id)));
        }
    }
    let paths = Value::Object(paths);
    let responses = Value::Object(components::responses(&paths));
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Backend.AI API Gateway",
            "version": ApiVersion::LATEST.to_string(),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/{version}", "variables": {"version": versions()}}],
        "components": {
            "schemas": components::reachable(&[&paths, &responses], &schemas()),
            "responses": responses,
            "headers": components::headers(),
            "parameters": components::parameters(),
            "securitySchemes": components::security_schemes(),
        },
        "paths": paths,
    })
}

const DESCRIPTION: &str = "Compute sessions, virtual folders and their administration. \
    Every path exists below the prefix of each version, and without a prefix, where the version is the one of the \
    version header, or the latest. A slash at the end of a collection's path is optional. `X-Method-Override` names a \
    method that stands in for the one that is sent.\n\n\
    Every error is a problem document (RFC 7807); programs switch on its `type`.";

fn versions() -> Value {
    let names: Vec<String> = ApiVersion::KNOWN.iter().map(|version| format!("v{}", version.major())).collect();
    json!({"enum": names, "default": format!("v{}", ApiVersion::LATEST.major())})
}

fn schemas() -> Map<String, Value> {
    let declared = [general::components(), session::components(), folder::components()].into_iter().flatten();
    declared.map(|(name, schema)| (name.to_owned(), schema)).chain(problems::components()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> Vec<Value> {
        let document = document();
        let items = document["paths"].as_object().unwrap().values();
        items.flat_map(|item| item.as_object().unwrap().values().cloned()).collect()
    }

    #[test]
    fn every_route_is_described() {
        let missing: Vec<_> =
            ROUTES.iter().filter(|route| describe(route).is_none()).map(|it| (&it.method, it.path)).collect();
        assert!(missing.is_empty(), "routes without a declaration in src/api/openapi: {missing:?}");
        assert_eq!(operations().len(), ROUTES.len());
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let mut ids: Vec<_> = operations().iter().map(|it| it["operationId"].to_string()).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }

    #[test]
    fn parts_of_paths_are_declared_and_no_others() {
        for (path, item) in document()["paths"].as_object().unwrap() {
            let wanted: Vec<_> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            for operation in item.as_object().unwrap().values() {
                let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
                let of_path = parameters.iter().filter(|it| it["in"] == "path");
                assert_eq!(of_path.map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(), wanted, "{path}");
            }
        }
    }

    #[test]
    fn what_is_referred_to_is_there() {
        let document = document();
        let mut found = Vec::new();
        components::references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn links_lead_to_operations() {
        let operations = operations();
        let ids: Vec<_> = operations.iter().map(|it| &it["operationId"]).collect();
        let answers = operations.iter().flat_map(|it| it["responses"].as_object().unwrap().values());
        let links: Vec<_> = answers.filter_map(|it| it["links"].as_object()).flat_map(|it| it.values()).collect();
        assert!(links.len() > 5);
        assert!(links.iter().all(|link| ids.contains(&&link["operationId"])));
    }

    #[test]
    fn the_document_in_docs_is_this_one() {
        crate::golden::check("docs/openapi.json", text());
    }
}
