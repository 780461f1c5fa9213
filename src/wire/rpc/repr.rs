//! Values written as Python's `repr` writes them: users have known the exceptions of their sessions
//! that way since the original.

use std::fmt::{self, Write};

use rmpv::Value;

/// Writes a value as Python would. Arrays are lists.
pub(super) struct Repr<'a>(pub &'a Value);

/// Values between commas, without brackets.
pub(super) struct List<'a>(&'a [Value]);

// === impl Repr ===

impl Repr<'_> {
    pub fn list(values: &[Value]) -> List<'_> {
        List(values)
    }
}

impl fmt::Display for Repr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Nil => f.write_str("None"),
            Value::Boolean(true) => f.write_str("True"),
            Value::Boolean(false) => f.write_str("False"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::F32(number) => write_float(f, f64::from(*number)),
            Value::F64(number) => write_float(f, *number),
            Value::String(text) => match text.as_str() {
                Some(text) => write_text(f, text),
                None => write_bytes(f, text.as_bytes()),
            },
            Value::Binary(bytes) => write_bytes(f, bytes),
            Value::Array(values) => write!(f, "[{}]", List(values)),
            Value::Map(pairs) => write_map(f, pairs),
            Value::Ext(code, data) => {
                write!(f, "ExtType(code={code}, data=")?;
                write_bytes(f, data)?;
                f.write_char(')')
            }
        }
    }
}

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, Repr(value))?;
        }
        Ok(())
    }
}

fn write_map(f: &mut fmt::Formatter<'_>, pairs: &[(Value, Value)]) -> fmt::Result {
    f.write_char('{')?;
    for (at, (key, value)) in pairs.iter().enumerate() {
        write!(f, "{}{}: {}", if at == 0 { "" } else { ", " }, Repr(key), Repr(value))?;
    }
    f.write_char('}')
}

/// Rust and Python both write the shortest digits that read back, and change to exponents at the
/// same places; Python gives an exponent its sign and two digits.
fn write_float(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    if number.is_nan() {
        return f.write_str("nan");
    }
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            write!(f, "{digits}e{sign}{exponent:0>2}")
        }
        None => f.write_str(&text),
    }
}

/// Single quotes, unless only those are inside.
fn quote_for(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() || c == '\u{ad}' || c == '\u{a0}' => write!(f, "\\x{:02x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    write!(f, "b{quote}")?;
    for &byte in bytes {
        match byte {
            b'\\' => f.write_str("\\\\")?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            byte if char::from(byte) == quote => write!(f, "\\{quote}")?,
            b' '..=b'~' => f.write_char(byte.into())?,
            byte => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_char(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(value: impl Into<Value>) -> String {
        Repr(&value.into()).to_string()
    }

    // The expected texts are what CPython 3.11 prints.
    #[test]
    fn plain_values() {
        assert_eq!(repr(Value::Nil), "None");
        assert_eq!(repr(true), "True");
        assert_eq!(repr(-5), "-5");
        assert_eq!(repr(u64::MAX), "18446744073709551615");
        for (number, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1e15, "1000000000000000.0"),
            (-2.5e300, "-2.5e+300"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr(number), text);
        }
    }

    #[test]
    fn quotes_are_chosen_and_escaped() {
        assert_eq!(repr("boom"), "'boom'");
        assert_eq!(repr("it's"), "\"it's\"");
        assert_eq!(repr("it's \"so\""), r#"'it\'s "so"'"#);
        assert_eq!(repr("a\\b\n\t\r\u{1b}é\u{7f}"), r"'a\\b\n\t\r\x1bé\x7f'");
        assert_eq!(repr(&b"a'\xff\0"[..]), r#"b"a'\xff\x00""#);
    }

    #[test]
    fn nested_values() {
        let value =
            Value::Array(vec![Value::Map(vec![("k".into(), Value::from(1)), (2.into(), Value::Nil)]), "x".into()]);
        assert_eq!(repr(value), "[{'k': 1, 2: None}, 'x']");
        assert_eq!(repr(Value::Ext(5, vec![1])), r"ExtType(code=5, data=b'\x01')");
    }
}
