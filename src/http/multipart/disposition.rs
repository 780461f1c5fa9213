//! `Content-Disposition`: what a part is called.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// What a part's `Content-Disposition` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    /// The field's name.
    pub name: Option<Vec<u8>>,
    /// The file's name, as the client has it: any bytes. `filename*` goes before `filename`.
    pub filename: Option<Vec<u8>>,
}

/// What Python's `urllib.parse.quote(name, "")` escapes, which is what clients undo.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// The value of a `Content-Disposition` for a file of that name, in the form that clients of the original manager
/// read: both parameters, percent-encoded.
#[must_use]
pub fn attachment(filename: &str) -> String {
    let name = percent_encode(filename.as_bytes(), ESCAPED);
    format!("attachment; filename=\"{name}\"; filename*=utf-8''{name}")
}

// === impl Disposition ===

impl Disposition {
    /// Reads a header's value. What is not understood is left out.
    #[must_use]
    pub fn parse(value: &[u8]) -> Disposition {
        let rest = value.iter().position(|&byte| byte == b';').and_then(|at| value.get(at + 1..)).unwrap_or_default();
        let (mut found, mut extended) = (Disposition::default(), None);
        for (name, value) in parameters_of(rest) {
            match name.as_str() {
                "name" => found.name = Some(value),
                "filename" => found.filename = Some(value),
                "filename*" => extended = decode_extended(&value).or(extended),
                _ => {}
            }
        }
        found.filename = extended.or(found.filename);
        found
    }
}

/// The parameters of a header's value, names in lower case.
pub(super) fn parameters(text: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    parameters_of(text.as_bytes())
}

fn parameters_of(mut rest: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    std::iter::from_fn(move || {
        loop {
            rest = skip(rest, |byte| byte == b';' || byte.is_ascii_whitespace());
            if rest.is_empty() {
                return None;
            }
            let end = rest.iter().position(|byte| b"=;".contains(byte)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let Some(after) = after.strip_prefix(b"=") else {
                rest = after; // a parameter without a value
                continue;
            };
            let (value, left) = value(after);
            rest = left;
            return Some((String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase(), value));
        }
    })
}

/// A token, or a quoted string without its quotes and backslashes; and what is behind it.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let text = skip(text, |byte| byte.is_ascii_whitespace());
    let Some(mut quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
        let (token, left) = text.split_at(end);
        return (token.trim_ascii().to_vec(), left);
    };
    let mut value = Vec::new();
    loop {
        match quoted {
            // Only these two are escaped by anybody; a lone backslash is part of a name of Windows.
            [b'\\', byte @ (b'"' | b'\\'), left @ ..] => {
                value.push(*byte);
                quoted = left;
            }
            [b'"', left @ ..] => return (value, left),
            [byte, left @ ..] => {
                value.push(*byte);
                quoted = left;
            }
            [] => return (value, quoted),
        }
    }
}

/// `utf-8'en'a%20b` (RFC 5987). Other character sets are not decoded.
fn decode_extended(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    charset.eq_ignore_ascii_case(b"utf-8").then(|| percent_decode(text).collect())
}

fn skip(text: &[u8], what: impl Fn(u8) -> bool) -> &[u8] {
    let at = text.iter().position(|&byte| !what(byte)).unwrap_or(text.len());
    text.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filename(value: &str) -> Option<String> {
        Disposition::parse(value.as_bytes()).filename.map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn names_are_read_as_clients_write_them() {
        // aiohttp, requests, curl, browsers.
        let table = [
            ("form-data; name=\"src\"; filename=\"a%2Fb.txt\"; filename*=utf-8''a%2Fb.txt", "a/b.txt"),
            ("form-data; filename*=UTF-8'en'%ED%95%9C.txt; filename=\"x\"", "한.txt"),
            ("form-data; name=\"src\"; filename=\"a \\\"b\\\" \\\\c;d.txt\"", "a \"b\" \\c;d.txt"),
            ("form-data; name=src; filename=plain.txt", "plain.txt"),
            ("form-data;filename = \"한글\" ; name=\"x\"", "한글"),
            ("form-data; filename=\"C:\\dir\\file\"", "C:\\dir\\file"),
            ("form-data; filename=\"\"", ""),
            ("form-data; filename*=koi8-r''%00; filename=\"ours\"", "ours"),
        ];
        for (value, expected) in table {
            assert_eq!(filename(value).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(filename("form-data; name=\"x\""), None);
        assert_eq!(Disposition::parse(b"form-data; name=\"a b\"").name.unwrap(), b"a b");
    }

    #[test]
    fn an_attachment_is_what_aiohttp_wrote() {
        let expected =
            "attachment; filename=\"a%20%22b%22%0A%ED%95%9C_-.~\"; filename*=utf-8''a%20%22b%22%0A%ED%95%9C_-.~";
        assert_eq!(attachment("a \"b\"\n한_-.~"), expected);
    }

    proptest! {
        #[test]
        fn a_name_comes_back(name in "\\PC{1,30}") {
            prop_assert_eq!(filename(&attachment(&name)), Some(name));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Disposition::parse(&bytes);
        }
    }
}
