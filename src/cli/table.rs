//! Rows below the names of their columns, written as they come.
//!
//! The widths of the columns are decided from the first rows. A file or another program gets every row whole, on one
//! line. On a terminal no line is longer than the screen is wide, since a line that the terminal breaks by itself is
//! hard to read: names of columns are folded at their `_`; then long texts are shortened, down to a width at which
//! they can still be told apart; and what is too much even so goes on on a second line, indented.

use std::{
    io::{self, Write},
    ops::Range,
};

use super::{
    screen::Screen,
    width::{GAP, cut, pad, shrink, total, width},
};

/// How far the second line of a row is indented.
const INDENT: usize = 4;

/// No text is shortened below this.
const FLOOR: usize = 12;

/// Nor a part of a column's name below this.
const HEAD_FLOOR: usize = 8;

/// A table whose columns have their widths.
#[derive(Debug)]
pub struct Table {
    heads: Vec<String>,
    widths: Vec<usize>,
    lines: Vec<Range<usize>>,
    /// Columns of the screen; `None`: nothing is cut.
    room: Option<usize>,
    styled: bool,
}

/// The lines on which a row's columns stand, with what is cut off in all of them together.
type Plan = (usize, Vec<Range<usize>>);

impl Table {
    /// For columns of these names, and for rows like the first ones.
    pub fn new(names: &[String], first: &[Vec<String>], screen: Option<Screen>) -> Table {
        let heads: Vec<String> = names.iter().map(|it| it.to_uppercase()).collect();
        let cell = |at: usize| first.iter().filter_map(|row| row.get(at)).map(|it| width(it)).max().unwrap_or(0);
        let cells: Vec<usize> = (0..heads.len()).map(cell).collect();
        let whole: Vec<usize> = heads.iter().zip(&cells).map(|(head, cell)| width(head).max(*cell)).collect();
        let room = screen.and_then(|it| it.width);
        let styled = screen.is_some_and(|it| it.styled);
        let (lines, widths) = match room {
            Some(room) if total(&whole) > room => folded(&heads, &cells, room),
            _ => (std::iter::once(0..heads.len()).collect(), whole),
        };
        Table { heads, widths, lines, room, styled }
    }

    /// Writes the names of the columns.
    pub fn write_heads(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        for line in &self.lines {
            let columns = self.heads.iter().zip(&self.widths).skip(line.start).take(line.len());
            let folded: Vec<Vec<String>> = columns.map(|(head, width)| fold(head, *width)).collect();
            let height = folded.iter().map(Vec::len).max().unwrap_or(0);
            for at in 0..height {
                // They stand on the rows: the shorter ones begin further down.
                let part =
                    |head: &Vec<String>| at.checked_sub(height - head.len()).and_then(|at| head.get(at).cloned());
                let parts: Vec<String> = folded.iter().map(|head| part(head).unwrap_or_default()).collect();
                let text = self.line(line, &parts);
                match self.styled {
                    true => writeln!(out, "\x1b[1m{text}\x1b[0m")?,
                    false => writeln!(out, "{text}")?,
                }
            }
        }
        Ok(())
    }

    /// Writes rows, each with a cell for every column.
    pub fn write_rows(&self, rows: &[Vec<String>], out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        for row in rows {
            for line in &self.lines {
                writeln!(out, "{}", self.line(line, row.get(line.clone()).unwrap_or_default()))?;
            }
        }
        Ok(())
    }

    /// The cells of one line. Some that are wider than the first rows' push the others aside while there is room.
    fn line(&self, line: &Range<usize>, cells: &[String]) -> String {
        let indent = if line.start == 0 { 0 } else { INDENT };
        let widths: Vec<usize> = self.widths.iter().copied().skip(line.start).take(line.len()).collect();
        let wanted: Vec<usize> = cells.iter().map(|it| width(it)).collect();
        let aside: Vec<usize> = wanted.iter().zip(&widths).map(|(wanted, width)| *wanted.max(width)).collect();
        let used: usize = aside.iter().rev().skip(1).map(|it| it + GAP).sum();
        let room = self.room.map(|it| it.saturating_sub(indent));
        let fits = room.is_none_or(|room| used + wanted.last().copied().unwrap_or(0) <= room);
        let widths = if fits { aside } else { widths };
        let padded = cells.iter().zip(&widths).map(|(cell, width)| pad(&cut(cell, *width), *width));
        let text = padded.collect::<Vec<_>>().join(&" ".repeat(GAP));
        format!("{}{}", " ".repeat(indent), text.trim_end())
    }
}

/// Lines and widths for a screen on which the columns do not fit beside each other.
fn folded(heads: &[String], cells: &[usize], room: usize) -> (Vec<Range<usize>>, Vec<usize>) {
    let word = |head: &String| head.split('_').map(width).max().unwrap_or(0).min(HEAD_FLOOR);
    let natural: Vec<usize> = heads.iter().zip(cells).map(|(head, cell)| word(head).max(*cell)).collect();
    let floors: Vec<usize> = natural.iter().map(|it| (*it).min(FLOOR)).collect();
    let plans = (1..=natural.len()).find_map(|lines| plan(&natural, &floors, room, lines, 0));
    let lines = plans.map(|it| it.1).unwrap_or_default();
    let of_line = |line: &Range<usize>| {
        let room = room_of(room, line.start);
        let natural = natural.get(line.clone()).unwrap_or_default();
        let floors: Vec<usize> = match line.len() {
            1 => natural.iter().map(|_| 1).collect(),
            _ => floors.get(line.clone()).unwrap_or_default().to_vec(),
        };
        shrink(natural, &floors, room)
    };
    let widths = lines.iter().flat_map(of_line).collect();
    (lines, widths)
}

/// The columns from `start` on, on that many lines, so that the least is cut off; of those alike, with the most on
/// the first lines. `None`: they do not fit.
fn plan(natural: &[usize], floors: &[usize], room: usize, lines: usize, start: usize) -> Option<Plan> {
    let rest = natural.len().checked_sub(start)?;
    if lines == 0 || rest < lines {
        return (lines == 0 && rest == 0).then(|| (0, Vec::new()));
    }
    let own = room_of(room, start);
    let mut best: Option<Plan> = None;
    for end in (start + 1..=natural.len() + 1 - lines).rev() {
        // A column that does not fit on a line of its own is cut all the same.
        if end > start + 1 && total(floors.get(start..end)?) > own {
            continue;
        }
        let Some((others, tail)) = plan(natural, floors, room, lines - 1, end) else { continue };
        let cut = others + total(natural.get(start..end)?).saturating_sub(own);
        if best.as_ref().is_none_or(|best| cut < best.0) {
            best = Some((cut, std::iter::once(start..end).chain(tail).collect()));
        }
    }
    best
}

/// What a screen has room for on the line that begins with this column.
fn room_of(room: usize, start: usize) -> usize {
    room.saturating_sub(if start == 0 { 0 } else { INDENT }).max(1)
}

/// A column's name on lines of that width, broken at its `_`.
fn fold(head: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in head.split('_') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push('_');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line, columns)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(names: &[&str], rows: &[&[&str]], screen: Option<usize>) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|it| (*it).to_owned()).collect()).collect();
        let screen = screen.map(|width| Screen { width: Some(width), styled: false });
        // As lists come: the widths are known from the first row alone.
        let table = Table::new(&names, rows.get(..1).unwrap_or_default(), screen);
        let mut out = Vec::new();
        table.write_heads(&mut out).unwrap();
        rows.chunks(2).for_each(|rows| table.write_rows(rows, &mut out).unwrap());
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    const UUID: &str = "6f1c9a52-0d2b-4a43-9b1e-0a4a6c0f2f11";

    #[test]
    fn what_does_not_go_to_a_terminal_is_whole() {
        let lines = written(
            &["id", "name"],
            &[&[UUID, "a"], &["longer than the first one, which the widths are of", "b"]],
            None,
        );
        let head = format!("ID{}  NAME", " ".repeat(34));
        assert_eq!(lines, [&head, &format!("{UUID}  a"), "longer than the first one, which the widths are of  b"]);
    }

    #[test]
    fn names_of_columns_are_folded_before_anything_is_cut() {
        let lines = written(&["id", "used_mem_slots", "status"], &[&["i-local", "12", "ALIVE"]], Some(24));
        assert_eq!(lines, ["         USED", "         MEM", "ID       SLOTS  STATUS", "i-local  12     ALIVE"]);
    }

    #[test]
    fn long_texts_are_shortened_and_the_first_ones_least() {
        let row = ["my-session", UUID, "python:3.6", "RUNNING"];
        let lines = written(&["sess_id", "id", "lang", "status"], &[&row], Some(50));
        assert_eq!(lines[1], "my-session  6f1c9a52-0d2b-4a…  python:3.6  RUNNING");
    }

    #[test]
    fn a_row_that_would_be_cut_beyond_recognition_goes_on_on_a_second_line() {
        let row =
            ["my-session", UUID, "AKIAIOSFODNN7EXAMPLE", "python:3.6", "RUNNING", "i-local", "2026-11-24T23:04:40Z"];
        let names = ["sess_id", "id", "access_key", "lang", "status", "agent", "created_at"];
        let lines = written(&names, &[&row, &row], Some(80));
        assert_eq!(lines[2], format!("my-session  {UUID}  AKIAIOSFODNN7EXAMPLE"));
        assert_eq!(lines[3], "    python:3.6  RUNNING  i-local  2026-11-24T23:04:40Z");
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn a_later_row_pushes_others_aside_while_there_is_room() {
        let rows: [&[&str]; 3] = [&["a", "b"], &["aaaa", "b"], &["aaaaaaaaaaaaaaaa", "b"]];
        assert_eq!(written(&["x", "y"], &rows, Some(10))[1..], ["a  b", "aaaa  b", "…  b"]);
    }

    #[test]
    fn heads_are_set_off_where_they_may_be() {
        let screen = |styled| Some(Screen { width: Some(80), styled });
        let heads = |screen| {
            let mut out = Vec::new();
            Table::new(&["id".to_owned()], &[], screen).write_heads(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!((heads(screen(true)).as_str(), heads(screen(false)).as_str()), ("\x1b[1mID\x1b[0m\n", "ID\n"));
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_screen_and_no_column_is_lost(
            columns in prop::collection::vec(("[a-z]{1,12}(_[a-z]{1,12}){0,2}", "\\PC{0,40}"), 1..14),
            other in "\\PC{0,60}",
            room in 8_usize..200,
        ) {
            let names: Vec<&str> = columns.iter().map(|it| it.0.as_str()).collect();
            let first: Vec<&str> = columns.iter().map(|it| it.1.as_str()).collect();
            let second: Vec<&str> = columns.iter().map(|_| other.as_str()).collect();
            for line in written(&names, &[&first, &second], Some(room)) {
                prop_assert!(width(&line) <= room, "{line:?}");
            }
            let heads: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
            let table = Table::new(&heads, &[], Some(Screen { width: Some(room), styled: false }));
            let shown: Vec<usize> = table.lines.iter().cloned().flatten().collect();
            prop_assert_eq!(shown, (0..columns.len()).collect::<Vec<_>>());
        }
    }
}
