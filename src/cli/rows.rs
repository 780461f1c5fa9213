//! Rows of the database for lists of any length: they are fetched a batch at a time and written before the next one
//! is, so that a list of a million rows takes no more memory than one of a thousand.

use std::io;

use serde_json::Value;
use tokio_postgres::{Client, Portal, Transaction, types::ToSql};

use super::{
    CliError, Out,
    listing::{Format, Output, Row, cells, names},
    table::Table,
};

/// Rows that are fetched at once; a table's columns are as wide as the first of these need.
const BATCH: i32 = 1000;

/// The options of every list: which part of it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Page {
    /// At most so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub limit: Option<i64>,
    /// Without the first so many rows
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: i64,
}

/// A query's rows, all of one moment.
pub struct Rows<'a> {
    /// Read-only; what it read is forgotten with it.
    transaction: Transaction<'a>,
    portal: Portal,
    columns: Vec<String>,
}

/// Writes rows as they come.
struct Writer<'a> {
    out: Out<'a>,
    form: Form,
}

enum Form {
    /// The array's brackets and commas are written by hand, since no serializer waits for rows.
    Json {
        begun: bool,
    },
    Table {
        columns: Vec<String>,
        begun: Option<Table>,
    },
}

// === impl Page ===

impl Page {
    /// The part of rows that are at hand.
    pub fn of<T>(self, rows: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        let number = |it: i64| usize::try_from(it).unwrap_or(usize::MAX);
        rows.skip(number(self.offset)).take(self.limit.map_or(usize::MAX, number))
    }
}

// === impl Rows ===

impl<'a> Rows<'a> {
    /// As [`super::listing::Listing::select`], and a page of it; `rest` ends with an order that leaves no ties, so that
    /// pages neither miss a row nor repeat one.
    pub async fn select(
        client: &'a mut Client,
        columns: &[&str],
        rest: &str,
        params: &[&(dyn ToSql + Sync)],
        page: Page,
    ) -> Result<Rows<'a>, CliError> {
        let (limit, offset) = (params.len() + 1, params.len() + 2);
        let sql = format!(
            "SELECT row_to_json(t) FROM (SELECT {} {rest} LIMIT ${limit} OFFSET ${offset}) t",
            columns.join(", ")
        );
        let transaction = client.build_transaction().read_only(true).start().await?;
        let params = [params, &[&page.limit, &page.offset]].concat();
        let portal = transaction.bind(&sql, &params).await?;
        Ok(Rows { transaction, portal, columns: names(columns) })
    }

    /// The next rows; none: that was all.
    async fn next(&self) -> Result<Vec<Row>, CliError> {
        let rows = self.transaction.query_portal(&self.portal, BATCH).await?;
        let rows = rows.iter().filter_map(|it| match it.get(0) {
            Value::Object(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Writes all rows below each other.
    pub async fn write(self, Output { output }: Output, out: Out<'_>) -> Result<(), CliError> {
        let form = match output {
            Format::Json => Form::Json { begun: false },
            Format::Table => Form::Table { columns: self.columns.clone(), begun: None },
        };
        let mut writer = Writer { out, form };
        loop {
            let rows = self.next().await?;
            writer.write(&rows)?;
            if rows.is_empty() {
                return Ok(writer.end()?);
            }
        }
    }
}

// === impl Writer ===

impl Writer<'_> {
    fn write(&mut self, rows: &[Row]) -> io::Result<()> {
        match &mut self.form {
            Form::Json { begun } => rows.iter().try_for_each(|row| {
                let text = serde_json::to_string_pretty(row)?.replace('\n', "\n  ");
                write!(self.out, "{}{text}", if std::mem::replace(begun, true) { ",\n  " } else { "[\n  " })
            }),
            Form::Table { columns, begun } => {
                let rows = cells(columns, rows);
                if begun.is_none() {
                    let table = Table::new(columns, &rows, self.out.screen());
                    table.write_heads(self.out)?;
                    *begun = Some(table);
                }
                begun.as_ref().map_or(Ok(()), |table| table.write_rows(&rows, self.out))
            }
        }
    }

    fn end(self) -> io::Result<()> {
        match self.form {
            Form::Json { begun: true } => self.out.write_all(b"\n]\n"),
            Form::Json { begun: false } => self.out.write_all(b"[]\n"),
            Form::Table { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: i64, name: &str) -> Row {
        Row::from_iter([("id".to_owned(), number.into()), ("name".to_owned(), name.into())])
    }

    fn written(form: Form, batches: &[Vec<Row>]) -> String {
        let mut text = Vec::new();
        let mut writer = Writer { out: &mut text, form };
        batches.iter().for_each(|rows| writer.write(rows).unwrap());
        writer.end().unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn batches_of_json_are_one_array_as_if_written_at_once() {
        let all = [row(1, "a\nb"), row(2, ""), row(3, "\u{1b}")];
        let batches = [all[..2].to_vec(), all[2..].to_vec(), Vec::new()];
        let at_once = serde_json::to_string_pretty(&all).unwrap() + "\n";
        assert_eq!(written(Form::Json { begun: false }, &batches), at_once);
        assert_eq!(written(Form::Json { begun: false }, &[Vec::new()]), "[]\n");
    }

    #[test]
    fn a_table_is_as_wide_as_its_first_batch_needs() {
        let form = || Form::Table { columns: vec!["id".into(), "name".into()], begun: None };
        let batches = [vec![row(100, "a")], vec![row(2, "b"), row(30000, "c")], Vec::new()];
        assert_eq!(written(form(), &batches), "ID   NAME\n100  a\n2    b\n30000  c\n");
        assert_eq!(written(form(), &[Vec::new()]), "ID  NAME\n");
    }

    #[test]
    fn a_page_of_rows_at_hand_is_their_part() {
        let part = |limit, offset| Page { limit, offset }.of(0..5).collect::<Vec<_>>();
        assert_eq!(part(None, 0), [0, 1, 2, 3, 4]);
        assert_eq!(part(Some(2), 3), [3, 4]);
        assert_eq!(part(Some(2), 4), [4]);
        assert!(part(Some(0), 0).is_empty() && part(None, 9).is_empty());
    }
}
