//! `audit`: who did what, on what, when, and how it went; and how old entries are removed.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;
use tokio_postgres::{Client, types::ToSql};

use super::{
    CliError, Out,
    audit::noted,
    confirm::{Yes, counted},
    database,
    listing::Output,
    rows::{Page, Rows},
};
use crate::{config::Connections, store::postgres::migrate};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what was done, newest first
    #[command(mut_arg("limit", |it| it.default_value("100")))]
    List {
        /// Only what this actor did: an access key, or user@host
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
        /// Only this action: a mutation, a route or a command, like "keypair modify"
        #[arg(long, value_name = "NAME")]
        action: Option<String>,
        /// Only what was done to this: a key, an agent, a session, an image
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Output,
    },
    /// Remove old entries
    Prune {
        /// Those from before a day (2030-01-31, UTC), a time (2030-01-31T12:00:00Z), or so many days ago
        #[arg(long, value_name = "DATE|DAYS", value_parser = before)]
        before: Before,
        #[command(flatten)]
        yes: Yes,
    },
}

/// Which entries are old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Days(i32),
    Time(Timestamp),
}

const COLUMNS: [&str; 13] = [
    "id",
    "at",
    "actor",
    "via",
    "action",
    "target_type",
    "target",
    "outcome",
    "message",
    "source",
    "request_id",
    "detail",
    "ended_at",
];

const LISTED: &str = "FROM audit_log WHERE ($1::text IS NULL OR actor = $1) AND ($2::text IS NULL OR action = $2) \
                      AND ($3::text IS NULL OR target = $3) ORDER BY id DESC";

/// The time that is meant, whether it has passed, and how many entries are older, by the database's clock: that one
/// dates entries.
const LOOK: &str = "SELECT at, at <= now(), (SELECT count(*) FROM audit_log WHERE audit_log.at < given.at) \
                    FROM (SELECT coalesce($1, now() - make_interval(days => $2)) AS at) given";

pub async fn run(command: Command, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let mut client = database(to).await?;
    migrate::check(&client).await?;
    match command {
        Command::List { actor, action, target, page, output } => {
            let params: [&(dyn ToSql + Sync); 3] = [&actor, &action, &target];
            Rows::select(&mut client, &COLUMNS, LISTED, &params, page).await?.write(output, out).await
        }
        Command::Prune { before, yes } => prune(&client, before, yes, out).await,
    }
}

async fn prune(client: &Client, before: Before, yes: Yes, out: Out<'_>) -> Result<(), CliError> {
    let (time, days) = match before {
        Before::Time(time) => (Some(time), 0),
        Before::Days(days) => (None, days),
    };
    let row = client.query_one(LOOK, &[&time, &days]).await?;
    let (time, has_passed): (Timestamp, bool) = (row.get(0), row.get(1));
    if !has_passed {
        return Err(CliError::Refused(format!("{time:.0} has not come yet")));
    }
    let count = usize::try_from(row.get::<_, i64>(2)).unwrap_or_default();
    if count > 0 {
        yes.ask(&format!("Remove {} of the audit log from before {time:.0}", entries(count)))?;
    }
    let target = format!("{time:.0}");
    let work = async { Ok(client.execute("DELETE FROM audit_log WHERE at < $1", &[&time]).await?) };
    let removed = noted(client, "audit prune", "audit", &target, &json!({ "before": target }), work).await?;
    Ok(writeln!(out, "removed {} from before {time:.0}", entries(usize::try_from(removed).unwrap_or_default()))?)
}

fn entries(count: usize) -> String {
    counted(count, "entry").replace("entrys", "entries")
}

fn before(text: &str) -> Result<Before, String> {
    if let Ok(days) = text.parse::<u16>() {
        return Ok(Before::Days(i32::from(days)));
    }
    // A time without a zone would be read as its day.
    let day = if text.contains(['T', 't', ' ']) { None } else { text.parse::<Date>().ok() };
    let midnight = day.and_then(|it| it.to_zoned(TimeZone::UTC).ok()).map(|it| it.timestamp());
    let time = midnight.or_else(|| text.parse().ok()).map(Before::Time);
    time.ok_or_else(|| "it is no date (2030-01-31), no time (2030-01-31T12:00:00Z) and no number of days".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_a_time_and_days_are_told_apart() {
        let time = |text: &str| Ok(Before::Time(text.parse().unwrap()));
        assert_eq!(before("90"), Ok(Before::Days(90)));
        assert_eq!(before("2026-01-31"), time("2026-01-31T00:00:00Z"));
        assert_eq!(before("2026-01-31T12:30:00Z"), time("2026-01-31T12:30:00Z"));
        assert_eq!(before("2026-01-31T12:30:00+02:00"), time("2026-01-31T10:30:00Z"));
        for text in ["", "-1", "yesterday", "2026-13-01", "2026-01-31T12:30:00", "1e3"] {
            assert!(before(text).is_err(), "{text}");
        }
    }
}
