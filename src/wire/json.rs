//! Between msgpack and JSON: what clients send to agents and get from them.

use rmpv::Value as Msgpack;
use serde_json::{Map, Value as Json};

/// A JSON value as agents take it.
pub fn from_json(value: &Json) -> Msgpack {
    match value {
        Json::Null => Msgpack::Nil,
        Json::Bool(flag) => (*flag).into(),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => n.into(),
            (_, Some(n)) => n.into(),
            _ => number.as_f64().unwrap_or_default().into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Msgpack::Array(items.iter().map(from_json).collect()),
        Json::Object(members) => Msgpack::Map(members.iter().map(|(k, v)| (k.as_str().into(), from_json(v))).collect()),
    }
}

/// What an agent answered as clients get it. Bytes become text (what is no UTF-8 becomes U+FFFD), numbers that
/// JSON lacks and extensions become null, keys that are no text are written as JSON.
pub fn to_json(value: &Msgpack) -> Json {
    match value {
        Msgpack::Nil | Msgpack::Ext(..) => Json::Null,
        Msgpack::Boolean(flag) => Json::Bool(*flag),
        Msgpack::Integer(n) => n.as_i64().map(Json::from).or_else(|| n.as_u64().map(Json::from)).unwrap_or_default(),
        Msgpack::F32(n) => Json::from(f64::from(*n)),
        Msgpack::F64(n) => Json::from(*n),
        Msgpack::String(text) => Json::String(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        Msgpack::Binary(bytes) => Json::String(String::from_utf8_lossy(bytes).into_owned()),
        Msgpack::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Msgpack::Map(entries) => {
            let entry = |(key, value): &(Msgpack, Msgpack)| {
                let key = match to_json(key) {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                (key, to_json(value))
            };
            Json::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_can_say_comes_back_as_it_was() {
        let value = json!({"a": [1, -2, 2.5, null, true, "käse"], "b": {"c": 18446744073709551615u64}});
        assert_eq!(to_json(&from_json(&value)), value);
    }

    #[test]
    fn what_json_cannot_say_becomes_what_is_nearest() {
        assert_eq!(to_json(&Msgpack::Binary(vec![b'a', 0xff])), json!("a\u{fffd}"));
        assert_eq!(to_json(&Msgpack::F64(f64::NAN)), json!(null));
        assert_eq!(to_json(&Msgpack::Map(vec![(1.into(), 2.into())])), json!({"1": 2}));
    }
}
