//! Key pairs that nobody, or everybody, can use; and folders whose counts are odd.

use tokio_postgres::Client;

use super::{
    check::{Checks, Needed, Outcome, check},
    finding::{Finding, names, or_ok},
};
use crate::store::etcd::Snapshot;

pub fn checks<'a>(database: Needed<'a, Client>, settings: Needed<'a, Snapshot>) -> Checks<'a> {
    vec![
        check("key-secrets", database, secrets),
        check("example-keys", database, async move |client| examples(client, settings.ok()).await),
        check("folder-counts", database, folders),
    ]
}

async fn secrets(client: &Client) -> Outcome {
    let sql = "SELECT access_key FROM keypairs WHERE is_active AND coalesce(secret_key, '') = '' ORDER BY 1 LIMIT 1000";
    let keys: Vec<String> = client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
    let found = keys.is_empty().then(Vec::new).unwrap_or_else(|| {
        let what = format!("active key pairs without a secret, which nobody can sign with: {}", names(&keys));
        vec![Finding::warning(what, "backendai-manager keypair deactivate KEY, and generate another")]
    });
    Ok(or_ok(found, "every active key pair has a secret"))
}

/// The access keys of the fixture that comes with this program.
fn well_known() -> Vec<String> {
    let fixture: serde_json::Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    let rows = fixture.get("keypairs").and_then(|it| it.as_array()).cloned().unwrap_or_default();
    rows.iter().filter_map(|row| Some(row.get("access_key")?.as_str()?.to_owned())).collect()
}

const EXAMPLES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/example_keypair.json"));

async fn examples(client: &Client, settings: Option<&Snapshot>) -> Outcome {
    let sql = "SELECT access_key FROM keypairs WHERE is_active AND access_key = ANY($1) ORDER BY 1";
    let keys: Vec<String> = client.query(sql, &[&well_known()]).await?.iter().map(|row| row.get(0)).collect();
    if keys.is_empty() {
        return Ok(vec![Finding::ok("no well-known key pair is active")]);
    }
    let mend = "before others reach this cluster: backendai-manager keypair deactivate KEY";
    let what = format!("active key pairs whose secrets everybody knows, for try-outs only: {}", names(&keys));
    Ok(vec![if settings.is_some_and(only_local) {
        Finding::note(format!("{what}; the gateways are for this machine alone"), mend)
    } else {
        Finding::warning(what, mend)
    }])
}

/// Whether every gateway says that it is to be reached from its own machine only.
fn only_local(settings: &Snapshot) -> bool {
    let local = |host: &str| host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    settings.gateways.values().all(|it| local(&it.api_addr.host))
}

async fn folders(client: &Client) -> Outcome {
    let sql = "SELECT belongs_to || '/' || name || ': ' || coalesce(num_files, 0) || ' of ' || coalesce(max_files::text, 'any') \
               || ' files, ' || coalesce(cur_size, 0) || ' of ' || coalesce(max_size::text, 'any') || ' KiB' FROM vfolders \
               WHERE num_files < 0 OR cur_size < 0 OR num_files > max_files OR cur_size > max_size ORDER BY 1 LIMIT 20";
    let rows = client.query(sql, &[]).await?;
    let found = rows.iter().map(|row| {
        let folder: String = row.get(0);
        Finding::note(
            format!("the counts of {folder}"),
            "a limit was lowered, or its files were changed beside the gateway; asking for the folder counts them anew",
        )
    });
    Ok(or_ok(found.collect(), "every folder's counts are within its limits"))
}
