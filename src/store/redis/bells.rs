//! Bells that ring when something befalls a session: one connection of a worker for all that its streams watch.
//!
//! A ring says "read on" and nothing else, so that none can be lost for good: whenever the connection is new, every
//! bell rings. The connection is made with the first bell and ends when none has hung for some seconds, so that
//! workers without streams have none.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value, aio::MultiplexedConnection,
};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::{CONNECT_TIME, QUERY_TIME, RedisError, ping, session_events};
use crate::{
    config::HostPort,
    engine::{self, Stream},
    store::backoff::Backoff,
};

/// How often the connection is tried, and whether anybody wants it still.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A worker's bells; clones are the same ones.
#[derive(Clone)]
pub struct Bells(Rc<Inner>);

/// The bell of a session, for one who watches it.
pub struct Bell {
    bells: Bells,
    session: Uuid,
    rings: watch::Receiver<()>,
}

struct Inner {
    addr: HostPort,
    /// What the names of channels begin with; the session's id follows.
    prefix: String,
    hung: RefCell<HashMap<Uuid, watch::Sender<()>>>,
    connection: RefCell<Option<MultiplexedConnection>>,
    is_kept: Cell<bool>,
}

type Pushes = mpsc::UnboundedReceiver<PushInfo>;

// === impl Bell ===

impl Bell {
    /// Waits for the next ring. The first comes when the bell is hung: what befell the session before it, who
    /// watches can read; of what comes after it, this tells.
    pub async fn rung(&mut self) {
        // The sender is kept for as long as there are bells of the session.
        let _ = self.rings.changed().await;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let Inner { hung, .. } = &*self.bells.0;
        let last = hung.borrow().get(&self.session).is_some_and(|bell| bell.receiver_count() <= 1);
        if last {
            hung.borrow_mut().remove(&self.session);
            engine::spawn(self.bells.clone().take_down(self.session));
        }
    }
}

// === impl Bells ===

impl Bells {
    /// The bells of a namespace's sessions, at the Redis where their events are.
    pub fn new(addr: HostPort, namespace: &str) -> Self {
        Bells(Rc::new(Inner {
            addr,
            prefix: session_events::prefix(namespace),
            hung: RefCell::default(),
            connection: RefCell::default(),
            is_kept: Cell::new(false),
        }))
    }

    /// The bell of a session.
    pub fn of(&self, session: Uuid) -> Bell {
        let Inner { hung, is_kept, .. } = &*self.0;
        let sender = hung.borrow_mut().entry(session).or_insert_with(|| watch::Sender::new(())).clone();
        engine::spawn(self.clone().hang(session));
        if !is_kept.replace(true) {
            let kept = self.clone();
            engine::spawn_lasting(move || kept.clone().keep_connected());
        }
        Bell { bells: self.clone(), session, rings: sender.subscribe() }
    }

    /// Has Redis ring a bell, and rings it once. Without a connection, the next one does it.
    async fn hang(self, session: Uuid) {
        let connection = self.0.connection.borrow().clone();
        if let Some(mut connection) = connection
            && let Some(Ok(())) = engine::timeout(QUERY_TIME, connection.subscribe(self.channel(session))).await
        {
            self.ring(session);
        }
    }

    async fn take_down(self, session: Uuid) {
        let connection = self.0.connection.borrow().clone();
        // Somebody may watch it again by now.
        if let Some(mut connection) = connection
            && !self.0.hung.borrow().contains_key(&session)
        {
            // A bell that rings for nobody harms nobody.
            let _ = engine::timeout(QUERY_TIME, connection.unsubscribe(self.channel(session))).await;
        }
    }

    fn ring(&self, session: Uuid) {
        if let Some(bell) = self.0.hung.borrow().get(&session) {
            bell.send_replace(());
        }
    }

    fn channel(&self, session: Uuid) -> String {
        format!("{}{session}", self.0.prefix)
    }

    async fn keep_connected(self) {
        let mut backoff = Backoff::new();
        while !self.0.hung.borrow().is_empty() {
            match self.open().await {
                Ok((connection, pushes)) => {
                    backoff.reset();
                    *self.0.connection.borrow_mut() = Some(connection.clone());
                    self.listen(connection, pushes).await;
                    *self.0.connection.borrow_mut() = None;
                }
                Err(error) => tracing::warn!(addr = %self.0.addr, %error, "events of sessions cannot be heard"),
            }
            if !self.0.hung.borrow().is_empty() {
                engine::sleep(backoff.next(rand::random())).await;
            }
        }
        self.0.is_kept.set(false);
    }

    async fn open(&self) -> Result<(MultiplexedConnection, Pushes), RedisError> {
        let away = |error: std::io::Error| RedisError::Away(error.to_string());
        let opening = async {
            let stream = Stream::connect_tcp(engine::resolve(&self.0.addr).await.map_err(away)?).await.map_err(away)?;
            let (sender, pushes) = mpsc::unbounded_channel();
            let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
            let config = AsyncConnectionConfig::new()
                .set_response_timeout(None)
                .set_connection_timeout(None)
                .set_push_sender(sender);
            let (connection, driver) =
                MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(RedisError::Refused)?;
            engine::spawn(driver);
            Ok((connection, pushes))
        };
        let silent = || Err(RedisError::Away(format!("{} does not answer", self.0.addr)));
        engine::timeout(CONNECT_TIME, opening).await.unwrap_or_else(silent)
    }

    /// Hangs all bells, and rings those that Redis rings, until the connection is lost or nobody wants it.
    async fn listen(&self, connection: MultiplexedConnection, mut pushes: Pushes) {
        let sessions: Vec<Uuid> = self.0.hung.borrow().keys().copied().collect();
        for session in sessions {
            engine::spawn(self.clone().hang(session));
        }
        let heard = async {
            while let Some(push) = pushes.recv().await {
                match push.kind {
                    PushKind::Message => drop(self.session_of(&push).map(|session| self.ring(session))),
                    PushKind::Disconnection => return,
                    _ => {}
                }
            }
        };
        futures_lite::future::or(heard, self.look(connection)).await;
    }

    /// Returns when the connection no longer answers, or nobody wants it.
    async fn look(&self, mut connection: MultiplexedConnection) {
        loop {
            engine::sleep(LOOK_EVERY).await;
            if self.0.hung.borrow().is_empty() || ping(&mut connection).await.is_err() {
                return;
            }
        }
    }

    /// The session that a message is about.
    fn session_of(&self, push: &PushInfo) -> Option<Uuid> {
        let Some(Value::BulkString(channel)) = push.data.first() else { return None };
        std::str::from_utf8(channel).ok()?.strip_prefix(&self.0.prefix)?.parse().ok()
    }
}
