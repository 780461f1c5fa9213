//! `--yes`: what cannot be undone asks on a terminal, and is refused where nobody can be asked.

use std::io::{self, BufRead, IsTerminal, Write};

use super::CliError;

/// The option of every command that cannot be undone.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Yes {
    /// Do it without asking
    #[arg(short = 'y', long)]
    yes: bool,
}

// === impl Yes ===

impl Yes {
    /// Asks whether to do `what` ("End 3 sessions"), unless `--yes` says so already.
    ///
    /// # Errors
    /// The answer is not yes, or nobody can be asked.
    pub fn ask(self, what: &str) -> Result<(), CliError> {
        let (input, mut screen) = (io::stdin(), io::stderr());
        if self.yes {
            return Ok(());
        }
        if !input.is_terminal() || !screen.is_terminal() {
            return Err(CliError::Unconfirmed { what: what.to_owned() });
        }
        write!(screen, "{what}? [y/N] ")?;
        screen.flush()?;
        let mut answer = String::new();
        input.lock().read_line(&mut answer)?;
        if is_yes(&answer) { Ok(()) } else { Err(CliError::Declined) }
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// `1 session`, `3 sessions`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(["y\n", "Y\r\n", " yes\n", "YES"].into_iter().all(is_yes));
        assert!(!["\n", "", "n\n", "no\n", "yep\n", "y y\n"].into_iter().any(is_yes));
    }
}
