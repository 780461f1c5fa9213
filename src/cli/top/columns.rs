//! Columns that fit the screen: where there is no room for all, texts yield first, and then those columns go that
//! matter least. A number is whole or not there.

use super::super::width::{cut, pad, pad_left, shrink, total, width};

/// A column of a pane.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub head: &'static str,
    /// The higher, the longer it stays; each column of a pane has its own.
    pub rank: u8,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To the right, never cut; at least as wide, so that it does not move with every change.
    Number(usize),
    /// To the left, never cut.
    Word(usize),
    /// To the left, cut down to that many columns before another column goes.
    Text(usize),
}

/// The widths of the columns that stay; `None`: it has gone. The last one stays whatever the room.
pub fn fit(columns: &[Column], rows: &[Vec<String>], room: usize) -> Vec<Option<usize>> {
    let cells = |at: usize| rows.iter().filter_map(move |row| row.get(at)).map(|it| width(it)).max().unwrap_or(0);
    let wanted = |(at, column): (usize, &Column)| {
        let natural = width(column.head).max(cells(at));
        match column.kind {
            Kind::Number(least) | Kind::Word(least) => (natural.max(least), natural.max(least)),
            Kind::Text(floor) => (natural, natural.min(floor.max(width(column.head)))),
        }
    };
    let wanted: Vec<(usize, usize)> = columns.iter().enumerate().map(wanted).collect();
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let of = |kept: &[usize], which: fn(&(usize, usize)) -> usize| -> Vec<usize> {
        kept.iter().filter_map(|at| wanted.get(*at)).map(which).collect()
    };
    while kept.len() > 1 && total(&of(&kept, |it| it.1)) > room {
        let least = kept.iter().copied().min_by_key(|at| columns.get(*at).map(|it| it.rank));
        kept.retain(|at| Some(*at) != least);
    }
    let widths = shrink(&of(&kept, |it| it.0), &of(&kept, |it| it.1), room);
    let mut fitted = vec![None; columns.len()];
    for (at, width) in kept.into_iter().zip(widths) {
        if let Some(place) = fitted.get_mut(at) {
            *place = Some(width.min(room));
        }
    }
    fitted
}

/// One line of cells of these widths.
pub fn line<'a>(columns: &[Column], widths: &[Option<usize>], cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells = columns.iter().zip(widths).zip(cells);
    let shown = cells.filter_map(|((column, width), cell)| {
        let width = (*width)?;
        let cell = cut(cell, width);
        Some(match column.kind {
            Kind::Number(_) => pad_left(&cell, width),
            Kind::Word(_) | Kind::Text(_) => pad(&cell, width),
        })
    });
    shown.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { head: "NAME", rank: 9, kind: Kind::Text(6) },
        Column { head: "REQ/S", rank: 8, kind: Kind::Number(6) },
        Column { head: "CPU", rank: 2, kind: Kind::Number(4) },
        Column { head: "STATE", rank: 5, kind: Kind::Word(5) },
    ];

    fn lines(room: usize) -> [String; 2] {
        let row = ["a-long-name", "1234", "30%", "ready"].map(str::to_owned).to_vec();
        let widths = fit(&COLUMNS, std::slice::from_ref(&row), room);
        [
            line(&COLUMNS, &widths, COLUMNS.iter().map(|it| it.head)),
            line(&COLUMNS, &widths, row.iter().map(String::as_str)),
        ]
    }

    #[test]
    fn texts_yield_before_columns_go_and_numbers_are_whole() {
        assert_eq!(lines(40), ["NAME          REQ/S   CPU  STATE", "a-long-name    1234   30%  ready"]);
        assert_eq!(lines(28), ["NAME      REQ/S   CPU  STATE", "a-long…    1234   30%  ready"]);
        assert_eq!(lines(26), ["NAME          REQ/S  STATE", "a-long-name    1234  ready"]);
        assert_eq!(lines(15), ["NAME      REQ/S", "a-long…    1234"]);
        assert_eq!(lines(5), ["NAME", "a-lo…"]);
    }

    proptest! {
        #[test]
        fn lines_fit_and_only_texts_are_cut(
            cells in prop::collection::vec("[a-z0-9]{0,30}", 4),
            room in 1_usize..100,
        ) {
            let widths = fit(&COLUMNS, std::slice::from_ref(&cells), room);
            let shown = line(&COLUMNS, &widths, cells.iter().map(String::as_str));
            prop_assert!(width(&shown) <= room);
            for ((column, kept), cell) in COLUMNS.iter().zip(&widths).zip(&cells) {
                let alone = widths.iter().flatten().count() == 1;
                if column.kind != Kind::Text(6) && !alone {
                    prop_assert!(kept.is_none_or(|it| it >= width(cell)));
                }
            }
            // Who goes, goes by rank.
            let ranks = |gone: bool| COLUMNS.iter().zip(&widths).filter(move |it| it.1.is_none() == gone).map(|it| it.0.rank);
            prop_assert!(ranks(true).max().unwrap_or(0) < ranks(false).min().unwrap_or(99));
        }
    }
}
