//! Parameters of a query string, or of a body that is written like one.

use percent_encoding::percent_decode;

/// The values of a parameter, in the order in which they stand; what is no UTF-8 becomes U+FFFD.
pub fn values(query: &str, name: &str) -> Vec<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value)).collect()
}

fn decoded(text: &str) -> String {
    let blanks: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&blanks).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_be_repeated() {
        let query = "files=a%2Fb&x=1&files=c+d&files&files=%ff";
        assert_eq!(values(query, "files"), ["a/b", "c d", "", "\u{fffd}"]);
        assert_eq!(values(query, "file"), Vec::<String>::new());
        assert_eq!(values("", "files"), Vec::<String>::new());
    }
}
