//! Builders of JSON schemas (draft 2020-12, as OpenAPI 3.1 has them).
//!
//! Written out and not derived from types: handlers read a body member by member, so that each refusal names the
//! member, and write their answers as JSON values; there are no types to derive from.

use serde_json::{Map, Value, json};

/// An object with members; those whose name ends with `?` may be missing.
pub fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, schema) in members {
        let plain = name.trim_end_matches('?');
        if plain == name {
            required.push(plain);
        }
        properties.insert(plain.to_owned(), schema);
    }
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object = with(object, "required", json!(required));
    }
    object
}

/// A text.
pub fn text(description: &str) -> Value {
    described(json!({"type": "string"}), description)
}

/// A text of this form.
pub fn pattern(pattern: &str, description: &str) -> Value {
    with(text(description), "pattern", json!(pattern))
}

/// One of these texts.
pub fn one_of(names: &[&str], description: &str) -> Value {
    described(json!({"type": "string", "enum": names}), description)
}

/// A whole number.
pub fn integer(description: &str) -> Value {
    described(json!({"type": "integer"}), description)
}

/// A whole number from 0.
pub fn count(description: &str) -> Value {
    with(integer(description), "minimum", json!(0))
}

/// Always that.
pub fn constant(value: impl Into<Value>, description: &str) -> Value {
    described(json!({"const": value.into()}), description)
}

/// Yes or no.
pub fn boolean(description: &str) -> Value {
    described(json!({"type": "boolean"}), description)
}

/// A list.
pub fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// Anything.
pub fn any(description: &str) -> Value {
    described(json!({}), description)
}

/// The same, or null.
pub fn nullable(mut schema: Value) -> Value {
    let Some(kind) = schema.get("type").cloned() else { return json!({"anyOf": [schema, {"type": "null"}]}) };
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    with(schema, "type", json!([kind, "null"]))
}

/// A component.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema with one more keyword.
pub fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.insert(keyword.to_owned(), value);
    }
    schema
}

fn described(schema: Value, description: &str) -> Value {
    if description.is_empty() { schema } else { with(schema, "description", json!(description)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_required_unless_marked() {
        let schema = object([("a", text("")), ("b?", boolean(""))]);
        assert_eq!(schema["required"], json!(["a"]));
        assert_eq!(schema["properties"]["b"], json!({"type": "boolean"}));
        assert_eq!(object([("b?", boolean(""))]).get("required"), None);
    }

    #[test]
    fn null_is_one_more_type_and_one_more_name() {
        assert_eq!(nullable(integer("x"))["type"], json!(["integer", "null"]));
        assert_eq!(nullable(one_of(&["a"], ""))["enum"], json!(["a", null]));
        assert_eq!(nullable(reference("X"))["anyOf"][1], json!({"type": "null"}));
    }
}
