//! The budgets, and how what was measured stands against them. Pure: numbers in, rows out.

use serde_json::{Value, json};

/// Which side of its bound a number must be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Not above.
    AtMost,
    /// Not below.
    AtLeast,
}

/// One line of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The number.
    pub value: f64,
    /// Its unit; empty for a ratio.
    pub unit: &'static str,
    /// What it has to be.
    pub bound: Bound,
    /// The budget.
    pub budget: f64,
}

/// What the Python manager 1.0.4 took on another day, on two cores: CPU µs for a signed `GET /v4/auth` (the lowest
/// that was seen), and for an execute.
pub const PYTHON: (f64, f64) = (3500.0, 10_000.0);
/// What nginx with Lua doing an HMAC and a Redis INCR took on another day, in CPU µs: the lowest that was seen.
pub const NGINX_LUA: f64 = 54.0;

// === impl Row ===

impl Row {
    /// A number that may not be above its budget.
    pub fn at_most(what: impl Into<String>, value: f64, unit: &'static str, budget: f64) -> Row {
        Row { what: what.into(), value, unit, bound: Bound::AtMost, budget }
    }

    /// A number that may not be below its budget.
    pub fn at_least(what: impl Into<String>, value: f64, unit: &'static str, budget: f64) -> Row {
        Row { what: what.into(), value, unit, bound: Bound::AtLeast, budget }
    }

    /// Whether the budget is held; what is not a number holds none.
    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost => self.value <= self.budget,
            Bound::AtLeast => self.value >= self.budget,
        }
    }

    fn cells(&self) -> [String; 4] {
        let sign = if self.bound == Bound::AtMost { "≤" } else { "≥" };
        let number = |value: f64| format!("{} {}", short(value), self.unit).trim_end().to_owned();
        let verdict = if self.holds() { "pass" } else { "**MISS**" };
        [self.what.clone(), number(self.value), format!("{sign} {}", number(self.budget)), verdict.to_owned()]
    }

    fn to_json(&self) -> Value {
        json!({
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "bound": if self.bound == Bound::AtMost { "at most" } else { "at least" },
            "budget": self.budget,
            "holds": self.holds(),
        })
    }
}

/// Whether every budget is held.
pub fn all_hold(rows: &[Row]) -> bool {
    rows.iter().all(Row::holds)
}

/// Rows as a Markdown table.
pub fn markdown(rows: &[Row]) -> String {
    let head = "| what | measured | budget | |\n|---|---|---|---|\n".to_owned();
    rows.iter().fold(head, |text, row| format!("{text}| {} |\n", row.cells().join(" | ")))
}

/// Rows as a JSON array.
pub fn to_json(rows: &[Row]) -> Value {
    rows.iter().map(Row::to_json).collect()
}

/// The middle one of some numbers; not a number where there are none.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three digits, or all of those before the point.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_held_up_to_its_bound_and_never_by_what_is_no_number() {
        assert!(Row::at_most("x", 1.1, "", 1.1).holds());
        assert!(!Row::at_most("x", 1.11, "", 1.1).holds());
        assert!(Row::at_least("x", 1.9, "", 1.9).holds());
        assert!(!Row::at_least("x", 1.89, "", 1.9).holds());
        assert!(!Row::at_most("x", f64::NAN, "", 1.0).holds() && !Row::at_least("x", f64::NAN, "", 1.0).holds());
    }

    #[test]
    fn a_table_says_number_budget_and_verdict() {
        let rows = [Row::at_most("a", 123.4, "µs", 99.0), Row::at_least("b", 1.934, "", 1.9)];
        let lines = markdown(&rows);
        assert!(lines.contains("| a | 123 µs | ≤ 99.0 µs | **MISS** |\n| b | 1.93 | ≥ 1.90 | pass |\n"), "{lines}");
        assert_eq!(to_json(&rows)[1]["holds"], json!(true));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(vec![]).is_nan());
    }
}
