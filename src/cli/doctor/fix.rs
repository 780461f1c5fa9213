//! `--fix`: mends what is safe to mend, and notes each in the audit log.

use serde_json::json;
use tokio_postgres::Client;

use super::finding::{Finding, State};
use crate::{
    cli::{CliError, audit::noted, progress::Progress},
    store::postgres::reconcile::{MEND, SumOf, WrongSum},
};

/// Mends what can be mended, one after another. Each finding becomes what was done, or says why not.
pub async fn mend(client: &Client, found: &mut [Finding]) {
    let sums = found.iter_mut().filter_map(|finding| Some((finding.sum.clone()?, finding)));
    let sums: Vec<_> = sums.collect();
    let bar = Progress::of_many("mending", sums.len());
    for (done, (of, finding)) in sums.into_iter().enumerate() {
        bar.at(done);
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
