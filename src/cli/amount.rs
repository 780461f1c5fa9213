//! Numbers in as few characters as tell them: for tables and for the live view.

use std::time::Duration;

/// A latency in microseconds: `64µs`, `1.0ms`, `17s`.
pub fn micros(micros: u64) -> String {
    match micros as f64 {
        micros if micros < 1e3 => format!("{micros}µs"),
        micros if micros < 9.95e3 => format!("{:.1}ms", micros / 1e3),
        micros if micros < 1e6 => format!("{:.0}ms", micros / 1e3),
        micros if micros < 9.95e6 => format!("{:.1}s", micros / 1e6),
        micros => format!("{:.0}s", micros / 1e6),
    }
}

/// A number that is large sometimes: `0.4`, `12`, `1.2k`, `34M`.
pub fn number(number: f64) -> String {
    let units = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
    scaled(number, &units, 1e3)
}

/// Bytes: `512B`, `3.2MiB`.
pub fn bytes(bytes: u64) -> String {
    let step = 1024.0_f64;
    let units = [("B", 1.0), ("KiB", step), ("MiB", step.powi(2)), ("GiB", step.powi(3)), ("TiB", step.powi(4))];
    scaled(bytes as f64, &units, step)
}

/// How long something has been so, in its two largest units: `5s`, `3m12s`, `2h05m`, `3d04h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// A share of a core: `0.4%`, `98%`.
pub fn percent(share: f64) -> String {
    format!("{}%", short(share * 100.0))
}

/// Slots, which may be parts of one: `4`, `0.5`, `1.25`.
pub fn slots(slots: f64) -> String {
    let text = format!("{slots:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn scaled(number: f64, units: &[(&str, f64)], step: f64) -> String {
    // What would be rounded up to a whole step takes the next unit.
    let fits = |unit: f64| (number / unit).round() < step;
    let (name, unit) = units.iter().find(|it| fits(it.1)).or(units.last()).copied().unwrap_or(("", 1.0));
    format!("{}{name}", short(number / unit))
}

/// With a digit behind the point below 10, unless that is 0.
fn short(number: f64) -> String {
    let text = if number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") };
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_in_the_unit_that_suits() {
        assert_eq!(
            [0, 64, 1024, 16384, 131_072, 2_097_152, 33_554_432].map(micros),
            ["0µs", "64µs", "1.0ms", "16ms", "131ms", "2.1s", "34s"]
        );
        assert_eq!(
            [0.0, 0.42, 9.96, 12.0, 999.4, 999.6, 1234.0, 34e6, 9e18].map(number),
            ["0", "0.4", "10", "12", "999", "1k", "1.2k", "34M", "9000000T"]
        );
        assert_eq!([0, 1023, 1024, 3_355_443, 17 << 30].map(bytes), ["0B", "1023B", "1KiB", "3.2MiB", "17GiB"]);
        let spans = [5, 192, 7500, 273_600].map(|it| span(Duration::from_secs(it)));
        assert_eq!(spans, ["5s", "3m12s", "2h05m", "3d04h"]);
        assert_eq!([0.0, 0.004, 0.98, 1.5].map(percent), ["0%", "0.4%", "98%", "150%"]);
        assert_eq!([4.0, 0.5, 1.25, 1.0 / 3.0, 10.0, 0.0].map(slots), ["4", "0.5", "1.25", "0.33", "10", "0"]);
    }
}
