//! Rows for people and for programs: one list of columns gives the query, the table and the JSON.

use std::io;

use clap::ValueEnum;
use serde_json::{Map, Value};
use tokio_postgres::{Client, types::ToSql};

use super::{CliError, Out, table::Table};

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns under their names
    #[default]
    Table,
    /// An array of objects
    Json,
}

/// The option that every list takes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Output {
    /// How to write the rows
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// One row: column name to value.
pub type Row = Map<String, Value>;

/// Rows with the same columns, in the order of the columns.
#[derive(Debug)]
pub struct Listing {
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// The names of columns: what stands behind ` AS `, or all.
pub fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().filter_map(|it| it.rsplit(" AS ").next()).map(str::to_owned).collect()
}

// === impl Listing ===

impl Listing {
    /// Rows that are at hand.
    pub fn new(columns: &[&str], rows: Vec<Row>) -> Listing {
        Listing { columns: columns.iter().map(|it| (*it).to_owned()).collect(), rows }
    }

    /// `SELECT columns` and what follows (`FROM …`). A column is a name, or an expression `AS` a name. PostgreSQL
    /// makes the JSON: times in ISO 8601.
    pub async fn select(
        client: &Client,
        columns: &[&str],
        rest: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Listing, CliError> {
        let sql = format!("SELECT row_to_json(t) FROM (SELECT {} {rest}) t", columns.join(", "));
        let rows = client.query(&sql, params).await?;
        let rows = rows.iter().filter_map(|it| match it.get(0) {
            Value::Object(row) => Some(row),
            _ => None,
        });
        Ok(Listing { columns: names(columns), rows: rows.collect() })
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the rows below each other.
    pub fn write(&self, Output { output }: Output, out: Out<'_>) -> Result<(), CliError> {
        match output {
            Format::Json => self.write_json(out),
            Format::Table => self.write_table(out).map_err(CliError::Output),
        }
    }

    /// Writes each row as a block of `name: value` lines.
    pub fn write_blocks(&self, Output { output }: Output, out: Out<'_>) -> Result<(), CliError> {
        match output {
            Format::Json => self.write_json(out),
            Format::Table => {
                let blocks: Vec<String> = self.rows.iter().map(|row| self.block(row)).collect();
                Ok(out.write_all(blocks.join("\n").as_bytes())?)
            }
        }
    }

    fn write_json(&self, out: Out<'_>) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut *out, &self.rows).map_err(io::Error::from)?;
        Ok(out.write_all(b"\n")?)
    }

    fn write_table(&self, out: Out<'_>) -> io::Result<()> {
        let rows = cells(&self.columns, &self.rows);
        let table = Table::new(&self.columns, &rows, out.screen());
        table.write_heads(out)?;
        table.write_rows(&rows, out)
    }

    fn block(&self, row: &Row) -> String {
        let width = self.columns.iter().map(String::len).max().unwrap_or(0) + 1;
        let lines = self.columns.iter().map(|name| (format!("{name}:"), text(row.get(name))));
        lines.map(|(name, value)| format!("{name:width$} {value}\n")).collect()
    }
}

/// The cells of rows, in the order of the columns.
pub fn cells(columns: &[String], rows: &[Row]) -> Vec<Vec<String>> {
    rows.iter().map(|row| columns.iter().map(|name| text(row.get(name))).collect()).collect()
}

/// A value in a table: control characters, which could come from a client, are replaced.
fn text(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    text.replace(|c: char| c.is_control(), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(output: Format) -> String {
        let row = |n: i64, name: &str| {
            Row::from_iter([
                ("id".to_owned(), n.into()),
                ("name".to_owned(), name.into()),
                ("gone".into(), Value::Null),
            ])
        };
        let listing = Listing::new(&["id", "name", "gone"], vec![row(1, "a"), row(222, "b\u{1b}[31m")]);
        let mut out = Vec::new();
        listing.write(Output { output }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_aligns_its_columns_and_shows_no_control_characters() {
        let expected = "ID   NAME    GONE\n1    a       -\n222  b\u{fffd}[31m  -\n";
        assert_eq!(written(Format::Table), expected);
    }

    #[test]
    fn json_keeps_values_as_they_are() {
        let rows: Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(rows[1], serde_json::json!({"id": 222, "name": "b\u{1b}[31m", "gone": null}));
    }

    #[test]
    fn no_rows_are_a_table_of_heads_and_an_empty_array() {
        let listing = Listing::new(&["id"], Vec::new());
        let (mut table, mut json) = (Vec::new(), Vec::new());
        listing.write(Output { output: Format::Table }, &mut table).unwrap();
        listing.write(Output { output: Format::Json }, &mut json).unwrap();
        assert_eq!((table.as_slice(), json.as_slice()), (b"ID\n".as_slice(), b"[]\n".as_slice()));
    }
}
