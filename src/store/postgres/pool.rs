//! A worker's connection to PostgreSQL.
//!
//! One connection, on which the statements of all requests are pipelined: waiting for each was measured to cost 5
//! to 13 times as much. That works because nothing here holds a transaction open across statements: what must be
//! atomic is one statement or one function of our migrations. The same connection listens for changes of keys and
//! agents, so that "connected" also means "will hear of changes"; a ping each second finds out a dead peer.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, NoTls, Row, Statement, types::ToSql};

use crate::{
    config::Connections,
    engine::{self, Stream},
    store::backoff::Backoff,
    telemetry::{self, Counter},
};

/// Longest time for a connection to be made, and for a statement to be answered.
const CONNECT_TIME: Duration = Duration::from_secs(3);
const QUERY_TIME: Duration = Duration::from_secs(10);
/// How often the connection is tried, and how long the answer may take.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIME: Duration = Duration::from_secs(2);

/// Channels of our migrations' triggers.
pub const KEYPAIRS_CHANNEL: &str = "backendai_keypairs";
/// See [`KEYPAIRS_CHANNEL`].
pub const AGENTS_CHANNEL: &str = "backendai_agents";

/// Why a statement gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// There is no connection, or it was lost, or it does not answer.
    #[error("PostgreSQL is away: {0}")]
    Away(String),
    /// PostgreSQL refused the statement.
    #[error("PostgreSQL refused: {0}")]
    Refused(#[from] tokio_postgres::Error),
}

/// What is heard from PostgreSQL besides answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A row that a channel is about has changed; its key.
    Row {
        /// [`KEYPAIRS_CHANNEL`] or [`AGENTS_CHANNEL`].
        channel: String,
        /// The row's primary key.
        key: String,
    },
    /// The connection is new: anything may have changed meanwhile.
    Everything,
}

/// A worker's PostgreSQL; clones are the same one.
#[derive(Clone)]
pub struct Postgres(Rc<Inner>);

struct Inner {
    connections: Connections,
    live: RefCell<Option<Rc<Live>>>,
    down_since: Cell<Option<Instant>>,
    asked: Cell<u64>,
}

struct Live {
    client: Client,
    statements: RefCell<HashMap<&'static str, Statement>>,
    /// Told once the connection has ended, or does not do any more.
    over: Rc<Notify>,
}

impl Postgres {
    /// Connects in the background, for ever; `changed` is told what is heard.
    pub fn start(connections: Connections, changed: impl Fn(Change) + 'static) -> Self {
        let inner = Inner {
            connections,
            live: RefCell::new(None),
            down_since: Cell::new(Some(Instant::now())),
            asked: Cell::new(0),
        };
        let postgres = Postgres(Rc::new(inner));
        let (kept, changed) = (postgres.clone(), Rc::new(changed));
        engine::spawn_lasting(move || kept.clone().keep_connected(changed.clone()));
        postgres
    }

    /// Whether there is a connection that answers.
    pub fn is_up(&self) -> bool {
        self.0.live.borrow().is_some()
    }

    /// How long there has been no connection; `None` while there is one.
    pub fn down_for(&self) -> Option<Duration> {
        self.0.down_since.get().map(|since| since.elapsed())
    }

    /// How many statements were asked for, ever.
    pub fn asked(&self) -> u64 {
        self.0.asked.get()
    }

    /// The rows of a statement, which is prepared once for each connection.
    ///
    /// # Errors
    /// PostgreSQL is away or refuses.
    pub async fn query(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, PgError> {
        self.0.asked.set(self.0.asked.get() + 1);
        let live = self.live()?;
        let work = async {
            let statement = live.statement(sql).await?;
            Ok(live.client.query(&statement, params).await?)
        };
        match engine::timeout(QUERY_TIME, work).await {
            Some(Err(PgError::Refused(error))) if error.is_closed() || error.code().is_none() => {
                live.over.notify_one();
                Err(PgError::Away(error.to_string()))
            }
            Some(result) => result,
            None => Err(PgError::Away("a statement was not answered in time".into())),
        }
    }

    /// The only row of a statement, if there is one.
    ///
    /// # Errors
    /// PostgreSQL is away or refuses.
    pub async fn query_opt(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, PgError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    fn live(&self) -> Result<Rc<Live>, PgError> {
        self.0.live.borrow().clone().ok_or_else(|| PgError::Away("not connected".into()))
    }

    async fn keep_connected(self, changed: Rc<dyn Fn(Change)>) {
        let mut backoff = Backoff::new();
        loop {
            match self.connect(&changed).await {
                Ok(live) => {
                    backoff.reset();
                    self.up(live.clone());
                    changed(Change::Everything);
                    watch(&live).await;
                    tracing::warn!("the connection to PostgreSQL is lost");
                    self.down();
                }
                Err(error) => tracing::warn!(%error, "PostgreSQL cannot be reached"),
            }
            engine::sleep(backoff.next(rand::random())).await;
        }
    }

    fn up(&self, live: Rc<Live>) {
        *self.0.live.borrow_mut() = Some(live);
        self.0.down_since.set(None);
        telemetry::set_gauge(Counter::PostgresUp, 1);
    }

    fn down(&self) {
        *self.0.live.borrow_mut() = None;
        self.0.down_since.set(Some(Instant::now()));
        telemetry::set_gauge(Counter::PostgresUp, 0);
    }

    async fn connect(&self, changed: &Rc<dyn Fn(Change)>) -> Result<Rc<Live>, PgError> {
        let away = |error: std::io::Error| PgError::Away(error.to_string());
        let Connections { db_addr, db_name, db_user, .. } = &self.0.connections;
        let mut config = tokio_postgres::Config::new();
        config.user(db_user).dbname(db_name).application_name("backendai-gateway");
        if let Some(password) = self.0.connections.password().map_err(away)? {
            config.password(password.reveal());
        }
        let connecting = async {
            let addr = engine::resolve(db_addr).await.map_err(away)?;
            let stream = Stream::connect_tcp(addr).await.map_err(away)?;
            let (client, mut connection) = config.connect_raw(stream, NoTls).await?;
            let (changed, over) = (changed.clone(), Rc::new(Notify::new()));
            let ended = over.clone();
            engine::spawn(async move {
                // Ends when the connection does; whoever waits for an answer is told.
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(heard) = message {
                        changed(Change::Row { channel: heard.channel().into(), key: heard.payload().into() });
                    }
                }
                ended.notify_one();
            });
            client.batch_execute(&format!("LISTEN {KEYPAIRS_CHANNEL}; LISTEN {AGENTS_CHANNEL}")).await?;
            Ok(Rc::new(Live { client, statements: RefCell::default(), over }))
        };
        engine::timeout(CONNECT_TIME, connecting)
            .await
            .unwrap_or_else(|| Err(PgError::Away(format!("{db_addr} does not answer"))))
    }
}

impl Live {
    async fn statement(&self, sql: &'static str) -> Result<Statement, PgError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Returns as soon as the connection has ended, or when it no longer answers.
async fn watch(live: &Live) {
    while engine::timeout(PING_EVERY, live.over.notified()).await.is_none() {
        let ping = engine::timeout(PING_TIME, live.client.batch_execute(""));
        if !matches!(ping.await, Some(Ok(()))) {
            return;
        }
    }
}
