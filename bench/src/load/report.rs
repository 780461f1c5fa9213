//! What a load showed, for people and for programs.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::Outcome;
use crate::process;

/// A load's outcome and the CPU time that servers used meanwhile.
#[derive(Clone, Debug)]
pub struct Report {
    /// What came of the load.
    pub outcome: Outcome,
    /// User and system time of each group of servers, by name.
    pub cpu: Vec<(String, Duration)>,
}

/// Processes whose CPU time is told, as a group.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What they are called in a report.
    pub name: String,
    /// Their pids; all that descends from them counts too.
    pub roots: Vec<i32>,
}

// === impl Report ===

impl Report {
    /// Runs a load and tells what the servers used for it.
    ///
    /// # Errors
    /// The load could not be run.
    pub fn of<E>(watched: &[Watched], load: impl FnOnce() -> Result<Outcome, E>) -> Result<Report, E> {
        let used = || watched.iter().map(|group| process::cpu(&group.roots));
        let before: Vec<Duration> = used().collect();
        let outcome = load()?;
        let cpu = watched.iter().zip(used().zip(before));
        let cpu = cpu.map(|(group, (after, before))| (group.name.clone(), after.saturating_sub(before)));
        Ok(Report { cpu: cpu.collect(), outcome })
    }

    /// CPU time for an answered request, in µs, of the group of that name; not a number if nothing was answered.
    pub fn micros(&self, name: &str) -> f64 {
        let used = self.cpu.iter().find(|(group, _)| group == name).map_or(Duration::ZERO, |(_, used)| *used);
        used.as_secs_f64() * 1e6 / self.outcome.answered as f64
    }

    /// Requests that were not answered as expected.
    pub fn failed(&self) -> u64 {
        self.outcome.errors.values().sum()
    }

    /// Answers in a second.
    pub fn rate(&self) -> f64 {
        self.outcome.answered as f64 / self.outcome.took.as_secs_f64()
    }

    /// The same as a JSON object.
    pub fn to_json(&self) -> Value {
        let Outcome { answered, errors, latencies, took } = &self.outcome;
        let cpu: serde_json::Map<String, Value> =
            self.cpu.iter().map(|(name, _)| (name.clone(), json!(self.micros(name)))).collect();
        json!({
            "answered": answered,
            "errors": errors,
            "seconds": took.as_secs_f64(),
            "per_second": self.rate(),
            "cpu_micros_per_request": cpu,
            "latency_micros": {
                "p50": latencies.percentile(0.5),
                "p90": latencies.percentile(0.9),
                "p99": latencies.percentile(0.99),
                "max": latencies.percentile(1.0),
            },
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { answered, errors, latencies, took } = &self.outcome;
        writeln!(f, "answered   {answered} in {:.2} s, {:.0} a second", took.as_secs_f64(), self.rate())?;
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|part| latencies.percentile(part));
        writeln!(f, "latency    p50 {p50} µs, p90 {p90} µs, p99 {p99} µs, max {max} µs")?;
        for (name, _) in &self.cpu {
            writeln!(f, "CPU        {:.2} µs a request in {name}", self.micros(name))?;
        }
        for (error, count) in errors {
            writeln!(f, "error      {count} × {error}")?;
        }
        write!(f, "failed     {}", self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_divided_by_what_was_answered() {
        let outcome = Outcome { answered: 1000, took: Duration::from_secs(2), ..Outcome::default() };
        let report = Report { outcome, cpu: vec![("gateway".into(), Duration::from_millis(20))] };
        assert_eq!((report.micros("gateway"), report.micros("redis"), report.rate()), (20.0, 0.0, 500.0));
        assert_eq!(report.to_json()["cpu_micros_per_request"]["gateway"], json!(20.0));
        assert!(report.to_string().contains("20.00 µs a request in gateway"), "{report}");
    }
}
