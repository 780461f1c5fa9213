//! Where a command's output goes: to a terminal, whose lines have an end, or to a file or another program, which gets
//! everything.

use std::io::{self, BufWriter, IsTerminal, Write};

/// What a terminal offers to tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns; `None` where the terminal does not say.
    pub width: Option<usize>,
    /// Whether text may be set off: not with `NO_COLOR`, nor on a terminal that knows no escapes.
    pub styled: bool,
}

/// A writer that knows whether it is a terminal.
pub trait Sink: Write {
    /// The terminal behind it, if there is one.
    fn screen(&self) -> Option<Screen>;
}

/// Whether the environment lets programs set text off: see no-color.org.
pub fn styled() -> bool {
    let set = |name| std::env::var_os(name).filter(|it| !it.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|it| it != "dumb")
}

/// The terminal's columns and lines, if it knows them.
pub fn size() -> Option<(usize, usize)> {
    let size = crossterm::terminal::window_size().ok()?;
    (size.columns > 0 && size.rows > 0).then(|| (size.columns.into(), size.rows.into()))
}

// === impl Sink ===

impl Sink for io::Stdout {
    fn screen(&self) -> Option<Screen> {
        self.is_terminal().then(|| Screen { width: size().map(|it| it.0), styled: styled() })
    }
}

impl<W: Sink> Sink for BufWriter<W> {
    fn screen(&self) -> Option<Screen> {
        self.get_ref().screen()
    }
}

impl Sink for Vec<u8> {
    fn screen(&self) -> Option<Screen> {
        None
    }
}
