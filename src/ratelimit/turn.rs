//! One call of the gate's script: its arguments from the requests of a turn, and their verdicts from its
//! answer. No I/O; what goes where is described in gate.lua.

use std::vec;

use redis::{Cmd, Value};
use uuid::{Uuid, fmt::Hyphenated};

use super::{
    SessionCount, Verdict, WINDOW_S,
    fallback::Debts,
    window::{Admission, WINDOW_MS},
};
use crate::auth::AccessKey;

/// A request that waits for the call. Ordered as the script wants them: those of a key together, of its
/// sessions likewise, the ones without a session first.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) access_key: AccessKey,
    pub(super) limit: u32,
    pub(super) session: Option<Uuid>,
    pub(super) run: Option<Box<str>>,
}

/// What the script says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) access_key: AccessKey,
    pub(super) limit: u32,
    pub(super) admission: Admission,
}

/// What a call brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// A verdict for each request, in their order.
    pub(super) verdicts: Vec<Verdict>,
    /// One for each key.
    pub(super) seen: Vec<Seen>,
}

/// Requests of one key, or of one of its sessions.
struct Group<'a> {
    key: AccessKey,
    session: Option<Uuid>,
    requests: &'a [Asked],
}

/// The answer, read from front to back.
struct Answer(vec::IntoIter<Value>);

impl Asked {
    pub(super) fn order(&self, other: &Asked) -> std::cmp::Ordering {
        self.access_key.cmp(&other.access_key).then(self.session.cmp(&other.session))
    }

    /// The id of the run whose status is wanted.
    fn run_id(&self) -> Option<String> {
        Some(format!("{}:{}", self.session?, self.run.as_deref()?))
    }
}

/// Appends the script's arguments: for the namespace of `prefix`, the debts and the sorted requests.
pub(super) fn write(
    command: &mut Cmd,
    prefix: &str,
    debts: &Debts,
    sorted: &[Asked],
    at_least: impl Fn(&AccessKey) -> u32,
) {
    command.arg(1).arg(prefix).arg(debts.keys.len() + keys(sorted).count());
    for (key, debt) in &debts.keys {
        command.arg(key.as_str()).arg(-1).arg(debt.requests).arg(at_least(key)).arg(debt.last_used_ms).arg(0);
    }
    for group in keys(sorted) {
        group.write(command, at_least(&group.key));
    }
    command.arg(debts.sessions.len());
    for (session, requests) in &debts.sessions {
        command.arg(text(session, &mut [0; Hyphenated::LENGTH])).arg(requests);
    }
    for run in sorted.iter().filter_map(Asked::run_id) {
        command.arg(run);
    }
}

/// Reads the script's answer; `None` where it is not one.
pub(super) fn read(debts: &Debts, sorted: &[Asked], answer: Vec<Value>) -> Option<Outcome> {
    let mut answer = Answer(answer.into_iter());
    for _ in &debts.keys {
        // That they were counted is all that matters of debts.
        answer.admission()?;
    }
    let mut outcome = Outcome::default();
    for group in keys(sorted) {
        group.read(&mut answer, &mut outcome)?;
    }
    let wants =
        sorted.iter().zip(&mut outcome.verdicts).filter(|(asked, _)| asked.session.and(asked.run.as_ref()).is_some());
    for (_, verdict) in wants {
        verdict.run = answer.text()?;
    }
    Some(outcome)
}

fn keys(sorted: &[Asked]) -> impl Iterator<Item = Group<'_>> {
    groups(sorted, |a, b| a.access_key == b.access_key)
}

fn groups<'a>(sorted: &'a [Asked], together: impl Fn(&Asked, &Asked) -> bool + 'a) -> impl Iterator<Item = Group<'a>> {
    let chunks = sorted.chunk_by(together);
    chunks.filter_map(|requests| {
        requests.first().map(|first| Group { key: first.access_key, session: first.session, requests })
    })
}

fn text<'a>(id: &Uuid, buffer: &'a mut [u8; Hyphenated::LENGTH]) -> &'a str {
    id.hyphenated().encode_lower(buffer)
}

// === impl Group ===

impl<'a> Group<'a> {
    /// Its requests by session; those without one are the first, if there are any.
    fn sessions(&self) -> impl Iterator<Item = Group<'a>> + use<'a> {
        groups(self.requests, |a, b| a.session == b.session)
    }

    /// The limit; where requests disagree, since it was just changed, the lower one.
    fn limit(&self) -> u32 {
        self.requests.iter().map(|asked| asked.limit).min().unwrap_or(0)
    }

    fn len(&self) -> u32 {
        u32::try_from(self.requests.len()).unwrap_or(u32::MAX)
    }

    fn write(&self, command: &mut Cmd, at_least: u32) {
        let plain = self.requests.iter().filter(|asked| asked.session.is_none()).count();
        let named = || self.sessions().filter_map(|group| Some((group.session?, group.len())));
        command.arg(self.key.as_str()).arg(self.limit()).arg(plain).arg(at_least).arg(0).arg(named().count());
        for (session, requests) in named() {
            command.arg(text(&session, &mut [0; Hyphenated::LENGTH])).arg(requests);
        }
    }

    fn read(&self, answer: &mut Answer, outcome: &mut Outcome) -> Option<()> {
        let admission = answer.admission()?;
        let limit = self.limit();
        outcome.seen.push(Seen { access_key: self.key, limit, admission });
        let mut before = 0;
        for group in self.sessions() {
            let admitted = admission.admitted.saturating_sub(before).min(group.len());
            let total = group.session.map(|_| answer.integer()).unwrap_or(Some(-1))?;
            outcome.verdicts.extend((1..=group.len()).map(|number| {
                let allowed = number <= admitted;
                let later = admission.admitted.saturating_sub(before + number);
                let session = match (group.session, u64::try_from(total)) {
                    (Some(_), Ok(total)) if allowed => SessionCount::Total(total - u64::from(admitted - number)),
                    (Some(_), Err(_)) if allowed => SessionCount::Unknown,
                    _ => SessionCount::NotAsked,
                };
                Verdict { allowed, remaining: admission.remaining + later, session, ..Verdict::of(limit, admission) }
            }));
            before += group.len();
        }
        Some(())
    }
}

// === impl Verdict ===

impl Verdict {
    /// What the window said, as the headers of an answer say it.
    pub(super) fn of(limit: u32, admission: Admission) -> Self {
        Verdict {
            allowed: admission.admitted > 0,
            limit,
            remaining: admission.remaining,
            reset_ms: admission.free_in_ms.min(WINDOW_MS),
            retry_ms: admission.free_in_ms,
            window_s: WINDOW_S,
            session: SessionCount::NotAsked,
            run: None,
        }
    }
}

// === impl Answer ===

impl Answer {
    fn integer(&mut self) -> Option<i64> {
        match self.0.next()? {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    fn admission(&mut self) -> Option<Admission> {
        let mut count = || u32::try_from(self.integer()?).ok();
        let (admitted, remaining) = (count()?, count()?);
        Some(Admission { admitted, remaining, free_in_ms: u64::try_from(self.integer()?).ok()? })
    }

    fn text(&mut self) -> Option<Option<String>> {
        match self.0.next()? {
            Value::Nil => Some(None),
            Value::BulkString(bytes) => Some(String::from_utf8(bytes).ok()),
            _ => None,
        }
    }
}
