//! `session destroy`: marks sessions as to be ended. The gateways' leader ends them at their agents within a second;
//! this program waits until it has.

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::ending::{self, End};
use crate::{
    cli::{
        CliError, Out,
        audit::noted,
        confirm::{Yes, counted},
        database,
        leading::somebody_leads,
    },
    config::Connections,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of live sessions, or their kernels' ids
    #[arg(value_name = "NAME|ID", required = true)]
    sessions: Vec<String>,
    /// Whose they are, where several keys have sessions of that name
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    #[command(flatten)]
    yes: Yes,
    /// Do not wait until they have ended
    #[arg(long)]
    no_wait: bool,
}

/// A live session.
pub struct Session {
    pub id: Uuid,
    pub name: String,
    access_key: String,
    status: String,
}

/// What the audit log says of why.
const REASON: &str = "admin-requested";

const LIVE: &str = "SELECT id, coalesce(sess_id, ''), coalesce(access_key, ''), coalesce(status::text, '') \
                    FROM kernels WHERE role = 'master' AND (id = $1 OR sess_id = $2) AND status NOT IN \
                    ('TERMINATED', 'ERROR') AND ($3::text IS NULL OR access_key = $3) ORDER BY access_key, id";

const ANY: &str = "SELECT EXISTS (SELECT FROM kernels WHERE role = 'master' AND (id = $1 OR sess_id = $2) \
                   AND ($3::text IS NULL OR access_key = $3))";

const MARK: &str = "SELECT backendai_sessions_to_end(ARRAY[$1::uuid], $2::text)";

const STATUS: &str = "SELECT coalesce(status::text, '') FROM kernels WHERE id = $1";

pub async fn run(args: &Args, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let client = database(to).await?;
    let mut sessions: Vec<Session> = Vec::new();
    for name in &args.sessions {
        let found = find(&client, name, args.access_key.as_deref()).await?;
        if sessions.iter().all(|it| it.id != found.id) {
            sessions.push(found);
        }
    }
    args.yes.ask(&format!("End {}", counted(sessions.len(), "session")))?;
    let mut failures = Vec::new();
    let mut marked = Vec::new();
    for session in sessions {
        match mark(&client, &session).await {
            Ok(()) => marked.push(session),
            Err(CliError::Refused(why)) => failures.push(why),
            Err(error) => return Err(error),
        }
    }
    if args.no_wait {
        marked.iter().try_for_each(|it| writeln!(out, "{}: will be ended", it.name))?;
    } else {
        failures.extend(wait(&client, marked, to, out).await?);
    }
    if failures.is_empty() { Ok(()) } else { Err(CliError::Unfinished(failures.join("; "))) }
}

/// The one live session that is meant.
async fn find(client: &Client, name: &str, access_key: Option<&str>) -> Result<Session, CliError> {
    let id = Uuid::try_parse(name).ok();
    let rows = client.query(LIVE, &[&id, &name, &access_key]).await?;
    let mut found: Vec<Session> = rows.iter().map(Session::read).collect();
    if let Some(place) = found.iter().position(|it| Some(it.id) == id) {
        return Ok(found.swap_remove(place));
    }
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            let keys: Vec<String> = found.into_iter().chain([last]).map(|it| it.access_key).collect();
            let keys = keys.join(", ");
            Err(CliError::Refused(format!("several keys have a session {name}: {keys}; name one with --access-key")))
        }
        (None, _) if client.query_one(ANY, &[&id, &name, &access_key]).await?.get(0) => {
            Err(CliError::Refused(format!("session {name} has ended already")))
        }
        (None, _) => Err(CliError::Refused(format!("there is no session {name}"))),
    }
}

/// Tells the leader to end a session, unless somebody is ending it already.
async fn mark(client: &Client, session: &Session) -> Result<(), CliError> {
    if session.status == "TERMINATING" {
        return Ok(());
    }
    let detail = json!({ "id": session.id.to_string(), "access_key": session.access_key, "reason": REASON });
    let work = async {
        if !client.query(MARK, &[&session.id, &REASON]).await?.is_empty() {
            return Ok(());
        }
        let row = client.query_opt(STATUS, &[&session.id]).await?;
        let status = row.map_or_else(|| "TERMINATED".to_owned(), |it| it.get(0));
        match status.as_str() {
            "TERMINATING" | "TERMINATED" | "ERROR" => Ok(()),
            other => {
                let name = &session.name;
                Err(CliError::Refused(format!("session {name} is {other} and can be ended when that is over")))
            }
        }
    };
    noted(client, "session destroy", "session", &session.name, &detail, work).await
}

/// Waits for those that are marked, tells of those that ended, and gives what is to be said of the others.
async fn wait(client: &Client, marked: Vec<Session>, to: &Connections, out: Out<'_>) -> Result<Vec<String>, CliError> {
    // Who cannot ask etcd waits, and sees.
    if !marked.is_empty() && !somebody_leads(to).await.unwrap_or(true) {
        let names: Vec<&str> = marked.iter().map(|it| it.name.as_str()).collect();
        return Ok(vec![format!("no gateway runs: {} will be ended when one does", names.join(", "))]);
    }
    let mut failures = Vec::new();
    for (session, end) in ending::wait(client, marked).await? {
        let name = session.name;
        match end {
            End::Ended => writeln!(out, "{name}: ended")?,
            End::RunsOn => failures.push(format!("{name}: its agent could not end it, so that it runs on")),
            End::NotYet(status) => failures.push(format!(
                "{name}: is {status} still after {} s; the gateways' leader goes on trying",
                ending::LIMIT.as_secs()
            )),
        }
    }
    Ok(failures)
}

// === impl Session ===

impl Session {
    fn read(row: &tokio_postgres::Row) -> Session {
        Session { id: row.get(0), name: row.get(1), access_key: row.get(2), status: row.get(3) }
    }
}
