//! What a check found: one line that says what is so, with names, and another that says what mends it.

use serde::Serialize;

use crate::store::postgres::reconcile::SumOf;

/// How something stands, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It was wrong until `--fix` mended it.
    Mended,
    /// Right, and worth knowing.
    Note,
    /// It was not looked at, since what it needs failed.
    Skipped,
    /// It works, and somebody should look.
    Warning,
    /// It does not work, or will not.
    Failed,
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// How it stands.
    pub state: State,
    /// What is so, in one line.
    pub what: String,
    /// What mends it, or what it is good for; empty where nothing is to be done.
    pub mend: String,
    /// What `--fix` would mend.
    #[serde(skip)]
    pub sum: Option<SumOf>,
}

/// How many things of one kind are named; the others are counted.
pub const NAMED: usize = 20;

// === impl State ===

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Mended => "mended",
            State::Note => "note",
            State::Skipped => "skipped",
            State::Warning => "warning",
            State::Failed => "failed",
        }
    }
}

// === impl Finding ===

impl Finding {
    /// All is well.
    pub fn ok(what: impl Into<String>) -> Finding {
        Finding::new(State::Ok, what, "")
    }

    /// Worth knowing.
    pub fn note(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding::new(State::Note, what, mend)
    }

    /// Somebody should look.
    pub fn warning(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding::new(State::Warning, what, mend)
    }

    /// It does not work.
    pub fn failed(what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding::new(State::Failed, what, mend)
    }

    /// It was not looked at, since that check failed.
    pub fn skipped(because: &str) -> Finding {
        Finding::new(State::Skipped, format!("not looked at, as {because} failed"), "")
    }

    fn new(state: State, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check: "", state, what: what.into(), mend: mend.into(), sum: None }
    }

    /// The same of a check.
    #[must_use]
    pub fn of(self, check: &'static str) -> Finding {
        Finding { check, ..self }
    }
}

/// What is wrong; or, where nothing is, that.
pub fn or_ok(found: Vec<Finding>, well: impl Into<String>) -> Vec<Finding> {
    if found.is_empty() { vec![Finding::ok(well)] } else { found }
}

/// The first names, and how many there are beside.
pub fn names(all: &[String]) -> String {
    let shown = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A number and its noun.
pub fn count(number: usize, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}
