//! The terminal while the view has it: a screen of its own without echo, given back however the program ends.

use std::{
    io::{self, Stdout, stdout},
    sync::Once,
};

use crossterm::{
    cursor::Show,
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend};

/// The screen; dropping it gives the terminal back.
pub struct Screen {
    /// What is drawn on.
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none, or it is gone.
    pub fn take() -> io::Result<Screen> {
        restore_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        let screen = Screen { terminal };
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was before. A terminal that is gone needs nothing.
fn give_back() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// A message of a panic would go to a screen that vanishes with it.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            hook(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that panics.
    const CHILD: &str = "BACKENDAI_TEST_PANICS";

    /// The test runs itself once more, in a terminal that `script` (util-linux) makes, and panics there.
    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        if std::env::var_os(CHILD).is_some() {
            let mut screen = Screen::take().unwrap();
            screen.terminal.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
            panic!("on purpose");
        }
        let name = "cli::top::terminal::tests::a_panic_gives_the_terminal_back_before_it_is_told";
        let program = std::env::current_exe().unwrap();
        let command =
            format!("stty size; stty cols 80 rows 24; '{}' --exact {name} --nocapture; stty -a", program.display());
        let mut script = Command::new("script");
        script.args(["-qc", &command, "/dev/null"]).env(CHILD, "1").env("TERM", "xterm");
        let output = script.stdin(std::process::Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in {text:?}"));
        assert!(at("\x1b[?1049h") < at("drawn") && at("drawn") < at("\x1b[?1049l"), "{text:?}");
        assert!(at("\x1b[?1049l") < at("on purpose"), "{text:?}");
        assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is visible: {text:?}");
        assert!(text.contains(" icanon") && text.contains(" echo "), "{text:?}");
    }
}
