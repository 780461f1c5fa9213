//! What access keys used up to now, exactly.
//!
//! Queries are counted in Redis, and every second a leader moves what is pending to PostgreSQL as a batch. So the
//! count of a key is PostgreSQL's, what is pending, and each batch on its way that PostgreSQL has not added up yet.
//! These are read one after the other: Redis first, then PostgreSQL together with which of the batches are in its
//! count. Had the pending queries become a batch in between, PostgreSQL might have them already: Redis counts the
//! batches that were made, and if one was, all is read again.

use jiff::Timestamp;
use uuid::Uuid;

use super::Fault;
use crate::store::{
    postgres::{
        Postgres,
        admin::keypairs::{self, Counted},
    },
    redis::{Ledger, Unflushed},
};

/// How often to read again. A batch is made once a second, a reading takes milliseconds.
const TRIES: usize = 4;

/// What a key used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Queries.
    pub queries: i64,
    /// When PostgreSQL does not know the last of them yet.
    pub last: Option<Timestamp>,
}

/// What these keys used; while Redis is away, as far as PostgreSQL knows.
///
/// # Errors
/// PostgreSQL is away.
pub async fn read(postgres: &Postgres, ledger: &Ledger, keys: &[String]) -> Result<Vec<Usage>, Fault> {
    let mut usage = Vec::new();
    for _ in 0..TRIES {
        let unflushed = ledger.unflushed(keys).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what key pairs used lately could not be read");
            Unflushed::default()
        });
        let batches: Vec<Uuid> = unflushed.batches.iter().map(|(id, _)| *id).collect();
        let counted = keypairs::counted(postgres, keys, &batches).await?;
        usage = keys.iter().enumerate().map(|(place, key)| add_up(key, place, &counted, &unflushed)).collect();
        // Without Redis there is nothing to compare.
        if ledger.takes().await.map_or(true, |takes| takes == unflushed.takes) {
            break;
        }
    }
    Ok(usage)
}

fn add_up(key: &str, place: usize, counted: &Counted, unflushed: &Unflushed) -> Usage {
    let known = counted.keys.iter().find(|(known, _)| known == key).map_or(0, |(_, queries)| *queries);
    let on_their_way = unflushed.batches.iter().filter(|(id, _)| !counted.applied.contains(id)).map(|(_, used)| used);
    let lists = [&unflushed.pending].into_iter().chain(on_their_way);
    let used: Vec<(u64, u64)> = lists.filter_map(|used| used.get(place).copied()).collect();
    let more = used.iter().fold(0_u64, |sum, (queries, _)| sum.saturating_add(*queries));
    let last = used.iter().map(|(_, last)| *last).max().filter(|last| *last > 0);
    Usage {
        queries: known.saturating_add_unsigned(more),
        last: last.and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_postgresql_has_is_not_added_again() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let counted = Counted { keys: vec![("B".into(), 7), ("A".into(), 100)], applied: vec![one] };
        let unflushed = Unflushed {
            takes: 2,
            pending: vec![(1, 1000), (0, 0)],
            batches: vec![(one, vec![(50, 500), (0, 0)]), (two, vec![(20, 3000), (0, 0)])],
        };
        let last = Some(Timestamp::from_millisecond(3000).unwrap());
        assert_eq!(add_up("A", 0, &counted, &unflushed), Usage { queries: 121, last });
        assert_eq!(add_up("B", 1, &counted, &unflushed), Usage { queries: 7, last: None });
        assert_eq!(add_up("C", 2, &counted, &unflushed), Usage::default());
    }
}
