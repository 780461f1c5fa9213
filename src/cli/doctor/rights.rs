//! What the database's user may do: a right that is missing fails one request in a hundred, and late.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{
    check::{Checks, Needed, Outcome, check},
    finding::{Finding, count, or_ok},
};
use crate::store::postgres::migrate::MIGRATIONS;

/// What is done to which table or view.
const USED: &[(&str, &[&str])] = &[
    ("agents", &["SELECT", "INSERT", "UPDATE"]),
    ("alembic_version", &["SELECT"]),
    ("audit_log", &["SELECT", "INSERT", "UPDATE"]),
    ("backendai_accessible_vfolders", &["SELECT"]),
    ("backendai_live_kernels", &["SELECT"]),
    ("backendai_migrations", &["SELECT"]),
    ("backendai_wrong_sums", &["SELECT"]),
    ("kernels", &["SELECT", "INSERT", "UPDATE"]),
    ("keypairs", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("ledger_flushes", &["SELECT", "INSERT"]),
    ("vfolder_attachment", &["SELECT", "INSERT", "DELETE"]),
    ("vfolder_invitations", &["SELECT", "INSERT", "UPDATE"]),
    ("vfolder_permissions", &["SELECT", "INSERT"]),
    ("vfolders", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
];

pub fn checks(database: Needed<'_, Client>) -> Checks<'_> {
    vec![check("table-rights", database, tables), check("function-rights", database, functions)]
}

async fn tables(client: &Client) -> Outcome {
    let pairs = || USED.iter().flat_map(|(table, rights)| rights.iter().map(move |right| (*table, *right)));
    let (tables, rights): (Vec<&str>, Vec<&str>) = pairs().unzip();
    let sql = "SELECT t, r, has_table_privilege(to_regclass(t), r), quote_ident(current_user) \
               FROM unnest($1::text[], $2::text[]) AS used (t, r) \
               WHERE has_table_privilege(to_regclass(t), r) IS NOT TRUE ORDER BY t, r";
    let rows = client.query(sql, &[&tables, &rights]).await?;
    let mut missing = BTreeMap::<String, Vec<String>>::new();
    let mut found = Vec::new();
    for row in &rows {
        let (table, right): (String, String) = (row.get(0), row.get(1));
        match row.get::<_, Option<bool>>(2) {
            Some(_) => missing.entry(table).or_default().push(right),
            None if right == "SELECT" => found.push(Finding::failed(
                format!("there is no {table}, though the schema is said to have it (or it is not on the search_path)"),
                "restore it from a backup, or set the user's search_path",
            )),
            None => {}
        }
    }
    let user: String = rows.first().map(|row| row.get(3)).unwrap_or_default();
    found.extend(missing.into_iter().map(|(table, rights)| {
        let rights = rights.join(", ");
        let what = format!("the database's user {user} lacks {rights} on {table}");
        Finding::failed(what, format!("as the table's owner: GRANT {rights} ON {table} TO {user}"))
    }));
    Ok(or_ok(found, format!("{} on {}", count(pairs().count(), "right"), count(USED.len(), "table"))))
}

async fn functions(client: &Client) -> Outcome {
    let all: Vec<&str> = declared().collect();
    let sql = "SELECT f, bool_or(has_function_privilege(p.oid, 'EXECUTE')), \
                   string_agg(p.oid::regprocedure::text, ', ') FILTER (WHERE NOT has_function_privilege(p.oid, 'EXECUTE')), \
                   quote_ident(current_user) \
               FROM unnest($1::text[]) AS f LEFT JOIN pg_proc AS p ON p.proname = f AND pg_function_is_visible(p.oid) \
               GROUP BY f HAVING bool_and(has_function_privilege(p.oid, 'EXECUTE')) IS NOT TRUE ORDER BY f";
    let rows = client.query(sql, &[&all]).await?;
    let found = rows.iter().map(|row| {
        let (name, user): (String, String) = (row.get(0), row.get(3));
        match row.get::<_, Option<String>>(2) {
            Some(signature) => Finding::failed(
                format!("the database's user {user} may not call {name}"),
                format!("as the function's owner: GRANT EXECUTE ON FUNCTION {signature} TO {user}"),
            ),
            None => Finding::failed(
                format!("there is no function {name}, though the schema is said to have it"),
                "restore it from a backup",
            ),
        }
    });
    Ok(or_ok(found.collect(), format!("{} to call", count(all.len(), "function"))))
}

/// The functions that the migrations make, each once.
fn declared() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> = MIGRATIONS
        .iter()
        .flat_map(|it| it.sql().lines())
        .filter_map(|line| {
            let rest =
                line.strip_prefix("CREATE FUNCTION ").or_else(|| line.strip_prefix("CREATE OR REPLACE FUNCTION "))?;
            rest.split('(').next()
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_and_view_of_the_migrations_is_looked_at() {
        let made = |line: &'static str| {
            let rest = ["CREATE TABLE IF NOT EXISTS ", "CREATE TABLE ", "CREATE VIEW "]
                .iter()
                .find_map(|start| line.strip_prefix(start))?;
            rest.split(' ').next()
        };
        let mut expected: BTreeSet<&str> = MIGRATIONS.iter().flat_map(|it| it.sql().lines()).filter_map(made).collect();
        expected.insert("backendai_migrations");
        assert_eq!(USED.iter().map(|(table, _)| *table).collect::<BTreeSet<_>>(), expected);
        assert!(
            declared().any(|it| it == "backendai_session_reserve") && declared().any(|it| it == "backendai_mend_sum")
        );
    }
}
