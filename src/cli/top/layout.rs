//! How the lines of the screen are shared out among the panes.

/// Lines of a pane beside its rows: its title and the names of its columns.
pub const FRAME: usize = 2;

/// How many rows each pane gets of `lines`, if they want that many; `None`: there is no room for the pane. What one
/// does not want goes to the others. Where not all can have a row, only the pane `focus` is shown.
pub fn share(lines: usize, wanted: [usize; 3], focus: usize) -> [Option<usize>; 3] {
    // A pane without a row would look as if it had nothing to show.
    let wanted = wanted.map(|rows| rows.max(1));
    let Some(mut left) = lines.checked_sub(3 * FRAME).filter(|left| *left >= 3) else {
        let rows = lines.saturating_sub(FRAME).max(1);
        return std::array::from_fn(|pane| (pane == focus).then_some(rows));
    };
    let mut given = [0; 3];
    loop {
        let open: Vec<usize> = (0..3).filter(|pane| given.get(*pane) < wanted.get(*pane)).collect();
        if open.is_empty() || left == 0 {
            return given.map(Some);
        }
        // The later panes are the longer ones: they get what does not divide.
        for pane in open.into_iter().rev().take(left) {
            if let Some(rows) = given.get_mut(pane) {
                *rows += 1;
                left -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_lines_are_used_where_they_are_wanted_and_no_more(
            lines in 0_usize..120,
            wanted in prop::array::uniform3(0_usize..100),
            focus in 0_usize..3,
        ) {
            let given = share(lines, wanted, focus);
            prop_assert!(given[focus].is_some_and(|rows| rows > 0));
            let used: usize = given.iter().flatten().map(|rows| rows + FRAME).sum();
            prop_assert!(used <= lines.max(FRAME + 1), "{given:?}");
            if lines >= 9 {
                let all: usize = wanted.iter().map(|it| it + FRAME).sum();
                prop_assert!(used >= lines.min(all), "{given:?}");
                let full = |pane: usize| given[pane].unwrap() >= wanted[pane];
                prop_assert!((0..3).all(|a| full(a) || (0..3).all(|b| given[b] <= given[a].map(|it| it + 1))), "{given:?}");
            }
        }
    }

    #[test]
    fn few_lines_go_to_the_pane_that_has_the_focus() {
        assert_eq!(share(8, [2, 1, 9], 0), [Some(6), None, None]);
        assert_eq!(share(9, [2, 1, 9], 0), [Some(1), Some(1), Some(1)]);
        assert_eq!(share(21, [2, 1, 90], 2), [Some(2), Some(1), Some(12)]);
    }
}
