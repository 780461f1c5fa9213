//! `fixture`: ready-made rows. A fixture is a JSON object from table names to arrays of rows; a column that a row
//! does not name gets its default. Rows that are there already stay as they are, so that populating twice does
//! no harm.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Map, Value, json};
use tokio_postgres::{Client, Transaction};

use super::{
    CliError, Out,
    audit::noted,
    database,
    listing::{Listing, Output, Row},
    rows::Page,
};
use crate::config::Connections;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Where fixtures are: files NAME.json [default: ./fixtures, then those built in]
    #[arg(long, env = "BACKEND_FIXTURES_DIR", value_name = "DIR", global = true)]
    fixtures_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Insert the rows of a fixture; rows that exist stay as they are
    Populate {
        /// The fixture's name
        name: String,
    },
    /// List the fixtures
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Output,
    },
}

/// Found from anywhere, so that an installed program needs no folder beside it.
const BUILT_IN: [(&str, &str); 1] =
    [("example_keypair", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/example_keypair.json")))];

/// Tables that may be filled, in the order in which they refer to each other.
const TABLES: [&str; 5] = ["agents", "keypairs", "kernels", "vfolders", "vfolder_attachment"];

/// The rows of each table, in the order of [`TABLES`].
type Fixture = Vec<(&'static str, Vec<Map<String, Value>>)>;

pub async fn run(args: Args, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    match args.command {
        Command::Populate { name } => {
            let fixture = load(&name, args.fixtures_dir.as_deref())?;
            let rows = fixture.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows.len())));
            let detail = Value::Object(rows.collect());
            // The log is written beside the transaction, not in it: it tells also of what is undone.
            let (log, client) = (database(to).await?, database(to).await?);
            let work = populate(&fixture, client);
            let report = noted(&log, "fixture populate", "fixture", &name, &detail, work).await?;
            Ok(report.iter().try_for_each(|line| writeln!(out, "{line}"))?)
        }
        Command::List { page, output } => list(args.fixtures_dir.as_deref(), page)?.write(output, out),
    }
}

/// Inserts all rows or none; says how many of each table.
async fn populate(fixture: &Fixture, mut client: Client) -> Result<Vec<String>, CliError> {
    let transaction = client.transaction().await?;
    let mut report = Vec::new();
    for (table, rows) in fixture {
        let mut added = 0;
        for row in rows {
            added += insert(&transaction, table, row).await?;
        }
        report.push(format!("{table}: {added} added, {} there already", rows.len() as u64 - added));
    }
    transaction.commit().await?;
    Ok(report)
}

/// PostgreSQL reads each value as its column's type.
async fn insert(transaction: &Transaction<'_>, table: &str, row: &Map<String, Value>) -> Result<u64, CliError> {
    let columns: Vec<String> = row.keys().map(|it| format!("\"{}\"", it.replace('"', "\"\""))).collect();
    let columns = columns.join(", ");
    let sql = format!(
        "INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1) \
         ON CONFLICT DO NOTHING"
    );
    Ok(transaction.execute(&sql, &[&Value::Object(row.clone())]).await?)
}

fn list(dir: Option<&Path>, page: Page) -> Result<Listing, CliError> {
    let mut names = names_in(dir)?;
    if dir.is_none() {
        names.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()));
    }
    names.sort();
    names.dedup();
    let rows = page.of(names.into_iter()).map(|name| Row::from_iter([("name".to_owned(), Value::String(name))]));
    Ok(Listing::new(&["name"], rows.collect()))
}

/// The names of the fixtures in a folder. `./fixtures` need not be there, a folder that was named must.
fn names_in(dir: Option<&Path>) -> Result<Vec<String>, CliError> {
    let folder = dir.unwrap_or(Path::new("fixtures"));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(_) if dir.is_none() => return Ok(Vec::new()),
        Err(error) => return Err(CliError::Read { path: folder.to_owned(), error }),
    };
    let files = entries.flatten().map(|entry| entry.path()).filter(|it| it.extension().is_some_and(|e| e == "json"));
    Ok(files.filter_map(|it| Some(it.file_stem()?.to_str()?.to_owned())).collect())
}

fn load(name: &str, dir: Option<&Path>) -> Result<Fixture, CliError> {
    if name.contains('/') {
        return Err(CliError::Refused(format!(
            "a fixture's name has no \"/\": {name} (--fixtures-dir names a folder)"
        )));
    }
    let path = dir.unwrap_or(Path::new("fixtures")).join(format!("{name}.json"));
    let built_in = BUILT_IN.iter().find(|it| it.0 == name && dir.is_none());
    match (std::fs::read_to_string(&path), built_in) {
        (Ok(text), _) => parse(&path.display().to_string(), &text),
        (Err(_), Some((name, text))) => parse(name, text),
        (Err(error), None) => Err(CliError::Read { path, error }),
    }
}

fn parse(file: &str, text: &str) -> Result<Fixture, CliError> {
    let wrong = |what: String| CliError::Content { file: file.to_owned(), what };
    let mut tables: Map<String, Value> = serde_json::from_str(text).map_err(|it| wrong(it.to_string()))?;
    let mut fixture = Fixture::new();
    for table in TABLES {
        if let Some(rows) = tables.remove(table) {
            let rows = serde_json::from_value(rows).map_err(|it| wrong(format!("{table}: {it}")))?;
            fixture.push((table, rows));
        }
    }
    match tables.keys().next() {
        Some(other) => Err(wrong(format!("there is no table {other} to fill, only {}", TABLES.join(", ")))),
        None => Ok(fixture),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_is_read_in_the_order_that_its_rows_refer_to_each_other() {
        let fixture = parse("f.json", r#"{"kernels": [], "keypairs": [{"access_key": "A"}]}"#).unwrap();
        assert_eq!(fixture.iter().map(|it| it.0).collect::<Vec<_>>(), ["keypairs", "kernels"]);
    }

    #[test]
    fn a_broken_fixture_is_told_with_file_and_reason() {
        let cases = [
            ("{", "f.json: EOF while parsing an object at line 1 column 1"),
            (r#"{"keypairs": 3}"#, "f.json: keypairs: invalid type: integer `3`, expected a sequence"),
            (r#"{"pg_authid": []}"#, "f.json: there is no table pg_authid to fill"),
        ];
        for (text, expected) in cases {
            let message = parse("f.json", text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn a_fixture_is_never_taken_from_outside_its_folder() {
        assert!(matches!(load("../Cargo", None), Err(CliError::Refused(_))));
    }
}
