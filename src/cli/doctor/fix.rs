//! `--fix`: mends what is safe to mend, and notes each in the audit log.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::json;
use tokio_postgres::Client;

use super::finding::{Finding, State};
use crate::{
    cli::{CliError, audit::noted},
    store::postgres::reconcile::{MEND, SumOf, WrongSum},
};

/// Whether somebody can be asked, or has agreed beforehand.
///
/// # Errors
/// Neither.
pub fn may_ask(agreed: bool) -> Result<(), CliError> {
    if agreed || io::stdin().is_terminal() {
        return Ok(());
    }
    Err(CliError::Unasked("doctor --fix changes the database, and there is no terminal to ask at: give --yes".into()))
}

/// Asks on the terminal; anything but a yes is a no.
///
/// # Errors
/// The terminal is gone.
pub fn agreed(sums: usize) -> Result<bool, CliError> {
    let mut error = io::stderr();
    write!(error, "Mend {}? [y/N] ", super::finding::count(sums, "sum"))?;
    error.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Mends what can be mended, one after another. Each finding becomes what was done, or says why not.
pub async fn mend(client: &Client, found: &mut [Finding]) {
    for finding in found {
        let Some(of) = finding.sum.clone() else { continue };
        match mend_one(client, &of, finding).await {
            Ok(what) => *finding = Finding { state: State::Mended, what, mend: String::new(), ..finding.clone() },
            Err(error) => finding.mend = format!("it could not be mended: {error}"),
        }
    }
}

async fn mend_one(client: &Client, of: &SumOf, finding: &Finding) -> Result<String, CliError> {
    let detail = json!({ "found": finding.what });
    let row = noted(client, "doctor --fix", &of.kind, &of.target, &detail, async {
        Ok(client.query_opt(MEND, &[&of.kind, &of.target, &true]).await?)
    })
    .await?;
    Ok(match row.map(|row| WrongSum::mended(of.clone(), &row)) {
        Some(was) => format!("{of} said {} and says {} now", was.says, was.should),
        None => format!("{of} was right again by itself"),
    })
}
