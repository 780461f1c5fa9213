//! Sums that the leader looks at from time to time: see [`crate::store::postgres::reconcile`].
//!
//! Only what is wrong in two looks, one after the other, is mended. That alone would be safe against this program,
//! whose changes of a sum and of its rows are one; another's that are two would else be mended in their middle.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Error, Registry};
use crate::store::postgres::reconcile::{self, SumOf};

/// How often the leader looks.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// What the leader remembers from one look to the next.
#[derive(Debug, Default)]
pub struct Sums {
    looked: Option<Instant>,
    wrong: BTreeSet<SumOf>,
}

impl Registry {
    /// Looks at the sums if it is time, and mends what was wrong at the last look too.
    pub(super) async fn reconcile_sums(&self, sums: &mut Sums) -> Result<(), Error> {
        if sums.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        sums.looked = Some(Instant::now());
        let found = reconcile::find(&self.stores.postgres).await?.into_iter().map(|wrong| wrong.of).collect();
        for of in sums.seen(found) {
            // Whatever it is now: somebody else may have mended it, or have its row, and then it is met again.
            if let Some(wrong) = reconcile::mend(&self.stores.postgres, &of).await? {
                tracing::warn!(said = %wrong.says, says = %wrong.should, "the sum of {of} was wrong and is mended");
                sums.wrong.remove(&of);
            }
        }
        Ok(())
    }
}

// === impl Sums ===

impl Sums {
    /// Takes a look in; what it and the one before found.
    fn seen(&mut self, found: BTreeSet<SumOf>) -> Vec<SumOf> {
        let again = self.wrong.intersection(&found).cloned().collect();
        self.wrong = found;
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(targets: &[&str]) -> BTreeSet<SumOf> {
        targets.iter().map(|it| SumOf { kind: "agent".into(), target: (*it).into() }).collect()
    }

    #[test]
    fn only_what_two_looks_find_is_to_be_mended() {
        let mut looks = Sums::default();
        let mut look =
            |found: &[&str]| -> Vec<String> { looks.seen(sums(found)).into_iter().map(|of| of.target).collect() };
        assert_eq!(look(&["a", "b"]), Vec::<String>::new());
        assert_eq!(look(&["b", "c"]), ["b"]);
        assert_eq!(look(&["a"]), Vec::<String>::new(), "it was right in between");
        assert_eq!(look(&[]), Vec::<String>::new());
    }
}
