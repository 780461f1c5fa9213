//! What the admin API reads and changes: a module for each table.
//!
//! Lists of children are read for all their parents in one statement, a page of each: the parents are unnested with
//! their place in the list, and a lateral join takes each one's rows, which the indexes of migration 7 have in order.
//! Other parts read a few columns of a live session; here are all columns of all rows, so that these stand apart.

pub mod agents;
pub mod kernels;
pub mod keypairs;
pub mod vfolders;

use tokio_postgres::Row;

use crate::store::postgres::PgError;

/// Rows that one statement gives at most, over all parents: what a worker can hold beside its other work.
pub const MOST_ROWS: usize = 20_000;

/// A part of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Page {
    /// At most so many rows; `None`: all.
    pub limit: Option<i64>,
    /// Without the first so many.
    pub offset: i64,
}

/// Why a list was not read, or a row not changed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// PostgreSQL is away or refuses.
    #[error(transparent)]
    Postgres(#[from] PgError),
    /// There are more rows than [`MOST_ROWS`].
    #[error("there are more than {MOST_ROWS} rows: ask for fewer with limit and offset")]
    TooMany,
}

/// One more than [`MOST_ROWS`], as statements take it: that row tells that there are too many.
pub(super) const ROWS_ASKED: i64 = MOST_ROWS as i64 + 1;

pub(super) fn not_too_many(rows: Vec<Row>) -> Result<Vec<Row>, AdminError> {
    if rows.len() > MOST_ROWS { Err(AdminError::TooMany) } else { Ok(rows) }
}

/// The rows of each of `parents` parents, in their order; the first column is the parent's place, from 1.
fn by_parent<T>(rows: &[Row], parents: usize, read: impl Fn(&Row) -> T) -> Vec<Vec<T>> {
    let mut lists: Vec<Vec<T>> = Vec::new();
    lists.resize_with(parents, Vec::new);
    for row in rows {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        if let Some(list) = lists.get_mut(place) {
            list.push(read(row));
        }
    }
    lists
}
