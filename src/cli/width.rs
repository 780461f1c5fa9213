//! Columns of text in a terminal: how wide a text is there, how it is cut, and who yields where there is no room.

use unicode_width::UnicodeWidthStr;

/// The blank between two columns.
pub const GAP: usize = 2;

/// What stands for the part of a text that was cut off.
const CUT: char = '…';

/// The columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text of at most `most` columns: itself, or its beginning and a `…`.
pub fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    // Marks that take no column could be without end.
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).take(most.saturating_mul(4));
    let fits = |end: &usize| text.get(..*end).is_some_and(|it| width(it) <= room);
    let end = ends.take_while(fits).last().unwrap_or(0);
    let mut short = text.get(..end).unwrap_or_default().to_owned();
    if most > 0 {
        short.push(CUT);
    }
    short
}

/// A text with blanks behind it, up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A text with blanks before it, up to `columns`.
pub fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Columns of these widths with the gaps between them.
pub fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Widths that fit into `room`, gaps included: the widest yield first, none below its `floor`. Where even the floors
/// do not fit, these.
pub fn shrink(natural: &[usize], floors: &[usize], room: usize) -> Vec<usize> {
    let capped = |cap: usize| -> Vec<usize> {
        natural.iter().zip(floors).map(|(width, floor)| (*width).min(cap.max(*floor))).collect()
    };
    let widest = natural.iter().copied().max().unwrap_or(0);
    let cap = (0..=widest).rev().find(|cap| total(&capped(*cap)) <= room).unwrap_or(0);
    let mut widths = capped(cap);
    // What is left over of the last step goes to those that yielded, from the left.
    let mut left = room.saturating_sub(total(&widths));
    for (width, natural) in widths.iter_mut().zip(natural) {
        if left > 0 && *width < *natural {
            *width += 1;
            left -= 1;
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_text_fits_and_begins_like_the_whole(text in "\\PC*", most in 1_usize..40) {
            let short = cut(&text, most);
            prop_assert!(width(&short) <= most, "{short:?}");
            prop_assert!(short == text || text.starts_with(short.strip_suffix(CUT).unwrap()));
            prop_assert_eq!(width(&text) <= most, short == text);
            prop_assert_eq!(width(&pad(&short, most)), most);
        }

        #[test]
        fn shrunk_columns_fit_and_no_room_is_left_while_one_is_short(
            columns in prop::collection::vec((1_usize..60, 1_usize..12), 1..12),
            room in 1_usize..200,
        ) {
            let natural: Vec<usize> = columns.iter().map(|it| it.0).collect();
            let floors: Vec<usize> = columns.iter().map(|it| it.1.min(it.0)).collect();
            let widths = shrink(&natural, &floors, room);
            prop_assert!(widths.iter().zip(&natural).zip(&floors).all(|((w, n), f)| f <= w && w <= n));
            prop_assert!(total(&widths) <= room.max(total(&floors)));
            prop_assert!(total(&widths) >= room.min(total(&natural)));
        }
    }

    #[test]
    fn wide_letters_count_twice_and_marks_not_at_all() {
        assert_eq!((width("漢字"), width("e\u{301}"), width("ab")), (4, 1, 2));
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!(cut("漢字漢字", 2), "…");
        assert_eq!(cut(&format!("{}b", "\u{301}".repeat(100_000)), 1).chars().last(), Some('b'));
        assert_eq!((pad("漢", 4), pad_left("7", 3)), ("漢  ".to_owned(), "  7".to_owned()));
    }
}
