//! The invariants that the database keeps sums and an index for: slots, concurrency, one live session of a name.

use tokio_postgres::Client;

use super::{
    check::{Checks, Needed, Outcome, check},
    finding::{Finding, or_ok},
};
use crate::store::postgres::reconcile::{FIND, WrongSum};

/// The index of migration 3, as it is made again.
const INDEX: &str = "CREATE UNIQUE INDEX uq_kernels_live_session ON kernels (access_key, sess_id) \
                     WHERE role = 'master' AND status NOT IN ('TERMINATED', 'ERROR')";

pub fn checks(database: Needed<'_, Client>) -> Checks<'_> {
    vec![
        check("agent-slots", database, async |it| {
            wrong(it, "agent", "every agent's used slots are those of its live kernels").await
        }),
        check("key-concurrency", database, async |it| {
            wrong(it, "keypair", "every key's concurrency is the number of its live sessions").await
        }),
        check("one-live-session", database, twins),
    ]
}

async fn wrong(client: &Client, kind: &str, well: &str) -> Outcome {
    let rows = client.query(FIND, &[]).await?;
    let wrong: Vec<_> = rows.iter().map(WrongSum::found).filter(|it| it.of.kind == kind).collect();
    let mend = "backendai-manager doctor --fix; a gateway's leader does the same within a minute";
    let found = wrong.into_iter().map(|it| {
        // Each is one that --fix mends, so that all are told.
        Finding { sum: Some(it.of.clone()), ..Finding::failed(it.to_string(), mend) }
    });
    Ok(or_ok(found.collect(), well))
}

async fn twins(client: &Client) -> Outcome {
    let index = "SELECT indisvalid AND indisunique AND indisready FROM pg_index \
                 WHERE indexrelid = to_regclass('uq_kernels_live_session')";
    let valid = client.query_opt(index, &[]).await?.map(|row| row.get::<_, bool>(0));
    let twins = "SELECT access_key, sess_id, count(*), string_agg(id::text, ', ' ORDER BY created_at) \
                 FROM backendai_live_kernels JOIN kernels USING (id, access_key, sess_id) WHERE kernels.role = 'master' \
                 GROUP BY access_key, sess_id HAVING count(*) > 1 ORDER BY access_key, sess_id LIMIT 20";
    let rows = client.query(twins, &[]).await?;
    let mut found: Vec<Finding> = rows
        .iter()
        .map(|row| {
            let (key, name): (String, String) = (row.get(0), row.get(1));
            let (number, ids): (i64, String) = (row.get(2), row.get(3));
            let what = format!("{key} has {number} live sessions named {name}: {ids}");
            Finding::failed(what, "end all but one: backendai-manager session destroy ID")
        })
        .collect();
    let how = match valid {
        Some(true) => return Ok(or_ok(found, "a valid unique index keeps a key from two live sessions of one name")),
        Some(false) => ("is not valid", format!("DROP INDEX uq_kernels_live_session; {INDEX}")),
        None => ("is missing", INDEX.to_owned()),
    };
    found.push(Finding::failed(format!("the index uq_kernels_live_session {}", how.0), how.1));
    Ok(found)
}
