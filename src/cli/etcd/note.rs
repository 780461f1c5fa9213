//! Notes what a command changes in etcd: the audit log is in PostgreSQL, so that it needs both.
//!
//! A cluster that is being set up can be given its images before it has tables: then there is nothing to note it
//! in, and the command says so and goes on. A database that cannot be reached is something else.

use std::future::Future;

use serde_json::Value;

use crate::{
    cli::{CliError, PROGRAM, audit},
    config::Connections,
    store::postgres::{connect::connect, migrate},
};

/// As [`audit::noted`], over a connection of its own.
pub async fn noted<T>(
    to: &Connections,
    action: &str,
    target_type: &str,
    target: &str,
    detail: &Value,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let client = connect(to, PROGRAM).await.map_err(CliError::Unnoted)?;
    let has_log: bool = client.query_one("SELECT to_regclass('audit_log') IS NOT NULL", &[]).await?.get(0);
    if !has_log && let Err(why) = migrate::check(&client).await {
        eprintln!("{PROGRAM}: this is in no audit log: {why}");
        return work.await;
    }
    audit::noted(&client, action, target_type, target, detail, work).await
}
