//! Scalars that are written as text.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use jiff::{Timestamp, tz::TimeZone};

/// A kernel's or a folder's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid(pub uuid::Uuid);

/// A moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

/// A universally unique identifier: 36 characters, lower case, with hyphens.
#[Scalar(name = "UUID")]
impl ScalarType for Uuid {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(Uuid(text.parse()?)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.hyphenated().to_string())
    }
}

/// A date and time in UTC (ISO 8601): `2017-01-01T12:34:56.789012+00:00`, without a fraction where it is zero.
#[Scalar(name = "DateTime")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(DateTime(text.parse()?)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    /// As Python's `isoformat` writes it, which the original answered and programs parse by pattern.
    fn to_value(&self) -> Value {
        let time = self.0.to_zoned(TimeZone::UTC).datetime();
        let micros = time.subsec_nanosecond() / 1000;
        let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
        Value::String(format!("{}{fraction}+00:00", time.strftime("%Y-%m-%dT%H:%M:%S")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_python_writes_them() {
        let written = |text: &str| DateTime(text.parse().unwrap()).to_value().to_string();
        assert_eq!(written("2017-01-01T12:34:56.789012Z"), "\"2017-01-01T12:34:56.789012+00:00\"");
        assert_eq!(written("2017-01-01T12:34:56.5+09:00"), "\"2017-01-01T03:34:56.500000+00:00\"");
        assert_eq!(written("2017-01-01T12:34:56Z"), "\"2017-01-01T12:34:56+00:00\"");
        assert_eq!(written("0099-01-01T00:00:00Z"), "\"0099-01-01T00:00:00+00:00\"");
    }
}
