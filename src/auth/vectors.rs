//! Requests signed by Python's hmac and hashlib (tests/vectors/make_auth.py), right and wrong ones.

use std::collections::HashMap;

use super::*;

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    now: String,
    secret: String,
    method: String,
    path: String,
    body: String,
    headers: HashMap<String, String>,
    valid: bool,
}

impl Vector {
    fn all() -> Vec<Vector> {
        serde_json::from_str(include_str!("../../tests/vectors/auth.json")).unwrap()
    }

    fn headers(&self) -> Headers<'_> {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        Headers {
            date: header("date"),
            backendai_date: header("backendai_date"),
            sorna_date: header("sorna_date"),
            backendai_version: header("backendai_version"),
            sorna_version: header("sorna_version"),
            authorization: header("authorization"),
            host: header("host"),
            content_type: header("content_type"),
        }
    }

    fn check(&self, keys: &mut DerivedKeys) -> Result<(), AuthError> {
        let claim = Claim::parse(&self.headers(), self.now.parse().unwrap(), HashSet::all())?;
        assert_eq!(claim.access_key().as_str(), "AKIAIOSFODNN7EXAMPLE");
        claim.verify(&self.secret, &self.method, &self.path, self.body.as_bytes(), keys)
    }
}

#[test]
fn right_signatures_are_let_in_and_wrong_ones_are_not() {
    let vectors = Vector::all();
    assert!(vectors.iter().filter(|vector| vector.valid).count() > 50);
    for vector in &vectors {
        let want = if vector.valid { Ok(()) } else { Err(AuthError::Failed) };
        assert_eq!(vector.check(&mut DerivedKeys::new(2)), want, "{}", vector.name);
    }
}

#[test]
fn a_warm_cache_changes_no_answer() {
    let vectors = Vector::all();
    let mut keys = DerivedKeys::new(256);
    for vector in vectors.iter().chain(&vectors) {
        let want = if vector.valid { Ok(()) } else { Err(AuthError::Failed) };
        assert_eq!(vector.check(&mut keys), want, "{}", vector.name);
    }
}

#[test]
fn no_bit_of_a_signature_may_change() {
    let vectors = Vector::all();
    let mut keys = DerivedKeys::new(256);
    let right = vectors.into_iter().find(|vector| vector.name == "hash SHA256").unwrap();
    let header = right.headers.get("authorization").unwrap().clone();
    let start = header.rfind(':').unwrap() + 1;
    for at in start..header.len() {
        for bit in 0..7 {
            let mut bytes = header.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let headers = Headers { authorization: Some(&changed), ..right.headers() };
            let verdict = Claim::parse(&headers, right.now.parse().unwrap(), HashSet::all())
                .and_then(|c| c.verify(&right.secret, &right.method, &right.path, right.body.as_bytes(), &mut keys));
            assert!(verdict.is_err(), "bit {bit} of digit {at}");
        }
    }
}
