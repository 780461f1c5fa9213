//! What operations share: headers, parameters, ways to say who asks; and which schemas are in use.

use serde_json::{Map, Value, json};

use super::{
    problems,
    schema::{count, pattern, text},
};

/// The headers of answers.
pub fn headers() -> Value {
    let header = |description: &str, required: bool, schema: Value| json!({"description": description, "required": required, "schema": schema});
    json!({
        "X-RateLimit-Limit": header("Requests that the key may make in a window.", true, count("")),
        "X-RateLimit-Remaining": header("What is left of them.", true, count("")),
        "X-RateLimit-Window": header("Seconds of the window.", true, count("")),
        "X-RateLimit-Reset": header(
            "Milliseconds until the oldest counted request leaves the window; for clients of a version below 4 only.",
            false,
            count(""),
        ),
        "X-Request-ID": header("The id that stands in the server's log: the request's own, or a new one.", true, text("")),
        "Retry-After": header("Seconds to wait before asking again.", false, count("")),
    })
}

/// The parameters of all signed routes.
pub fn parameters() -> Value {
    json!({"owner_access_key": {
        "name": "owner_access_key",
        "in": "query",
        "description": "The access key to act for; for admins only, others get 401.",
        "schema": pattern("^[A-Za-z0-9]{1,20}$", ""),
    }})
}

/// The ways to say who asks. The first three go together.
pub fn security_schemes() -> Value {
    let key = |place: &str, name: &str, description: &str| json!({"type": "apiKey", "in": place, "name": name, "description": description});
    json!({
        "signature": key("header", "Authorization", SIGNATURE),
        "date": key(
            "header",
            "Date",
            "When the request was signed, at most 15 minutes off: RFC 1123 or ISO 8601. Browsers, which cannot set \
             `Date`, send it as `X-BackendAI-Date`.",
        ),
        "version": key("header", "X-BackendAI-Version", "The version that the client speaks: `v4.20181215`."),
        "ticket": key("query", "_auth", "A ticket of `POST /auth/ticket`, good once and for 30 seconds."),
    })
}

const SIGNATURE: &str = "`BackendAI signMethod=HMAC-SHA256, credential=<access key>:<signature>`, where\n\n\
    ```\n\
    string    = METHOD \\n path and query \\n date header's value \\n host:<Host header> \\n\n            \
    content-type:<media type> \\n x-backendai-version:<version> \\n hex(SHA256(body))\n\
    key       = HMAC(HMAC(secret key, YYYYMMDD of the date), <Host header>)\n\
    signature = hex(HMAC(key, string))\n\
    ```\n\nThe body counts as empty from version `v4.20181215` on, and where it is `multipart/form-data`; the content \
    type as `application/octet-stream` where there is none.";

/// The answers that operations refer to.
pub fn responses(paths: &Value) -> Map<String, Value> {
    let mut wanted = Vec::new();
    references(paths, &mut wanted);
    let mut found: Map<String, Value> = wanted.into_iter().filter_map(problems::referred).collect();
    found.sort_keys();
    found
}

/// Those of the schemas that are in use.
pub fn reachable(users: &[&Value], schemas: &Map<String, Value>) -> Map<String, Value> {
    let mut wanted = Vec::new();
    users.iter().for_each(|user| references(user, &mut wanted));
    let mut found = Map::new();
    while let Some(reference) = wanted.pop() {
        let Some(name) = reference.strip_prefix("#/components/schemas/") else { continue };
        if let Some(schema) = schemas.get(name).filter(|_| !found.contains_key(name)) {
            references(schema, &mut wanted);
            found.insert(name.to_owned(), schema.clone());
        }
    }
    found.sort_keys();
    found
}

/// All references in a value.
pub fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
