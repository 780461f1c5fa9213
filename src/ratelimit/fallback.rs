//! What a worker does about limits while Redis is away.
//!
//! It admits no more than its share of what it last saw left for a key: what remained divided by the
//! number of workers of all nodes, so that together they stay below the limit
//! as far as each knew what the others had admitted (it asks every second). After
//! a whole window without Redis nothing of before counts any more, and the share is that of the limit. A
//! key that this worker never saw has no share that could be known: it is refused. What was admitted is a
//! debt that is counted in Redis when it is back.
//!
//! The same memory helps where Redis comes back empty: while no request can have left the window since a
//! key was last seen, Redis must know of at least as many as were seen then ([`Fallback::at_least`]).

use std::collections::HashMap;

use uuid::Uuid;

use super::window::{Admission, BUCKET_MS, WINDOW_MS, Window};
use crate::auth::AccessKey;

/// How far Redis' clock and ours may run apart within a window, in ms.
const DRIFT_MS: u64 = 1000;

/// What a worker knows of the windows in Redis. Times are ms of a steady clock.
#[derive(Debug)]
pub struct Fallback {
    /// Bounded by two generations, as each use moves a key to the younger.
    young: HashMap<AccessKey, Known>,
    old: HashMap<AccessKey, Known>,
    generation: usize,
    debts: HashMap<AccessKey, Debt>,
    /// Queries of sessions that were answered for while Redis was away.
    sessions: HashMap<Uuid, u32>,
}

/// Requests that were admitted while Redis was away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    /// How many.
    pub requests: u32,
    /// The time of the last one, UNIX ms.
    pub last_used_ms: u64,
}

/// All debts of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Debts {
    /// By access key.
    pub keys: Vec<(AccessKey, Debt)>,
    /// Queries by session.
    pub sessions: Vec<(Uuid, u32)>,
}

/// What was last seen of a key.
#[derive(Clone, Debug)]
struct Known {
    used: u32,
    remaining: u32,
    seen_ms: u64,
    /// Until when none of `used` has left the window.
    whole_until_ms: u64,
    /// What was admitted since, while Redis was away.
    own: Option<Box<Window>>,
}

impl Fallback {
    /// Remembers at most `capacity` keys (at least 2; about 100 bytes each).
    pub fn new(capacity: usize) -> Self {
        Fallback {
            young: HashMap::new(),
            old: HashMap::new(),
            generation: (capacity / 2).max(1),
            debts: HashMap::new(),
            sessions: HashMap::new(),
        }
    }

    /// Notes what Redis said of a key under a limit at a time.
    pub fn saw(&mut self, now_ms: u64, key: AccessKey, limit: u32, admission: Admission) {
        let used = limit.saturating_sub(admission.remaining);
        let whole_until_ms = (now_ms + admission.free_in_ms).saturating_sub(DRIFT_MS);
        let known = Known { used, remaining: admission.remaining, seen_ms: now_ms, whole_until_ms, own: None };
        self.remember(key, known);
    }

    /// How many requests of a key Redis must know of at a time; 0 where that is not sure.
    pub fn at_least(&self, now_ms: u64, key: &AccessKey) -> u32 {
        let known = self.young.get(key).or_else(|| self.old.get(key));
        known.filter(|known| now_ms < known.whole_until_ms).map_or(0, |known| known.used)
    }

    /// Keys that were seen last, at most so many.
    pub fn recent(&self, most: usize) -> Vec<AccessKey> {
        self.young.keys().take(most).copied().collect()
    }

    /// Notes how many requests of a key are in its window, where that is more than what was seen.
    pub fn learn(&mut self, key: &AccessKey, used: u32) {
        if let Some(known) = self.young.get_mut(key)
            && let Some(more) = used.checked_sub(known.used)
        {
            known.used = used;
            known.remaining = known.remaining.saturating_sub(more);
        }
    }

    /// Lets one request in at a time, if it is within the worker's share of its key; `None` where the key
    /// was never seen. `workers` counts those of all nodes; `unix_ms` is the time of use to record.
    pub fn admit(
        &mut self,
        now_ms: u64,
        unix_ms: u64,
        workers: usize,
        key: AccessKey,
        limit: u32,
        session: Option<Uuid>,
    ) -> Option<Admission> {
        let mut known = self.young.remove(&key).or_else(|| self.old.remove(&key))?;
        let admission = known.admit(now_ms, u32::try_from(workers).unwrap_or(u32::MAX).max(1), limit);
        self.remember(key, known);
        if admission.admitted > 0 {
            let debt = self.debts.entry(key).or_default();
            debt.requests += 1;
            debt.last_used_ms = debt.last_used_ms.max(unix_ms);
            if let Some(session) = session {
                *self.sessions.entry(session).or_default() += 1;
            }
        }
        Some(admission)
    }

    /// Whether anything was admitted that Redis does not know.
    pub fn has_debts(&self) -> bool {
        !self.debts.is_empty() || !self.sessions.is_empty()
    }

    /// Takes all debts, to be counted in Redis.
    pub fn take_debts(&mut self) -> Debts {
        Debts { keys: self.debts.drain().collect(), sessions: self.sessions.drain().collect() }
    }

    /// Takes back debts that could not be counted.
    pub fn give_back(&mut self, debts: &Debts) {
        for (key, owed) in &debts.keys {
            let debt = self.debts.entry(*key).or_default();
            debt.requests += owed.requests;
            debt.last_used_ms = debt.last_used_ms.max(owed.last_used_ms);
        }
        for (session, owed) in &debts.sessions {
            *self.sessions.entry(*session).or_default() += owed;
        }
    }

    fn remember(&mut self, key: AccessKey, known: Known) {
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, known);
    }
}

impl Known {
    fn admit(&mut self, now_ms: u64, workers: u32, limit: u32) -> Admission {
        let all_left = now_ms >= self.seen_ms + WINDOW_MS + BUCKET_MS;
        let share = if all_left { limit } else { self.remaining.min(limit) } / workers;
        self.own.get_or_insert_default().admit(now_ms, share, 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> AccessKey {
        AccessKey::new(name).unwrap()
    }

    fn left(remaining: u32) -> Admission {
        Admission { admitted: 1, remaining, free_in_ms: 600_000 }
    }

    #[test]
    fn a_key_that_was_never_seen_has_no_share() {
        assert_eq!(Fallback::new(8).admit(0, 0, 1, key("A"), 100, None), None);
    }

    #[test]
    fn a_worker_admits_its_share_of_what_was_left_and_no_more() {
        let mut fallback = Fallback::new(8);
        fallback.saw(0, key("A"), 100, left(10));
        let admitted = |fallback: &mut Fallback, at| fallback.admit(at, at, 4, key("A"), 100, None).unwrap().admitted;
        let first: u32 = (0..50).map(|at| admitted(&mut fallback, at * 1000)).sum();
        assert_eq!(first, 10 / 4);
        let later = WINDOW_MS + BUCKET_MS;
        let second: u32 = (0..50).map(|at| admitted(&mut fallback, later + at * 100)).sum();
        assert_eq!(second, 100 / 4, "after a whole window the share is that of the limit");
    }

    #[test]
    fn what_others_admitted_meanwhile_is_not_shared_out() {
        let mut fallback = Fallback::new(8);
        fallback.saw(0, key("A"), 100, left(60));
        fallback.learn(&key("A"), 90);
        fallback.learn(&key("A"), 50);
        let admitted: u32 = (0..50).map(|at| fallback.admit(at, at, 2, key("A"), 100, None).unwrap().admitted).sum();
        assert_eq!(admitted, 10 / 2);
        assert_eq!(fallback.recent(8), [key("A")]);
    }

    #[test]
    fn debts_are_taken_once_and_can_be_given_back() {
        let mut fallback = Fallback::new(8);
        let session = Uuid::from_u128(7);
        fallback.saw(0, key("A"), 100, left(10));
        for at in [5, 9, 7] {
            fallback.admit(at, 1000 + at, 1, key("A"), 100, Some(session)).unwrap();
        }
        let debts = fallback.take_debts();
        let owed = Debt { requests: 3, last_used_ms: 1009 };
        assert_eq!(debts, Debts { keys: vec![(key("A"), owed)], sessions: vec![(session, 3)] });
        assert!(!fallback.has_debts());
        fallback.give_back(&debts);
        assert_eq!(fallback.take_debts(), debts);
    }

    #[test]
    fn what_redis_must_know_is_sure_until_the_oldest_request_leaves() {
        let mut fallback = Fallback::new(8);
        fallback.saw(1000, key("A"), 100, left(40));
        assert_eq!(fallback.at_least(1000, &key("A")), 60);
        assert_eq!(fallback.at_least(601_000 - DRIFT_MS, &key("A")), 0);
        assert_eq!(fallback.at_least(1000, &key("B")), 0);
    }

    #[test]
    fn only_so_many_keys_are_remembered() {
        let mut fallback = Fallback::new(8);
        for number in 0..100 {
            fallback.saw(0, key(&number.to_string()), 10, left(5));
            assert!(fallback.young.len() + fallback.old.len() <= 8);
        }
        assert_eq!(fallback.at_least(0, &key("99")), 5);
    }

    proptest! {
        #[test]
        fn all_workers_together_stay_below_the_limit(
            limit in 1_u32..60, used in 0_u32..60, workers in 1_usize..5,
            steps in proptest::collection::vec((0_u64..90_000, 0_usize..5), 0..200)
        ) {
            let used = used.min(limit);
            let mut all: Vec<_> = (0..workers).map(|_| Fallback::new(8)).collect();
            for fallback in &mut all {
                fallback.saw(0, key("A"), limit, left(limit - used));
            }
            // Those before the outage came at its very beginning: they count longest.
            let (mut log, mut now) = (vec![0; used.try_into().unwrap()], 0);
            for (step, worker) in steps {
                now += step;
                let Some(fallback) = all.get_mut(worker) else { continue };
                let admission = fallback.admit(now, now, workers, key("A"), limit, None).unwrap();
                log.extend((0..admission.admitted).map(|_| now));
                let in_window = log.iter().filter(|at| **at + WINDOW_MS > now).count();
                prop_assert!(in_window <= usize::try_from(limit).unwrap());
            }
        }
    }
}
