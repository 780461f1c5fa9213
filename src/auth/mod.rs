//! Signed requests: a pure core that takes the request, the secret and the time as arguments.
//!
//! Two steps, since between them somebody has to look the secret up: [`Claim::parse`] reads the
//! headers and says whose request this claims to be, [`Claim::verify`] checks the claim. The first
//! finds what makes a request malformed (400), the second what makes it wrong (401), in the order in
//! which servers of the first releases did: the date, then the rest.
//!
//! Nothing here allocates for an ordinary request of a known key; see [`DerivedKeys`].

mod access_key;
mod date;
mod derived;
mod hashes;
mod header;
mod path;
mod signature;
#[cfg(test)]
mod vectors;
mod version;
mod zones;

use jiff::{SignedDuration, Timestamp};

pub use access_key::{AccessKey, InvalidAccessKey};
pub use date::SignedDate;
pub use derived::DerivedKeys;
pub use hashes::{HashKind, HashSet, ParseHashSetError};
pub use header::Authorization;
pub use signature::{SignedParts, media_type, signs_body};
pub use version::ApiVersion;

/// How far a request's date may be from the server's clock, either way.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// The headers that authentication reads, as sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `Date`.
    pub date: Option<&'a str>,
    /// `X-BackendAI-Date`.
    pub backendai_date: Option<&'a str>,
    /// `X-Sorna-Date`, of the first clients.
    pub sorna_date: Option<&'a str>,
    /// `X-BackendAI-Version`.
    pub backendai_version: Option<&'a str>,
    /// `X-Sorna-Version`, of the first clients.
    pub sorna_version: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
}

/// What a request's headers claim: that the owner of an access key signed it at a time.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    access_key: AccessKey,
    version: ApiVersion,
    date: SignedDate,
    date_header: &'a str,
    version_header: &'a str,
    legacy_version_header: bool,
    authorization: Authorization<'a>,
    host: &'a str,
    content_type: Option<&'a str>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The headers are not those of a signed request: 400 `invalid-auth-params`, with this extra.
    #[error("{0}")]
    Invalid(&'static str),
    /// The request is not signed, or not rightly: 401 `auth-failed`, without a hint.
    #[error("the signature is missing or wrong")]
    Failed,
}

impl<'a> Claim<'a> {
    /// Reads the headers of a request that arrived at `now`, where `accepted` hashes are allowed.
    ///
    /// # Errors
    /// [`AuthError::Failed`]: no Authorization header: the request is not signed at all, whatever else it lacks.
    /// [`AuthError::Invalid`]: no date or an unreadable one, or one off by more than [`CLOCK_SKEW`];
    /// a malformed Authorization header, another scheme, MAC or hash; no version or one of unknown
    /// form; no host. [`AuthError::Failed`]: an access key that no key pair can have.
    pub fn parse(headers: &Headers<'a>, now: Timestamp, accepted: HashSet) -> Result<Self, AuthError> {
        let authorization = headers.authorization.ok_or(AuthError::Failed)?;
        let date_header = first([headers.date, headers.backendai_date, headers.sorna_date])
            .ok_or(AuthError::Invalid("Date/time is missing"))?;
        let date = SignedDate::parse(date_header).ok_or(AuthError::Invalid("Date/time is unreadable"))?;
        if date.instant.duration_since(now).abs() > CLOCK_SKEW {
            return Err(AuthError::Invalid("Date/time sync error"));
        }
        let authorization = Authorization::parse(authorization)?;
        if !accepted.contains(authorization.hash) {
            return Err(AuthError::Invalid("Unsupported request signing method (hash type)"));
        }
        let (version_header, legacy_version_header) = version_header(headers)?;
        Ok(Claim {
            access_key: AccessKey::new(authorization.access_key).ok_or(AuthError::Failed)?,
            version: ApiVersion::parse(version_header).ok_or(AuthError::Invalid("Malformed API version"))?,
            date,
            date_header,
            version_header,
            legacy_version_header,
            authorization,
            host: headers.host.ok_or(AuthError::Invalid("Host is missing"))?,
            content_type: headers.content_type,
        })
    }

    /// Whose request this claims to be.
    pub fn access_key(&self) -> AccessKey {
        self.access_key
    }

    /// The version that the request's header names.
    pub fn version(&self) -> ApiVersion {
        self.version
    }

    /// The date of the request, as signed.
    pub fn date(&self) -> SignedDate {
        self.date
    }

    /// The signature as sent: for the memory of used ones, never for a log.
    pub fn signature(&self) -> &'a str {
        self.authorization.signature
    }

    /// Whether [`Claim::verify`] needs the request's body.
    pub fn signs_body(&self) -> bool {
        self.version.signs_body() && signs_body(self.content_type)
    }

    /// Checks the claim for the method really sent, the target as sent (path and query) and the body
    /// (not looked at unless [`Claim::signs_body`]).
    ///
    /// # Errors
    /// [`AuthError::Failed`]: the signature is not that of the secret's owner.
    pub fn verify(
        &self,
        secret: &str,
        method: &str,
        path_and_query: &str,
        body: &[u8],
        keys: &mut DerivedKeys,
    ) -> Result<(), AuthError> {
        let parts = SignedParts {
            method,
            raw_path_and_query: path_and_query,
            date_header: self.date_header,
            host: self.host,
            content_type: self.content_type,
            version: self.version_header,
            legacy_version_header: self.legacy_version_header,
            body_hash_input: if self.signs_body() { body } else { &[] },
        };
        let kind = self.authorization.hash;
        let origin =
            derived::KeyOrigin { access_key: self.access_key, secret, kind, ymd: self.date.ymd, host: self.host };
        let signature = self.authorization.signature;
        let right = keys.with(origin, |key, empty| signature::verify(kind, key, &parts, empty, signature));
        if right { Ok(()) } else { Err(AuthError::Failed) }
    }
}

/// The version header and whether it is the legacy one.
fn version_header<'a>(headers: &Headers<'a>) -> Result<(&'a str, bool), AuthError> {
    match (present(headers.backendai_version), present(headers.sorna_version)) {
        (Some(version), _) => Ok((version, false)),
        (None, Some(version)) => Ok((version, true)),
        (None, None) => Err(AuthError::Invalid("API version missing in request headers")),
    }
}

/// The first header that is present.
fn first(headers: [Option<&str>; 3]) -> Option<&str> {
    headers.into_iter().find_map(present)
}

/// An empty header is as good as none.
fn present(header: Option<&str>) -> Option<&str> {
    header.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T10:47:09Z";

    fn headers() -> Headers<'static> {
        Headers {
            date: Some("Sun, 22 Nov 2026 10:47:09 GMT"),
            backendai_version: Some("v3.20170615"),
            authorization: Some("BackendAI signMethod=HMAC-SHA256, credential=AKIA:00"),
            host: Some("api"),
            ..Headers::default()
        }
    }

    fn parse(headers: &Headers<'static>) -> Result<Claim<'static>, AuthError> {
        Claim::parse(headers, NOW.parse().unwrap(), HashSet::default())
    }

    #[test]
    fn the_first_date_header_present_is_the_signed_one() {
        let named = |headers: Headers<'static>| parse(&headers).unwrap().date_header;
        let late = Some("Sun, 22 Nov 2026 10:50:09 GMT");
        assert_eq!(Some(named(Headers { backendai_date: late, ..headers() })), headers().date);
        assert_eq!(Some(named(Headers { date: None, backendai_date: late, ..headers() })), late);
        assert_eq!(Some(named(Headers { date: Some(""), sorna_date: late, ..headers() })), late);
    }

    #[test]
    fn fifteen_minutes_off_is_the_most_either_way() {
        for (date, fits) in [
            ("2026-11-22T10:32:09Z", true),
            ("2026-11-22T10:32:08.999Z", false),
            ("2026-11-22T11:02:09Z", true),
            ("2026-11-22T11:02:09.001Z", false),
            ("2026-11-22T19:47:09+09:00", true),
        ] {
            let claim = parse(&Headers { date: Some(date), ..headers() });
            let want = if fits { None } else { Some(AuthError::Invalid("Date/time sync error")) };
            assert_eq!(claim.err(), want, "{date}");
        }
    }

    #[test]
    fn each_fault_has_its_kind() {
        let invalid = AuthError::Invalid;
        let hash = invalid("Unsupported request signing method (hash type)");
        let signed = |text| Headers { authorization: Some(text), ..headers() };
        for (headers, error) in [
            (Headers { date: None, ..headers() }, invalid("Date/time is missing")),
            (Headers { date: Some("now"), ..headers() }, invalid("Date/time is unreadable")),
            (Headers { authorization: None, ..headers() }, AuthError::Failed),
            (Headers { authorization: None, date: None, ..headers() }, AuthError::Failed),
            (signed(""), invalid("Malformed authorization header")),
            (signed("Basic dTpw"), invalid("Invalid authorization type name")),
            (signed("BackendAI signMethod=HMAC-SHA1, credential=AKIA:00"), hash),
            (signed("BackendAI signMethod=HMAC-SHA256, credential=AKIA56789012345678901:00"), AuthError::Failed),
            (Headers { backendai_version: None, ..headers() }, invalid("API version missing in request headers")),
            (Headers { backendai_version: Some("3"), ..headers() }, invalid("Malformed API version")),
            (Headers { host: None, ..headers() }, invalid("Host is missing")),
        ] {
            assert_eq!(parse(&headers).map(|claim| claim.access_key), Err(error), "{headers:?}");
        }
        let claim =
            parse(&Headers { backendai_version: None, sorna_version: Some("v1.20160915"), ..headers() }).unwrap();
        assert_eq!((claim.version(), claim.legacy_version_header), (ApiVersion::V1, true));
    }
}
