//! Members of a JSON body, each read with an error that names it.

use serde_json::{Map, Value};

use crate::http::{Kind, Problem};

/// A body's JSON object.
#[derive(Clone, Debug)]
pub struct Fields {
    members: Map<String, Value>,
    kind: Kind,
}

impl Fields {
    /// Reads a body; what is wrong with it, or later with a member, is a problem of that kind.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn parse(body: &[u8], kind: Kind) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Fields { members, kind }),
            Ok(_) => Err(kind.because("the body is not a JSON object")),
            Err(error) => Err(kind.because(format!("the body is not JSON: {error}"))),
        }
    }

    /// A member, unless it is missing or null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// Whether there is such a member, if only null.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// What is wrong with a member.
    pub fn wrong(&self, name: &str, why: &str) -> Problem {
        self.kind.because(format!("{name} {why}"))
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let read = |value| read(value).ok_or_else(|| self.wrong(name, &format!("is not {wanted}")));
        self.get(name).map(read).transpose()
    }

    /// A text, if it is there.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        self.typed(name, "a text", Value::as_str)
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// It is missing, empty, or something else.
    pub fn required_text(&self, name: &str) -> Result<&str, Problem> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.wrong(name, "is missing or empty!")),
        }
    }

    /// Yes or no, if it is there.
    ///
    /// # Errors
    /// It is something else.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A number above 0, if it is there; clients from release 1.4 on write amounts as text.
    ///
    /// # Errors
    /// It is something else.
    pub fn positive(&self, name: &str) -> Result<Option<f64>, Problem> {
        self.typed(name, "a number above 0", |value| amount(value).filter(|number| *number > 0.0))
    }

    /// A number that is 0 or more, if it is there; clients from release 1.4 on write it as text.
    ///
    /// # Errors
    /// It is something else.
    pub fn at_least_zero(&self, name: &str) -> Result<Option<f64>, Problem> {
        self.typed(name, "a number from 0", |value| amount(value).filter(|number| *number >= 0.0))
    }

    /// A list of texts; an absent one is empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Problem> {
        let read = |value: &Value| value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        Ok(self.typed(name, "a list of texts", read)?.unwrap_or_default())
    }

    /// An object; an absent one is empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&self, name: &str) -> Result<Fields, Problem> {
        let members = self.typed(name, "an object", |value| value.as_object().cloned())?.unwrap_or_default();
        Ok(Fields { members, kind: self.kind })
    }

    /// Its members, in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// A finite number, or the text of one.
fn amount(value: &Value) -> Option<f64> {
    let number: Option<f64> = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(problem: Problem) -> String {
        problem.to_json()["title"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fields = Fields::parse(br#"{"a": 1, "b": "x", "n": null}"#, Kind::InvalidApiParams).unwrap();
        let prefix = "Missing or invalid API parameters.";
        assert_eq!(title(fields.text("a").unwrap_err()), format!("{prefix} (a is not a text)"));
        assert_eq!(title(fields.required_text("lang").unwrap_err()), format!("{prefix} (lang is missing or empty!)"));
        assert_eq!(title(fields.boolean("b").unwrap_err()), format!("{prefix} (b is not true or false)"));
        assert_eq!(fields.positive("a").unwrap(), Some(1.0));
        assert!(fields.positive("b").is_err());
        assert_eq!(fields.text("n").unwrap(), None);
        assert!(fields.has("n") && !fields.has("m"));
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for body in ["", "[]", "{", "\u{feff}{}", "null"] {
            assert!(Fields::parse(body.as_bytes(), Kind::InvalidApiParams).is_err(), "{body}");
        }
    }
}
