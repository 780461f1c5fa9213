//! The normal form of a request's target, as servers of the first releases signed it.
//!
//! They parsed the target and wrote it again: an escaped unreserved character (RFC 3986, 2.3) came
//! out bare, the digits of other escapes in capitals, `%2F` in a query as a slash, and a question
//! mark with nothing after it was dropped.

/// The normal form of a path and query; `None` where it is what was given.
pub(super) fn normal_form(target: &str) -> Option<String> {
    let bare = target.strip_suffix('?').filter(|path| !path.contains('?')).unwrap_or(target);
    if !bare.contains('%') {
        return (bare.len() < target.len()).then(|| bare.to_owned());
    }
    let normal = normal_escapes(bare);
    (normal != target).then_some(normal)
}

fn normal_escapes(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_query = false;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        in_query |= before.contains('?');
        match escaped_byte(after) {
            Some((byte, behind)) => {
                push_escape(&mut normal, byte, in_query);
                rest = behind;
            }
            None => {
                normal.push('%');
                rest = after;
            }
        }
    }
    normal.push_str(rest);
    normal
}

/// The byte that the two digits at the front name, and what follows them.
fn escaped_byte(text: &str) -> Option<(u8, &str)> {
    let (digits, rest) = text.split_at_checked(2)?;
    let both = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u8::from_str_radix(digits, 16).ok().filter(|_| both)?, rest))
}

fn push_escape(text: &mut String, byte: u8, in_query: bool) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if unreserved || (in_query && byte == b'/') {
        text.push(char::from(byte));
    } else {
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or('0');
        text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_an_empty_query_take_their_normal_form() {
        for (sent, normal) in [
            ("/v3/kernel/%61bc", Some("/v3/kernel/abc")),
            ("/v3/kernel/a%2fb", Some("/v3/kernel/a%2Fb")),
            ("/v3/kernel/a%2Fb", None),
            ("/v3/x?path=a%2Fb", Some("/v3/x?path=a/b")),
            ("/v3/x?path=%ea%b0%80", Some("/v3/x?path=%EA%B0%80")),
            ("/v3/x?", Some("/v3/x")),
            ("/v3/%7euser?", Some("/v3/~user")),
            ("/v3/x?a=?", None),
            ("/v3/x?a=1", None),
            ("/v3/x%", None),
            ("/v3/x%4", None),
            ("/v3/x%+1", None),
            ("/v3/x%zz%41", Some("/v3/x%zzA")),
            ("/v3/%é", None),
        ] {
            assert_eq!(normal_form(sent).as_deref(), normal, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_normal(text in "/([a-c?/é]|%[0-9a-fA-F]{2}|%2[fF]){0,12}") {
            // A decoded `%` could begin a new escape; it is reserved, so that it never is decoded.
            if let Some(normal) = normal_form(&text) {
                prop_assert!(!normal.is_empty());
                prop_assert_eq!(normal_escapes(&normal), normal.clone());
            }
        }

        #[test]
        fn broken_escapes_and_any_other_text_panic_nowhere(text in "[/a-c?%é0-9]{0,12}") {
            normal_form(&text);
        }
    }
}
