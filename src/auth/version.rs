//! The version of the API that a request was written for: `v<major>.<date>`.
//!
//! A version that is well formed but not in the list of known ones is no error: the text goes into
//! the signature as sent, clients between two releases carried dates that are in no list, and the
//! first servers compared texts. Whether its major is served is for the router to say. A text of
//! another form can't be ordered against `v4.20181215`, from where on bodies are not signed, so
//! that nobody could say what its signature covers: it is refused.

use std::fmt;

/// A version: major number and date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u16,
    /// `YYYYMMDD` as a number.
    date: u32,
}

impl ApiVersion {
    /// The first.
    pub const V1: ApiVersion = ApiVersion { major: 1, date: 20_160_915 };
    /// Runs have ids.
    pub const V2: ApiVersion = ApiVersion { major: 2, date: 20_170_315 };
    /// The one of releases 1.0 to 1.3.
    pub const V3: ApiVersion = ApiVersion { major: 3, date: 20_170_615 };
    /// From here on the body is not part of the signature.
    pub const V4: ApiVersion = ApiVersion { major: 4, date: 20_181_215 };
    /// The one that the version routes answer.
    pub const LATEST: ApiVersion = ApiVersion::V4;
    /// All that this gateway knows by name.
    pub const KNOWN: [ApiVersion; 4] = [ApiVersion::V1, ApiVersion::V2, ApiVersion::V3, ApiVersion::V4];

    /// Reads `v3.20170615`; `None` for a text of another form.
    pub fn parse(text: &str) -> Option<ApiVersion> {
        let (major, date) = text.strip_prefix('v')?.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(major) || !digits(date) || major.len() > 4 || date.len() != 8 {
            return None;
        }
        Some(ApiVersion { major: major.parse().ok()?, date: date.parse().ok()? })
    }

    /// The known version of a major number, as a path's prefix (`/v3/…`) names it.
    pub fn of_major(major: u16) -> Option<ApiVersion> {
        ApiVersion::KNOWN.into_iter().find(|version| version.major == major)
    }

    /// The major number.
    pub fn major(self) -> u16 {
        self.major
    }

    /// Whether the body is part of the signature.
    pub fn signs_body(self) -> bool {
        self < ApiVersion::V4
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{:08}", self.major, self.date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_major_and_date() {
        for version in ApiVersion::KNOWN {
            assert_eq!(ApiVersion::parse(&version.to_string()), Some(version));
            assert_eq!(ApiVersion::of_major(version.major()), Some(version));
        }
        assert!(ApiVersion::KNOWN.is_sorted());
        assert!(ApiVersion::parse("v4.20181214").unwrap().signs_body());
        assert!(!ApiVersion::parse("v4.20181215").unwrap().signs_body());
        assert!(!ApiVersion::parse("v10.20300101").unwrap().signs_body());
        assert_eq!(ApiVersion::of_major(9), None);
    }

    #[test]
    fn other_forms_are_no_versions() {
        for text in ["", "v4", "4.20181215", "v.20181215", "v4.2018121", "v4.201812150", "v+4.20181215", "v4.2018-215"]
        {
            assert_eq!(ApiVersion::parse(text), None, "{text}");
        }
    }
}
