//! The `Authorization` header: `BackendAI signMethod=HMAC-SHA256, credential=<access key>:<hex signature>`.
//!
//! Parameters may be separated by a comma with or without a blank, stand in any order, and be joined
//! by ones nobody knows: clients wrote this by hand in five languages.

use super::{AuthError, HashKind};

/// The parts of an `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// The hash that signMethod names.
    pub hash: HashKind,
    /// What stands before the colon of the credential: the access key, unchecked, never empty.
    pub access_key: &'a str,
    /// What stands after the colon: the signature, as sent.
    pub signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Splits a header.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] with what is wrong: another scheme, a parameter without `=`, no
    /// credential or signMethod, or a method that is not HMAC with a known hash.
    pub fn parse(header: &'a str) -> Result<Self, AuthError> {
        let (scheme, rest) = header.trim_ascii().split_once(' ').ok_or(MALFORMED)?;
        if !matches!(scheme, "BackendAI" | "Sorna") {
            return Err(AuthError::Invalid("Invalid authorization type name"));
        }
        let (mut method, mut credential) = (None, None);
        for parameter in rest.split(',').map(str::trim_ascii).filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or(MALFORMED)?;
            match name.trim_ascii_end() {
                "signMethod" => method = Some(value.trim_ascii_start()),
                "credential" => credential = Some(value.trim_ascii_start()),
                _ => {}
            }
        }
        let (access_key, signature) = credential.and_then(|text| text.split_once(':')).ok_or(MISSING)?;
        if access_key.is_empty() || signature.is_empty() {
            return Err(MISSING);
        }
        Ok(Authorization { hash: hash_of(method.ok_or(MISSING)?)?, access_key, signature })
    }
}

const MALFORMED: AuthError = AuthError::Invalid("Malformed authorization header");
const MISSING: AuthError = AuthError::Invalid("Missing or malformed authorization parameters");

/// The hash of `HMAC-<hash>`, in any case.
fn hash_of(method: &str) -> Result<HashKind, AuthError> {
    const MAC: AuthError = AuthError::Invalid("Unsupported request signing method (MAC type)");
    let (mac, hash) = method.split_once('-').ok_or(MAC)?;
    if !mac.eq_ignore_ascii_case("HMAC") {
        return Err(MAC);
    }
    HashKind::from_name(hash).ok_or(AuthError::Invalid("Unsupported request signing method (hash type)"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<(HashKind, &str, &str), AuthError> {
        Authorization::parse(text).map(|a| (a.hash, a.access_key, a.signature))
    }

    #[test]
    fn both_schemes_any_case_of_the_method_and_any_spacing_are_read() {
        for text in [
            "BackendAI signMethod=HMAC-SHA256, credential=AKIA:00ff",
            "Sorna signMethod=HMAC-SHA256, credential=AKIA:00ff",
            "BackendAI signMethod=HMAC-SHA256,credential=AKIA:00ff",
            "BackendAI credential=AKIA:00ff,signMethod=hmac-sha256",
            "BackendAI  signMethod = HMAC-SHA256 , credential = AKIA:00ff ",
            "BackendAI signMethod=HMAC-SHA256, stray=1, credential=AKIA:00ff,",
            "BackendAI signMethod=Hmac-sha-256, credential=AKIA:00ff",
        ] {
            assert_eq!(parse(text), Ok((HashKind::Sha256, "AKIA", "00ff")), "{text}");
        }
        let sha3 = "BackendAI signMethod=HMAC-SHA3_256, credential=AKIA:0";
        assert_eq!(parse(sha3), Ok((HashKind::Sha3_256, "AKIA", "0")));
    }

    #[test]
    fn each_fault_is_named() {
        for (text, fault) in [
            ("", "Malformed authorization header"),
            ("BackendAI", "Malformed authorization header"),
            ("BackendAI signMethod", "Malformed authorization header"),
            ("BackendAI signMethod=HMAC-SHA256, stray, credential=a:b", "Malformed authorization header"),
            ("Basic dXNlcjpwYXNz", "Invalid authorization type name"),
            ("backendai signMethod=HMAC-SHA256, credential=a:b", "Invalid authorization type name"),
            ("BackendAI signMethod=HMAC-SHA256", "Missing or malformed authorization parameters"),
            ("BackendAI credential=a:b", "Missing or malformed authorization parameters"),
            ("BackendAI signMethod=HMAC-SHA256, credential=ab", "Missing or malformed authorization parameters"),
            ("BackendAI signMethod=HMAC-SHA256, credential=:b", "Missing or malformed authorization parameters"),
            ("BackendAI signMethod=HMAC-SHA256, credential=a:", "Missing or malformed authorization parameters"),
            ("BackendAI signMethod=CMAC-SHA256, credential=a:b", "Unsupported request signing method (MAC type)"),
            ("BackendAI signMethod=SHA256, credential=a:b", "Unsupported request signing method (MAC type)"),
            ("BackendAI signMethod=HMAC-CRC32, credential=a:b", "Unsupported request signing method (hash type)"),
        ] {
            assert_eq!(parse(text), Err(AuthError::Invalid(fault)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(BackendAI |Sorna |)[a-zA-Z=,: -]{0,60}") {
            let _ = Authorization::parse(&text);
        }
    }
}
