//! What befalls a session, as server-sent events (HTML Living Standard, 9.2).
//!
//! The first thing sent is the place that events follow from, so that a client which is cut off before any came can
//! say as well where it was: what was missed in the last minute comes first then, also of sessions of that name that
//! have ended meanwhile. Where Redis tells nothing, the session's row is looked at from time to time.

use std::{rc::Rc, time::Duration};

use serde_json::json;
use uuid::Uuid;

use super::{Place, caller::is_shut_out};
use crate::{
    engine,
    http::Chunks,
    registry::{Registry, Session, SessionName, Standing},
    store::{
        keyring::Keyring,
        redis::session_events::{Change, EventId, SessionEvent},
    },
};

/// Between comments that keep proxies from closing the connection.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Comments between looks at the row.
const LOOK_AFTER: u32 = 4;
/// What clients are told to wait before they connect again, in ms.
const RETRY_MS: u64 = 1000;

/// What a client watches.
pub struct Watched {
    /// The client's name for the session.
    pub name: SessionName,
    /// The session, if one of that name lives.
    pub live: Option<Rc<Session>>,
    /// Those of that name that ended lately, for one who was cut off.
    pub ended: Vec<Uuid>,
    /// The last place in the events that the client knows.
    pub after: EventId,
    /// Whose key it is.
    pub access_key: Rc<str>,
}

/// The client is gone.
struct Gone;

/// Sends events until the session ends, or the client goes, or the worker, or its key is switched off.
pub async fn serve(chunks: Chunks, registry: Rc<Registry>, keyring: Keyring, watched: Watched, place: Place) {
    let mut feed = Feed { chunks: &chunks, registry: &registry, after: watched.after, name: &watched.name };
    tokio::select! {
        // However it ends, the connection ends with it.
        _ = feed.run(&watched) => {}
        () = chunks.closed() => {}
        () = place.is_called_in() => {}
        () = is_shut_out(&keyring, &watched.access_key) => {}
    }
}

struct Feed<'a> {
    chunks: &'a Chunks,
    registry: &'a Registry,
    after: EventId,
    name: &'a SessionName,
}

// === impl Feed ===

impl Feed<'_> {
    async fn run(&mut self, watched: &Watched) -> Result<(), Gone> {
        self.send(format!("retry: {RETRY_MS}\nid: {}\n\n", self.after)).await?;
        self.send_missed(&watched.ended).await?;
        match &watched.live {
            Some(session) => self.send_new(session).await,
            None => Ok(()),
        }
    }

    async fn send_missed(&mut self, ended: &[Uuid]) -> Result<(), Gone> {
        let mut missed = Vec::new();
        for session in ended {
            missed.extend(self.registry.events_since(*session, self.after).await.unwrap_or_default());
        }
        missed.sort_by_key(|event| event.id);
        for event in &missed {
            self.send(frame(event, self.name)).await?;
        }
        Ok(())
    }

    async fn send_new(&mut self, session: &Session) -> Result<(), Gone> {
        let mut bell = self.registry.bell(session.id);
        let mut comments = 0u32;
        loop {
            tokio::select! {
                () = bell.rung() => {
                    for event in self.registry.events_since(session.id, self.after).await.unwrap_or_default() {
                        self.after = event.id;
                        self.send(frame(&event, self.name)).await?;
                        if event.change == Change::Terminated {
                            return Ok(());
                        }
                    }
                }
                () = engine::sleep(COMMENT_EVERY) => {
                    self.send(":\n\n".into()).await?;
                    comments += 1;
                    if comments.is_multiple_of(LOOK_AFTER)
                        && let Ok(Standing::Ended(why)) = self.registry.standing(session).await
                    {
                        return self.send(end_unheard(&why, self.name)).await;
                    }
                }
            }
        }
    }

    async fn send(&self, text: String) -> Result<(), Gone> {
        self.chunks.send(Ok(text.into())).await.map_err(|_| Gone)
    }
}

fn frame(event: &SessionEvent, name: &SessionName) -> String {
    format!("id: {}\n{}", event.id, without_id(event.change, &event.reason, name))
}

/// The end of a session of which only its row tells.
fn end_unheard(why: &str, name: &SessionName) -> String {
    without_id(Change::Terminated, why, name)
}

fn without_id(change: Change, reason: &str, name: &SessionName) -> String {
    // JSON has no raw line ends, which would end the field.
    let data = json!({"kernelId": name.as_str(), "reason": reason});
    format!("event: {}\ndata: {data}\n\n", change.name())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_event_is_three_lines() {
        let id = EventId { ms: 5, number: 1 };
        let event = SessionEvent { id, change: Change::Restarted, reason: "user-requested".into() };
        assert_eq!(
            frame(&event, &SessionName::parse("mine").unwrap()),
            "id: 5-1\nevent: restarted\ndata: {\"kernelId\":\"mine\",\"reason\":\"user-requested\"}\n\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn no_reason_breaks_out_of_its_line(reason in "(.|\\n|\\r){0,60}") {
            let text = end_unheard(&reason, &SessionName::parse("mine").unwrap());
            prop_assert_eq!(text.split(['\n', '\r']).count(), 4);
        }
    }
}
