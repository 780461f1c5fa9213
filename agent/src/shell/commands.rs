//! What a run can say to a kernel with a terminal, and what it is answered: the words are those of
//! agents released before.

/// A command of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `%ping`: somebody is there.
    Ping,
    /// `%resize <rows> <columns>`.
    Resize {
        /// Lines of text.
        rows: u16,
        /// Letters in a line.
        columns: u16,
    },
}

// === impl Command ===

impl Command {
    /// The command that this code is.
    pub fn parse(code: &str) -> Option<Command> {
        let mut words = code.split_whitespace();
        let command = match words.next()? {
            "%ping" => Command::Ping,
            "%resize" => Command::Resize { rows: cells(words.next()?)?, columns: cells(words.next()?)? },
            _ => return None,
        };
        words.next().is_none().then_some(command)
    }

    /// What it is answered once it is done.
    pub fn answer(self) -> String {
        match self {
            Command::Ping => "pong!".to_owned(),
            Command::Resize { rows, columns } => {
                format!("OK; terminal resized to {rows} rows and {columns} cols")
            }
        }
    }
}

/// What any other code is answered, on the error stream.
pub const INVALID: &str = "Invalid command.";

fn cells(word: &str) -> Option<u16> {
    word.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_by_their_words() {
        assert_eq!(Command::parse("%ping"), Some(Command::Ping));
        assert_eq!(Command::parse(" %resize 30  100\n"), Some(Command::Resize { rows: 30, columns: 100 }));
        for bad in
            ["", "ls", "%", "%ping x", "%resize", "%resize 30", "%resize 0 1", "%resize 1 65536", "%resize 1 2 3"]
        {
            assert_eq!(Command::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_are_those_that_clients_know() {
        assert_eq!(Command::Ping.answer(), "pong!");
        let resized = Command::Resize { rows: 30, columns: 100 }.answer();
        assert_eq!(resized, "OK; terminal resized to 30 rows and 100 cols");
    }
}
