//! The map of counters that the supervisor and all its workers share.
//!
//! The supervisor makes one anonymous shared mapping before it forks and hands every worker the same
//! view of it. A slot has two blocks, since while its worker is being replaced the old and the new
//! process both count: each writes into the block of its own generation, so that a gauge of one that
//! is killed can be cleared without touching the other's. Additions are atomic all the same (5 ns):
//! the supervisor counts restarts in the same blocks.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    counters::{Counter, Kind},
    histogram::{BUCKETS, bucket},
};

/// Routes that are told apart; the table of routes has about half as many.
pub const MAX_ROUTES: usize = 96;

/// The most slots that a map can have.
pub const SLOTS_MAX: usize = 1024;

const HEADER: usize = 8;
const CLASSES: usize = 5;
const COUNTERS: usize = Counter::ALL.len();
const ROUTE_WORDS: usize = CLASSES + BUCKETS + 1;
const ROUTES_AT: usize = HEADER + COUNTERS;
/// Whole pages of 4 KiB, so that a worker writes to no page of another's.
const BLOCK: usize = (ROUTES_AT + MAX_ROUTES * ROUTE_WORDS).next_multiple_of(512);

/// The shared map, as one process sees it.
#[derive(Clone, Copy, Debug)]
pub struct CountersMap {
    words: &'static [AtomicU64],
    generation: usize,
}

/// What the supervisor knows of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// No process.
    Gone,
    /// Forked, not yet ready.
    Starting,
    /// It serves.
    Ready,
    /// It was told to finish and end.
    Draining,
}

/// One generation's block of a slot.
#[derive(Clone, Copy)]
pub(super) struct Block(&'static [AtomicU64]);

/// Words that the supervisor writes at the start of a block.
#[derive(Clone, Copy)]
enum Field {
    Pid,
    State,
    StartedMs,
    Core,
    /// Of the map as a whole: in its first block alone.
    Workers,
}

thread_local! {
    static OWN: Cell<Option<Block>> = const { Cell::new(None) };
}

/// How many words the map of that many slots needs; `None` above [`SLOTS_MAX`].
pub fn map_words(slots: usize) -> Option<usize> {
    (slots <= SLOTS_MAX).then_some(slots * 2 * BLOCK)
}

/// Lets this thread count into the block of `slot` (and the map's generation) from now on.
pub fn attach(map: CountersMap, slot: usize) {
    OWN.set(map.block(slot, map.generation));
}

/// Counts one.
pub fn count(counter: Counter) {
    add(counter, 1);
}

/// Adds `amount`.
pub fn add(counter: Counter, amount: u64) {
    on_own(counter, |word| {
        word.fetch_add(amount, Relaxed);
    });
}

/// Takes `amount` from a gauge.
pub fn sub(gauge: Counter, amount: u64) {
    on_own(gauge, |word| {
        word.fetch_sub(amount, Relaxed);
    });
}

/// Sets a gauge.
pub fn set_gauge(gauge: Counter, value: u64) {
    on_own(gauge, |word| word.store(value, Relaxed));
}

/// Counts a request of the route with this index that was answered with `status` after `micros`.
pub fn observe_request(route: usize, status: u16, micros: u64) {
    let Some(block) = OWN.get() else { return };
    let words = block.route(route.min(MAX_ROUTES - 1));
    let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
    for (index, amount) in [(class, 1), (CLASSES + bucket(micros), 1), (CLASSES + BUCKETS, micros)] {
        if let Some(word) = words.get(index) {
            word.fetch_add(amount, Relaxed);
        }
    }
}

fn on_own(counter: Counter, change: impl FnOnce(&AtomicU64)) {
    if let Some(word) = OWN.get().and_then(|block| block.0.get(HEADER + counter as usize)) {
        change(word);
    }
}

// === impl CountersMap ===

impl CountersMap {
    /// The map over memory of [`map_words`] words, all zero at first.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        CountersMap { words, generation: 0 }
    }

    /// A map in this process' own memory, for tests and for a worker without a supervisor. Never freed.
    pub fn private(slots: usize) -> Self {
        let words = map_words(slots.min(SLOTS_MAX)).unwrap_or_default();
        Self::new(Vec::leak((0..words).map(|_| AtomicU64::new(0)).collect()))
    }

    /// How many slots there is room for.
    pub fn slots(self) -> usize {
        self.words.len() / (2 * BLOCK)
    }

    /// Notes how many workers this gateway is to have: their number can change while they run.
    pub fn set_workers(self, count: usize) {
        self.of_generation(0).set(0, Field::Workers, count as u64);
    }

    /// How many workers this gateway is to have; at least one.
    pub fn workers(self) -> usize {
        let noted = self.block(0, 0).map_or(0, |block| block.word(Field::Workers as usize));
        usize::try_from(noted).unwrap_or(usize::MAX).max(1)
    }

    /// The same map for a worker of the other, or the same, `generation` (0 or 1).
    pub fn of_generation(self, generation: usize) -> Self {
        CountersMap { generation: generation & 1, ..self }
    }

    /// Notes a worker that starts; the gauges of the block's last owner are cleared.
    pub fn started(self, slot: usize, pid: u32, core: Option<usize>, unix_ms: u64) {
        self.clear_gauges(slot);
        self.set(slot, Field::Pid, u64::from(pid));
        self.set(slot, Field::Core, core.map_or(0, |core| core as u64 + 1));
        self.set(slot, Field::StartedMs, unix_ms);
        self.set_state(slot, WorkerState::Starting);
    }

    /// Notes what became of the slot's worker of this generation; one that is gone has its gauges cleared.
    pub fn set_state(self, slot: usize, state: WorkerState) {
        self.set(slot, Field::State, state as u64);
        if state == WorkerState::Gone {
            self.clear_gauges(slot);
            self.set(slot, Field::Pid, 0);
        }
    }

    /// Adds to a counter of the slot, from outside of its worker.
    pub fn add(self, slot: usize, counter: Counter, amount: u64) {
        let block = self.block(slot, self.generation);
        if let Some(word) = block.and_then(|block| block.0.get(HEADER + counter as usize)) {
            word.fetch_add(amount, Relaxed);
        }
    }

    /// A counter's sum over the slot's generations; of a flag, whether it is set in one.
    pub fn value(self, slot: usize, counter: Counter) -> u64 {
        let values = self.blocks(slot).map(|block| block.value(counter));
        match counter.kind() {
            Kind::Flag => values.max().unwrap_or_default(),
            Kind::Counter | Kind::Gauge => values.fold(0, u64::wrapping_add),
        }
    }

    /// The blocks of the slot's two generations.
    pub(super) fn blocks(self, slot: usize) -> impl Iterator<Item = Block> {
        (0..2).filter_map(move |generation| self.block(slot, generation))
    }

    /// The slots that ever had a worker.
    pub(super) fn used(self) -> impl Iterator<Item = usize> {
        (0..self.slots()).take_while(move |slot| self.blocks(*slot).any(|block| block.started_ms() != 0))
    }

    fn block(self, slot: usize, generation: usize) -> Option<Block> {
        let start = slot.checked_mul(2)?.checked_add(generation)?.checked_mul(BLOCK)?;
        self.words.get(start..start.checked_add(BLOCK)?).map(Block)
    }

    fn set(self, slot: usize, field: Field, value: u64) {
        if let Some(word) = self.block(slot, self.generation).and_then(|block| block.0.get(field as usize)) {
            word.store(value, Relaxed);
        }
    }

    fn clear_gauges(self, slot: usize) {
        let Some(block) = self.block(slot, self.generation) else { return };
        for gauge in Counter::ALL.iter().filter(|counter| counter.kind() != Kind::Counter) {
            if let Some(word) = block.0.get(HEADER + *gauge as usize) {
                word.store(0, Relaxed);
            }
        }
    }
}

// === impl Block ===

impl Block {
    /// The owner's process, if it lives.
    pub(super) fn pid(self) -> Option<u32> {
        u32::try_from(self.word(Field::Pid as usize)).ok().filter(|pid| *pid != 0)
    }

    pub(super) fn state(self) -> WorkerState {
        let states = [WorkerState::Starting, WorkerState::Ready, WorkerState::Draining];
        let word = self.word(Field::State as usize);
        states.into_iter().find(|state| *state as u64 == word).unwrap_or(WorkerState::Gone)
    }

    pub(super) fn started_ms(self) -> u64 {
        self.word(Field::StartedMs as usize)
    }

    pub(super) fn core(self) -> Option<usize> {
        (self.word(Field::Core as usize) as usize).checked_sub(1)
    }

    /// A counter's value in this block alone.
    pub(super) fn value(self, counter: Counter) -> u64 {
        self.word(HEADER + counter as usize)
    }

    /// Requests of a route by class of status, `1xx` first.
    pub(super) fn classes(self, route: usize) -> [u64; CLASSES] {
        read(self.route(route).get(..CLASSES))
    }

    /// Requests of a route by time taken.
    pub(super) fn buckets(self, route: usize) -> [u64; BUCKETS] {
        read(self.route(route).get(CLASSES..CLASSES + BUCKETS))
    }

    /// The time that all requests of a route took, in microseconds.
    pub(super) fn micros(self, route: usize) -> u64 {
        let [sum] = read(self.route(route).get(CLASSES + BUCKETS..));
        sum
    }

    fn route(self, route: usize) -> &'static [AtomicU64] {
        let start = ROUTES_AT + route * ROUTE_WORDS;
        self.0.get(start..start + ROUTE_WORDS).unwrap_or_default()
    }

    fn word(self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Relaxed))
    }
}

fn read<const N: usize>(words: Option<&[AtomicU64]>) -> [u64; N] {
    let mut values = [0; N];
    for (value, word) in values.iter_mut().zip(words.unwrap_or_default()) {
        *value = word.load(Relaxed);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_without_a_block_does_nothing() {
        count(Counter::Heartbeats);
        observe_request(1, 200, 3);
    }

    #[test]
    fn generations_count_apart_and_are_read_together() {
        let map = CountersMap::private(2);
        for generation in 0..2 {
            let own = map.of_generation(generation);
            own.started(1, 7, Some(0), 1);
            attach(own, 1);
            add(Counter::AgentCalls, 5);
            add(Counter::ConnectionsOpen, 3);
            set_gauge(Counter::EtcdUp, 1);
        }
        assert_eq!((map.value(1, Counter::AgentCalls), map.value(0, Counter::AgentCalls)), (10, 0));
        assert_eq!((map.value(1, Counter::ConnectionsOpen), map.value(1, Counter::EtcdUp)), (6, 1));
        map.of_generation(0).set_state(1, WorkerState::Gone);
        assert_eq!((map.value(1, Counter::AgentCalls), map.value(1, Counter::ConnectionsOpen)), (10, 3));
        sub(Counter::ConnectionsOpen, 1);
        set_gauge(Counter::RedisUp, 1);
        assert_eq!((map.value(1, Counter::ConnectionsOpen), map.value(1, Counter::RedisUp)), (2, 1));
    }

    #[test]
    fn requests_are_told_apart_by_route_class_and_time() {
        let map = CountersMap::private(1);
        map.started(0, 7, None, 1);
        attach(map, 0);
        observe_request(3, 204, 10);
        observe_request(3, 503, 40);
        observe_request(9999, 0, 1);
        let block = map.blocks(0).next().unwrap();
        assert_eq!((block.classes(3), block.micros(3)), ([0, 1, 0, 0, 1], 50));
        assert_eq!((block.buckets(3)[0], block.buckets(3)[1]), (1, 1));
        assert_eq!(block.classes(MAX_ROUTES - 1), [1, 0, 0, 0, 0]);
        assert_eq!((block.core(), block.state()), (None, WorkerState::Starting));
    }

    #[test]
    fn every_process_reads_how_many_workers_there_are_now() {
        let map = CountersMap::private(2);
        assert_eq!(map.workers(), 1);
        map.of_generation(1).set_workers(5);
        map.started(0, 7, None, 1);
        assert_eq!((map.workers(), map.of_generation(1).workers()), (5, 5));
        map.set_workers(2);
        assert_eq!((map.workers(), map.used().count()), (2, 1));
    }

    #[test]
    fn a_slot_beyond_the_map_is_no_error() {
        let map = CountersMap::private(1);
        map.started(5, 1, None, 1);
        attach(map, 5);
        count(Counter::Heartbeats);
        assert_eq!((map.slots(), map.value(5, Counter::Heartbeats)), (1, 0));
        assert!(map_words(SLOTS_MAX + 1).is_none());
    }
}
