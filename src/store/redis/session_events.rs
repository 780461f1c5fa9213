//! What befalls sessions, for those who watch: a short stream in database 1 for each session.
//!
//! `backendai:<namespace>:events:<session>` is a Redis stream of the last entries, which lives a little longer than
//! a minute after its last one. Whoever adds an entry also rings the channel of the same name, so that watchers (see
//! [`super::Bells`]) read on; a ring carries nothing, so that one which is missed is made up for by the next.

use std::{fmt, str::FromStr, time::Duration};

use redis::{Script, cmd};
use uuid::Uuid;

use super::{Redis, RedisError, run_script};

/// Adds an entry, sets the stream's life, and rings.
const PUBLISH: &str = include_str!("publish.lua");

/// How long what was missed can be read at least: what a stream's life is set to whenever something is added.
pub const KEPT: Duration = Duration::from_secs(60);

/// What befell a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has ended.
    Terminated,
    /// Its kernel began anew.
    Restarted,
}

/// A place in a session's events: UNIX ms by the clock of Redis, and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// UNIX ms.
    pub ms: u64,
    /// Tells events of one millisecond apart.
    pub number: u64,
}

/// Something that befell a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEvent {
    /// Its place among the others.
    pub id: EventId,
    /// What it was.
    pub change: Change,
    /// Why, in a word: `user-requested`, `self-terminated`, `agent-lost`, ….
    pub reason: String,
}

/// The events of a namespace's sessions, in database 1; clones are the same ones.
#[derive(Clone)]
pub struct SessionEvents {
    redis: Redis,
    /// `backendai:<namespace>:events:`.
    prefix: std::rc::Rc<str>,
    publish: std::rc::Rc<Script>,
}

// === impl SessionEvents ===

impl SessionEvents {
    /// The events of a namespace; `redis` is database 1.
    pub fn new(redis: Redis, namespace: &str) -> Self {
        SessionEvents { redis, prefix: prefix(namespace).into(), publish: Script::new(PUBLISH).into() }
    }

    /// Tells everybody who watches a session.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn publish(&self, session: Uuid, change: Change, reason: &str) -> Result<(), RedisError> {
        let life = KEPT.as_millis().to_string();
        let key = self.key(session);
        let arguments = ["1", &key, change.name(), reason, &life];
        run_script::<redis::Value>(&self.redis, &self.publish, PUBLISH, &arguments).await.map(drop)
    }

    /// What befell a session after a place, as far as it is kept, in order. Only the clock of Redis is in it: this
    /// machine's may be another.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn since(&self, session: Uuid, after: EventId) -> Result<Vec<SessionEvent>, RedisError> {
        let answer: Vec<(String, Vec<String>)> =
            self.redis.query(cmd("XRANGE").arg(self.key(session)).arg(after.next().to_string()).arg("+")).await?;
        Ok(answer.iter().filter_map(|(id, fields)| SessionEvent::read(id, fields)).collect())
    }

    /// The last place in a session's events: those after it are new.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn last(&self, session: Uuid) -> Result<EventId, RedisError> {
        let command = cmd("XREVRANGE").arg(self.key(session)).arg("+").arg("-").arg("COUNT").arg(1).clone();
        let answer: Vec<(String, Vec<String>)> = self.redis.query(&command).await?;
        Ok(answer.first().and_then(|(id, _)| id.parse().ok()).unwrap_or_default())
    }

    fn key(&self, session: Uuid) -> String {
        format!("{}{session}", self.prefix)
    }
}

/// What the names of all streams, and channels, of a namespace begin with.
pub(super) fn prefix(namespace: &str) -> String {
    format!("backendai:{namespace}:events:")
}

// === impl SessionEvent ===

impl SessionEvent {
    /// From an entry; one of no known form is none.
    fn read(id: &str, fields: &[String]) -> Option<Self> {
        let field = |name: &str| {
            let mut pairs = fields.as_chunks::<2>().0.iter();
            pairs.find(|[known, _]| known == name).map(|[_, value]| value)
        };
        let change = [Change::Terminated, Change::Restarted]
            .into_iter()
            .find(|c| Some(c.name()) == field("event").map(String::as_str))?;
        Some(SessionEvent { id: id.parse().ok()?, change, reason: field("reason")?.clone() })
    }
}

// === impl Change ===

impl Change {
    /// Its name, in Redis and towards clients.
    pub fn name(self) -> &'static str {
        match self {
            Change::Terminated => "terminated",
            Change::Restarted => "restarted",
        }
    }
}

// === impl EventId ===

impl EventId {
    /// The place right after it.
    fn next(self) -> Self {
        match self.number.checked_add(1) {
            Some(number) => EventId { number, ..self },
            None => EventId { ms: self.ms.saturating_add(1), number: 0 },
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// The text is no `ms-number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an event")]
pub struct BadEventId;

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<Self, BadEventId> {
        let digits = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| BadEventId),
            false => Err(BadEventId),
        };
        let (ms, number) = text.split_once('-').ok_or(BadEventId)?;
        Ok(EventId { ms: digits(ms)?, number: digits(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{self, Engine},
        store::redis::{Bells, LEDGER_DB},
        testing,
    };

    #[test]
    fn ids_go_both_ways_and_nothing_else_is_one() {
        let id = EventId { ms: 1_795_345_134_419, number: 3 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "-", "1", "1-", "-1", "+1-0", "1-2-3", "99999999999999999999-0", "$"] {
            assert_eq!(text.parse::<EventId>(), Err(BadEventId), "{text}");
        }
        assert!(EventId { ms: 1, number: u64::MAX }.next() == EventId { ms: 2, number: 0 });
    }

    #[test]
    fn an_entry_of_another_form_is_none() {
        let fields = |pairs: &[&str]| pairs.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read = |pairs: &[&str]| SessionEvent::read("1-0", &fields(pairs));
        assert!(read(&["event", "restarted", "reason", "x"]).is_some());
        assert!(read(&["reason", "x", "more", "y", "event", "terminated"]).is_some());
        for pairs in [&["event", "restarted"][..], &["event", "danced", "reason", "x"], &["event"], &[]] {
            assert_eq!(read(pairs), None);
        }
    }

    #[test]
    fn watchers_are_rung_and_read_what_they_missed_also_after_a_loss() {
        for engine in [Engine::Epoll].into_iter().chain(engine::probe_io_uring().map(|()| Engine::IoUring)) {
            let server = testing::Redis::start();
            engine::block_on(engine, || watch(server)).unwrap();
        }
    }

    async fn watch(server: testing::Redis) {
        let redis = Redis::connect(server.addr(), LEDGER_DB);
        while !redis.is_up() {
            engine::sleep(Duration::from_millis(5)).await;
        }
        let events = SessionEvents::new(redis.clone(), "test");
        let bells = Bells::new(server.addr(), "test");
        let [watched, other, other_clock] = [(); 3].map(|()| Uuid::new_v4());
        let start = events.last(watched).await.unwrap();
        assert_eq!(start, EventId::default());
        let mut bell = bells.of(watched);
        bell.rung().await;
        assert_eq!(events.since(watched, start).await.unwrap(), []);

        events.publish(other, Change::Terminated, "other").await.unwrap();
        events.publish(watched, Change::Restarted, "user-requested").await.unwrap();
        bell.rung().await;
        let seen = events.since(watched, start).await.unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].change, seen[0].reason.as_str()), (Change::Restarted, "user-requested"));
        assert_eq!(events.last(watched).await.unwrap(), seen[0].id);

        // One whose clock is an hour before this machine's reads it as well.
        let mut behind = cmd("XADD");
        behind.arg(events.key(other_clock)).arg("1000-7").arg(&["event", "restarted", "reason", "x"]);
        redis.query::<String>(&behind).await.unwrap();
        let seen_late = events.since(other_clock, start).await.unwrap();
        assert_eq!(seen_late.iter().map(|event| event.id).collect::<Vec<_>>(), [EventId { ms: 1000, number: 7 }]);

        // The connection on which rings come is lost, and with it what rings meanwhile: a new one rings anew.
        let mut kill = cmd("CLIENT");
        let killed: u64 = redis.query(kill.arg("KILL").arg("TYPE").arg("pubsub")).await.unwrap();
        assert_eq!(killed, 1);
        events.publish(watched, Change::Terminated, "self-terminated").await.unwrap();
        let missed = loop {
            bell.rung().await;
            let missed = events.since(watched, seen[0].id).await.unwrap();
            if !missed.is_empty() {
                break missed;
            }
        };
        assert_eq!((missed.len(), missed[0].change), (1, Change::Terminated));
        let life: i64 = redis.query(cmd("PTTL").arg(events.key(watched))).await.unwrap();
        assert!(0 < life && life <= 60_000, "{life}");

        // Two who watch one session are both rung; when the last is gone, Redis rings no more.
        let (mut second, channel) = (bells.of(watched), events.key(watched));
        events.publish(watched, Change::Restarted, "again").await.unwrap();
        bell.rung().await;
        second.rung().await;
        drop(bell);
        let subscribers = async || {
            let mut count = cmd("PUBSUB");
            let answer: (String, u64) = redis.query(count.arg("NUMSUB").arg(&channel)).await.unwrap();
            answer.1
        };
        assert_eq!(subscribers().await, 1);
        drop(second);
        while subscribers().await > 0 {
            engine::sleep(Duration::from_millis(5)).await;
        }
    }
}
