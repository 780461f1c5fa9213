//! Names that can't be wrong.

use std::{fmt, rc::Rc};

/// A session's name, as its client chose it: 4 to 64 letters, digits, `-`, `_`, `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionName(Rc<str>);

impl SessionName {
    /// Takes a text for what it is, or `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (4..=64).contains(&text.len());
        let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        (fits && clean).then(|| SessionName(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Resources of a session, or of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slots {
    /// Memory in MiB.
    pub mem: i64,
    /// Cores.
    pub cpu: f64,
    /// GPUs, in fractions.
    pub gpu: f64,
}

impl Slots {
    /// Whether that much fits into this.
    pub fn fits(&self, wanted: &Slots) -> bool {
        // Sums of fractions are off by about 1e-16 each; a millionth of a slot is nobody's.
        const SLACK: f64 = 1e-6;
        wanted.mem <= self.mem && wanted.cpu <= self.cpu + SLACK && wanted.gpu <= self.gpu + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_names_are_as_the_contract_says() {
        for good in ["abcd", "a-b_c.d9", &"x".repeat(64)] {
            assert!(SessionName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "abc", &"x".repeat(65), "with space", "käse", "a/bc", "abc\n"] {
            assert!(SessionName::parse(bad).is_none(), "{bad:?}");
        }
    }
}
