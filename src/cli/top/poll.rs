//! Asks the gateway and the database again and again. Neither waits for the other, and neither's absence ends
//! anything: it is news like any other, and the next question is asked on a new connection.

use std::time::{Duration, Instant};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_postgres::Client;

use super::{
    cluster::{self, Cluster, Window},
    model::News,
};
use crate::{
    cli::{CliError, gateway::Gateway},
    config::Connections,
};

/// How long the database may take for all that one look needs, connecting included.
const LOOK_LIMIT: Duration = Duration::from_secs(8);

/// Tells what the gateway says, until nobody listens.
pub async fn gateway(gateway: Gateway, every: Duration, news: mpsc::Sender<News>) {
    let mut ticks = ticks(every);
    loop {
        ticks.tick().await;
        let report = gateway.report().await.map_err(|it| it.to_string());
        if news.send(News::Gateway(Instant::now(), report)).await.is_err() {
            return;
        }
    }
}

/// Tells what the database says of the window, at once where that changes, until nobody listens.
pub async fn database(to: Connections, every: Duration, mut window: watch::Receiver<Window>, news: mpsc::Sender<News>) {
    let (mut ticks, mut client) = (ticks(every), None);
    loop {
        // What was missed while it changed is in the next look.
        tokio::select! { _ = ticks.tick() => {}, changed = window.changed() => if changed.is_err() { return } }
        let wanted = *window.borrow_and_update();
        let cluster = within(&to, look(&to, &mut client, wanted)).await;
        if cluster.is_err() {
            client = None;
        }
        if news.send(News::Cluster(cluster.map_err(|it| it.to_string()))).await.is_err() {
            return;
        }
    }
}

/// One look at the database, on the connection that there is or a new one.
pub async fn look(to: &Connections, client: &mut Option<Client>, window: Window) -> Result<Cluster, CliError> {
    let client = match client {
        Some(client) => client,
        none => none.insert(cluster::connect(to).await?),
    };
    cluster::read(client, window).await
}

/// Within the limit of time: a server that hangs is away.
pub async fn within<T>(to: &Connections, look: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let late = || Err(CliError::Refused(format!("PostgreSQL at {} does not answer in time", to.db_addr)));
    timeout(LOOK_LIMIT, look).await.unwrap_or_else(|_| late())
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
