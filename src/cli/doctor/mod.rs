//! `doctor`: looks at everything that a cluster stands on, and says what is wrong and what mends it.
//!
//! A check has a name, a time limit, and one line for each thing that it found. Checks run at once; those that need
//! what another one could not reach are skipped, and say so. The families: the three stores, the schema and our rights
//! on it, the configuration, what must always hold, clocks, this machine, and the programs that should run.

mod agents;
mod check;
mod clocks;
mod etcd;
mod finding;
mod fix;
mod gateway;
mod host;
mod keys;
mod postgres;
mod redis;
mod report;
mod rights;
mod sessions;
mod settings;
mod sums;

#[cfg(test)]
mod tests;

use futures_util::future::join_all;

use self::{
    clocks::Clock,
    finding::{Finding, State},
};
use super::{
    CliError, Out,
    confirm::{Yes, counted},
    gateway::Gateway,
    listing::{Format, Output},
};
use crate::config::Connections;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mend what is safe to mend: sums of agents' slots and of keys' sessions
    #[arg(long)]
    fix: bool,
    #[command(flatten)]
    yes: Yes,
    #[command(flatten)]
    admin: Gateway,
    #[command(flatten)]
    output: Output,
}

/// Everything that was found, and the database that it was found in.
struct Examined {
    found: Vec<Finding>,
    database: postgres::Database,
}

pub async fn run(args: &Args, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    if args.fix {
        args.yes.can_ask("Mend what is safe to mend")?;
    }
    let mut examined = examine(args.admin, to, clocks::now).await;
    let table = args.output.output == Format::Table;
    // Whoever is asked has read what it is about.
    if table {
        report::write_lines(&examined.found, coloured(), out)?;
    }
    // What was found is told whole, also where nothing is mended.
    let mended = if args.fix { mend(args, &mut examined).await } else { Ok(false) };
    let found = &examined.found;
    if table {
        if let Ok(true) = mended {
            let sums: Vec<_> = found.iter().filter(|it| it.sum.is_some()).cloned().collect();
            report::write_lines(&sums, coloured(), out)?;
        }
        writeln!(out, "{}", report::summary(found))?;
    } else {
        report::write_json(found, out)?;
    }
    mended?;
    let failed: Vec<&str> = report::standing(found)
        .into_iter()
        .filter(|(_, state)| *state == State::Failed)
        .map(|(name, _)| name)
        .collect();
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(CliError::Refused(format!("failed: {}", names.join(", ")))),
    }
}

/// Runs every check. `clock` is this machine's.
async fn examine(admin: Gateway, to: &Connections, clock: Clock) -> Examined {
    let ((mut found, database), (redis_found, redis), (etcd_found, etcd), (gateway_found, gateway)) =
        tokio::join!(postgres::reach(to), redis::reach(to), etcd::reach(to), gateway::checks(admin));
    let redis = redis.as_ref().ok_or("redis");
    let etcd = etcd.as_ref().ok_or("etcd");
    let settings = match etcd {
        Ok(etcd) => tokio::time::timeout(check::LIMIT, etcd.settings()).await.unwrap_or(Err("etcd-rights")),
        Err(because) => Err(because),
    };
    let settings = settings.as_ref().map_err(|because| *because);
    found.extend(redis_found);
    found.extend(etcd_found);
    found.extend(gateway_found);
    let later = [
        rights::checks(database.rights()),
        sums::checks(database.tables()),
        sessions::checks(database.tables()),
        keys::checks(database.tables(), settings),
        redis::checks(redis),
        etcd::checks(etcd),
        settings::checks(settings, gateway),
        agents::checks(database.tables()),
        clocks::checks(database.server(), redis, clock),
        host::checks(),
    ];
    found.extend(join_all(later.into_iter().flatten()).await.into_iter().flatten());
    Examined { found, database }
}

/// Mends what can be mended, if whoever is asked wants so; whether anything was tried.
async fn mend(args: &Args, examined: &mut Examined) -> Result<bool, CliError> {
    let client = examined.database.for_mending()?;
    let sums = examined.found.iter().filter(|it| it.sum.is_some()).count();
    if sums == 0 {
        return Ok(false);
    }
    match args.yes.ask(&format!("Mend {}", counted(sums, "sum"))) {
        Err(CliError::Declined) => return Ok(false),
        asked => asked?,
    }
    fix::mend(client, &mut examined.found).await;
    Ok(true)
}

/// Whether the output is a terminal, and nobody said NO_COLOR.
fn coloured() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}
