//! Sums that are kept beside the rows that they are of: agents' used slots, keys' sessions. Nothing that this program
//! does breaks them; what a hand, a restored backup or another program broke is found and mended here.
//!
//! The statements stand apart from the functions since `backendai-manager` runs them over a connection of another kind.

use std::fmt;

use serde_json::Value;
use tokio_postgres::Row;

use super::{PgError, Postgres};

/// Every sum that is wrong: kind, target, what it says, what it should. Rows that are being changed look right.
pub const FIND: &str = "SELECT kind, target, says, should FROM backendai_wrong_sums ORDER BY kind, target";

/// Mends a sum (kind, target, whether to wait for whoever has its row now); what it said and says now, if it was wrong.
pub const MEND: &str = "SELECT said, says FROM backendai_mend_sum($1, $2, $3)";

/// A row that keeps a sum. `Display`: `agent i-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SumOf {
    /// `agent` (memory in MiB, cores, GPUs) or `keypair` (live sessions).
    pub kind: String,
    /// The agent's id, or the access key.
    pub target: String,
}

/// A sum that is, or was, wrong. `Display`: whose, what it says and what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSum {
    /// Whose.
    pub of: SumOf,
    /// What its row says: `mem`, `cpu`, `gpu`, or `sessions`.
    pub says: Value,
    /// The sum over its live kernels.
    pub should: Value,
}

/// Every sum that is wrong at this moment.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn find(postgres: &Postgres) -> Result<Vec<WrongSum>, PgError> {
    Ok(postgres.query(FIND, &[]).await?.iter().map(WrongSum::found).collect())
}

/// Mends a sum, whoever changes it meanwhile. None: it is right, or somebody has its row at this moment. That one is
/// not waited for, since a worker's other statements would wait too.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn mend(postgres: &Postgres, of: &SumOf) -> Result<Option<WrongSum>, PgError> {
    let row = postgres.query_opt(MEND, &[&of.kind, &of.target, &false]).await?;
    Ok(row.as_ref().map(|row| WrongSum::mended(of.clone(), row)))
}

// === impl SumOf ===

impl fmt::Display for SumOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.target)
    }
}

// === impl WrongSum ===

impl WrongSum {
    /// A row of [`FIND`].
    #[must_use]
    pub fn found(row: &Row) -> WrongSum {
        WrongSum { of: SumOf { kind: row.get(0), target: row.get(1) }, says: row.get(2), should: row.get(3) }
    }

    /// A row of [`MEND`].
    #[must_use]
    pub fn mended(of: SumOf, row: &Row) -> WrongSum {
        WrongSum { of, says: row.get(0), should: row.get(1) }
    }
}

impl fmt::Display for WrongSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} says {}, its live kernels make {}", self.of, self.says, self.should)
    }
}
