//! Findings for people and for programs.

use std::{collections::BTreeMap, io};

use anstyle::{AnsiColor, Style};

use super::finding::{Finding, State, count};
use crate::cli::{CliError, Out};

/// How each check stands: by its worst finding.
pub fn standing(found: &[Finding]) -> BTreeMap<&'static str, State> {
    let mut checks = BTreeMap::new();
    for it in found {
        let worst = checks.entry(it.check).or_insert(it.state);
        *worst = it.state.max(*worst);
    }
    checks
}

/// Writes an array of objects.
pub fn write_json(found: &[Finding], out: Out<'_>) -> Result<(), CliError> {
    serde_json::to_writer_pretty(&mut *out, found).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// Writes a line for each finding, and below it what mends it.
pub fn write_lines(found: &[Finding], coloured: bool, out: Out<'_>) -> io::Result<()> {
    let width = found.iter().map(|it| it.check.len()).max().unwrap_or(0);
    for it in found {
        let style = if coloured { style(it.state) } else { Style::new() };
        writeln!(out, "{style}{:7}{style:#}  {:width$}  {}", it.state.name(), it.check, plain(&it.what))?;
        if !it.mend.is_empty() {
            writeln!(out, "{:7}  {:width$}  -> {}", "", "", plain(&it.mend))?;
        }
    }
    Ok(())
}

/// How many checks stand how, in one line.
pub fn summary(found: &[Finding]) -> String {
    let checks = standing(found);
    let of = |state: State| checks.values().filter(|it| **it == state).count();
    let all = [State::Ok, State::Note, State::Warning, State::Failed, State::Skipped, State::Mended];
    let parts = all.into_iter().filter(|state| of(*state) > 0).map(|state| format!("{} {}", of(state), state.name()));
    format!("{}: {}", count(checks.len(), "check"), parts.collect::<Vec<_>>().join(", "))
}

fn style(state: State) -> Style {
    let colour = match state {
        State::Ok | State::Mended => AnsiColor::Green,
        State::Note => AnsiColor::Cyan,
        State::Skipped => return Style::new().dimmed(),
        State::Warning => AnsiColor::Yellow,
        State::Failed => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    if state == State::Failed { style.bold() } else { style }
}

/// Without control characters, which a name could bring.
fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Vec<Finding> {
        vec![
            Finding::ok("fine").of("a"),
            Finding::failed("bad \u{1b}[2J", "do this").of("long-name"),
            Finding::note("well", "").of("long-name"),
        ]
    }

    fn lines(coloured: bool) -> String {
        let mut out = Vec::new();
        write_lines(&found(), coloured, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_says_what_is_so_and_the_next_what_mends_it() {
        let expected = "ok       a          fine\n\
                        failed   long-name  bad \u{fffd}[2J\n                    -> do this\n\
                        note     long-name  well\n";
        assert_eq!(lines(false), expected);
        assert_eq!(summary(&found()), "2 checks: 1 ok, 1 failed");
    }

    #[test]
    fn colours_are_of_states_alone() {
        let coloured = lines(true);
        assert!(coloured.contains("\u{1b}[1m\u{1b}[31mfailed \u{1b}[0m  long-name"), "{coloured:?}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), lines(false));
    }

    #[test]
    fn json_is_an_array_of_objects() {
        let mut out = Vec::new();
        write_json(&found(), &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected =
            serde_json::json!({"check": "long-name", "state": "failed", "what": "bad \u{1b}[2J", "mend": "do this"});
        assert_eq!(value[1], expected);
    }
}
