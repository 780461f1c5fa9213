//! Progress bars of long work. They are drawn on standard error, and only where that is a terminal: what a command
//! was asked for stays alone on standard output.

use indicatif::{ProgressBar, ProgressStyle};

/// Fewer steps than that are done before anybody could read a bar.
const WORTH_SHOWING: usize = 10;

/// A bar that vanishes when it is dropped.
pub struct Progress(ProgressBar);

// === impl Progress ===

impl Progress {
    /// A bar of `total` steps that each take their time.
    pub fn new(what: &str, total: usize) -> Progress {
        let bar = ProgressBar::new(total as u64);
        // No colours: NO_COLOR has nothing to switch off.
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar.tick();
        Progress(bar)
    }

    /// A bar of `total` quick steps, hidden where there are few.
    pub fn of_many(what: &str, total: usize) -> Progress {
        if total < WORTH_SHOWING { Progress(ProgressBar::hidden()) } else { Progress::new(what, total) }
    }

    /// So many steps are done.
    pub fn at(&self, done: usize) {
        self.0.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
