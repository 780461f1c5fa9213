//! Arguments bound to names as Python does it, with Python's complaints.

use rmpv::Value;

use crate::exception::{self, Exception};

/// The arguments of a call.
pub struct Call {
    /// By position.
    pub args: Vec<Value>,
    /// By name.
    pub kwargs: Vec<(Value, Value)>,
}

static NIL: Value = Value::Nil;

// === impl Call ===

impl Call {
    /// Binds the arguments to these names; the first `required` ones must be there, the others are
    /// nil if missing.
    ///
    /// # Errors
    /// One is missing, unknown, or given twice, or there are too many.
    pub fn bind<const N: usize>(&self, names: [&str; N], required: usize) -> Result<[&Value; N], Exception> {
        if self.args.len() > N {
            return Err(exception::parameters("too many positional arguments"));
        }
        let mut bound: [Option<&Value>; N] = [None; N];
        bound.iter_mut().zip(&self.args).for_each(|(slot, arg)| *slot = Some(arg));
        for (name, value) in &self.kwargs {
            let name = name.as_str().unwrap_or_default();
            let slot = names.iter().zip(&mut bound).find(|(known, _)| **known == name);
            match slot.map(|(_, slot)| slot.replace(value)) {
                Some(None) => {}
                Some(Some(_)) => return Err(exception::parameters(&format!("multiple values for argument '{name}'"))),
                None => return Err(exception::parameters(&format!("got an unexpected keyword argument '{name}'"))),
            }
        }
        let missing = names.iter().zip(&bound).take(required).find(|(_, slot)| slot.is_none());
        if let Some((name, _)) = missing {
            return Err(exception::parameters(&format!("missing a required argument: '{name}'")));
        }
        Ok(bound.map(|slot| slot.unwrap_or(&NIL)))
    }
}

/// A value as text: numbers as they are written, nil as nothing.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::String(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.to_string(),
    }
}

/// Maps and lists as JSON; what JSON has no word for becomes null.
pub fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Boolean(flag) => (*flag).into(),
        Value::Integer(number) => number.as_i64().map_or_else(|| number.as_u64().into(), Into::into),
        Value::F32(number) => f64::from(*number).into(),
        Value::F64(number) => (*number).into(),
        Value::String(_) | Value::Binary(_) => text_of(value).into(),
        Value::Array(items) => items.iter().map(json_of).collect::<Vec<_>>().into(),
        Value::Map(pairs) => {
            serde_json::Value::Object(pairs.iter().map(|(key, value)| (text_of(key), json_of(value))).collect())
        }
        Value::Nil | Value::Ext(..) => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(args: &[i32], kwargs: &[(&str, i32)]) -> Call {
        Call {
            args: args.iter().map(|arg| Value::from(*arg)).collect(),
            kwargs: kwargs.iter().map(|(name, value)| (Value::from(*name), Value::from(*value))).collect(),
        }
    }

    #[test]
    fn arguments_are_bound_by_position_then_by_name() {
        let call = call(&[1], &[("b", 2)]);
        let [a, b, c] = call.bind(["a", "b", "c"], 2).unwrap();
        assert_eq!((a.as_i64(), b.as_i64(), c.is_nil()), (Some(1), Some(2), true));
    }

    #[test]
    fn wrong_arguments_are_refused_in_pythons_words() {
        let why = |call: Call| call.bind(["a", "b"], 2).unwrap_err().args[0].as_str().unwrap().to_owned();
        assert_eq!(why(call(&[1], &[])), r#"TypeError("missing a required argument: 'b'")"#);
        assert_eq!(why(call(&[1, 2, 3], &[])), "TypeError('too many positional arguments')");
        assert!(why(call(&[1, 2], &[("z", 1)])).contains("unexpected keyword"));
        assert!(why(call(&[1, 2], &[("a", 1)])).contains("multiple values"));
    }
}
