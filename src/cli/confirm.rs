//! `--yes`: what cannot be undone asks on a terminal, and is refused where nobody can be asked.

use std::io::{self, BufRead, IsTerminal, Write};

use super::CliError;

/// The option of every command that cannot be undone.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Yes {
    /// Do it without asking
    #[arg(short = 'y', long)]
    pub(super) yes: bool,
}

// === impl Yes ===

impl Yes {
    /// Asks whether to do `what` ("End 3 sessions"), unless `--yes` says so already.
    ///
    /// # Errors
    /// The answer is not yes, or nobody can be asked.
    pub fn ask(self, what: &str) -> Result<(), CliError> {
        let (input, mut screen) = (io::stdin(), io::stderr());
        self.can_ask(what)?;
        if self.yes {
            return Ok(());
        }
        write!(screen, "{what}? [y/N] ")?;
        screen.flush()?;
        let mut answer = String::new();
        input.lock().read_line(&mut answer)?;
        if is_yes(&answer) { Ok(()) } else { Err(CliError::Declined) }
    }

    /// Whether [`Yes::ask`] will get an answer, for commands that do much before they ask.
    ///
    /// # Errors
    /// Nobody can be asked, and `--yes` does not say so already.
    pub fn can_ask(self, what: &str) -> Result<(), CliError> {
        match self.yes || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
            true => Ok(()),
            false => Err(CliError::Unconfirmed { what: what.to_owned() }),
        }
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
