//! Supervision in simulated time: single promises by name, and all of them at once from a seed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn policy() -> Policy {
    Policy::new(Duration::from_secs(30))
}

/// Processes that do as they are told, unless a test says otherwise; checks every action on its way.
struct World {
    slots: Slots,
    now: Time,
    alive: BTreeMap<WorkerId, Process>,
    reports: Vec<Report>,
    starts: Vec<(Time, usize)>,
    finished: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Process {
    slot: usize,
    generation: usize,
    ready: bool,
    told: bool,
    killed: bool,
}

impl World {
    fn new(count: usize) -> Self {
        let slots = Slots::new(policy(), count);
        let mut world = World {
            slots,
            now: Time::ZERO,
            alive: BTreeMap::new(),
            reports: Vec::new(),
            starts: Vec::new(),
            finished: None,
        };
        world.send(Event::Tick);
        world
    }

    /// A world whose workers all serve.
    fn serving(count: usize) -> Self {
        let mut world = Self::new(count);
        world.all_ready();
        world
    }

    fn send(&mut self, event: Event) {
        match event {
            Event::Exited(id) => assert!(self.alive.remove(&id).is_some()),
            Event::Ready(id) => self.alive.get_mut(&id).unwrap().ready = true,
            _ => {}
        }
        for action in self.slots.on(self.now, event) {
            self.act(action);
        }
        for slot in 0..self.slots.slots.len() {
            let of_slot: Vec<_> = self.alive.values().filter(|p| p.slot == slot).collect();
            assert!(of_slot.len() <= 2, "slot {slot} has {of_slot:?}");
            assert!(of_slot.len() < 2 || of_slot[0].generation != of_slot[1].generation, "{of_slot:?}");
        }
    }

    fn act(&mut self, action: Action) {
        assert_eq!(self.finished, None, "{action:?} after the end");
        match action {
            Action::Start { worker, slot, generation } => {
                assert!(!self.slots.is_stopping());
                let process = Process { slot, generation, ready: false, told: false, killed: false };
                assert!(self.alive.insert(worker, process).is_none());
                self.starts.push((self.now, slot));
            }
            Action::Drain(id) => {
                let process = self.alive.get_mut(&id).unwrap();
                assert!(!process.told, "{id:?} is told twice");
                process.told = true;
            }
            Action::Kill(id) => {
                let process = self.alive.get_mut(&id).unwrap();
                assert!(!process.killed, "{id:?} is killed twice");
                process.killed = true;
            }
            Action::Report(report) => self.reports.push(report),
            Action::Finish(status) => {
                assert!(self.alive.is_empty());
                self.finished = Some(status);
            }
        }
    }

    /// Lets time go by, in the steps that the machine asks for.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.slots.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.send(Event::Tick);
            assert!(self.slots.deadline().is_none_or(|next| next > deadline), "the machine stands still");
        }
        self.now = end;
    }

    fn find(&self, is: impl Fn(&Process) -> bool) -> Option<WorkerId> {
        self.alive.iter().find(|(_, p)| is(p)).map(|(id, _)| *id)
    }

    fn all_ready(&mut self) {
        while let Some(id) = self.find(|p| !p.ready && !p.told && !p.killed) {
            self.send(Event::Ready(id));
        }
    }

    fn obey(&mut self) {
        while let Some(id) = self.find(|p| p.told || p.killed) {
            self.send(Event::Exited(id));
        }
    }

    /// The worker to which the slot's connections go.
    fn serving_in(&self, slot: usize) -> Option<WorkerId> {
        self.find(|p| p.slot == slot && p.ready && !p.told && !p.killed)
    }
}

#[test]
fn every_slot_gets_a_worker_at_once() {
    let mut world = World::new(3);
    assert_eq!(world.starts, [(Time::ZERO, 0), (Time::ZERO, 1), (Time::ZERO, 2)]);
    assert!(!world.slots.all_ready());
    world.all_ready();
    assert!(world.slots.all_ready());
    assert_eq!(world.slots.deadline(), None);
}

#[test]
fn pauses_double_up_to_the_longest_and_begin_anew_after_a_stable_life() {
    let mut world = World::serving(1);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let died = world.now;
        world.send(Event::Exited(world.serving_in(0).unwrap()));
        world.wait(5000 * MS);
        world.all_ready();
        pauses.push((world.starts.last().unwrap().0 - died).as_millis());
        world.now = world.starts.last().unwrap().0;
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    world.wait(policy().stable_after);
    world.send(Event::Exited(world.serving_in(0).unwrap()));
    assert_eq!(world.slots.deadline(), Some(world.now + 50 * MS));
}

#[test]
fn when_every_slot_fails_ten_times_in_a_row_it_is_given_up_with_status_1() {
    let mut world = World::new(2);
    for round in 0..10 {
        assert_eq!(world.finished, None, "round {round}");
        for slot in 0..2 {
            world.wait(5000 * MS);
            world.send(Event::Exited(world.find(|p| p.slot == slot).unwrap()));
        }
    }
    assert_eq!(world.reports.last(), Some(&Report::GaveUp));
    world.obey();
    assert_eq!(world.finished, Some(1));
}

#[test]
fn one_slot_that_serves_is_enough_to_go_on() {
    let mut world = World::new(2);
    world.send(Event::Ready(world.find(|p| p.slot == 0).unwrap()));
    for _ in 0..30 {
        world.send(Event::Exited(world.find(|p| p.slot == 1).unwrap()));
        world.wait(5000 * MS);
    }
    assert_eq!((world.finished, world.starts.len()), (None, 32));
}

#[test]
fn a_reload_replaces_one_slot_after_the_other_and_drains_only_when_the_successor_serves() {
    let mut world = World::serving(3);
    world.send(Event::Reload);
    for slot in 0..3 {
        let old = world.serving_in(slot).unwrap();
        let new = world.find(|p| !p.ready).unwrap();
        assert_eq!((world.starts.len(), world.alive[&new].slot), (4 + slot, slot));
        assert!(!world.alive[&old].told);
        world.send(Event::Ready(new));
        assert!(world.alive[&old].told && world.serving_in(slot) == Some(new));
        world.send(Event::Exited(old));
    }
    assert_eq!(world.reports, [Report::Reloaded]);
    assert!(!world.slots.is_rolling() && world.slots.all_ready() && world.alive.len() == 3);
}

#[test]
fn a_successor_that_is_not_ready_in_time_is_killed_and_the_old_worker_kept() {
    let mut world = World::serving(2);
    let old = world.serving_in(0).unwrap();
    world.send(Event::Reload);
    world.wait(policy().start_timeout);
    assert_eq!(world.reports, [Report::NotReady { slot: 0 }, Report::ReloadFailed { slot: 0 }]);
    world.obey();
    assert_eq!((world.serving_in(0), world.alive.len(), world.starts.len()), (Some(old), 2, 3));
}

#[test]
fn a_successor_that_fails_ends_the_reload() {
    let mut world = World::serving(2);
    world.send(Event::Reload);
    world.send(Event::Exited(world.find(|p| !p.ready).unwrap()));
    assert_eq!(world.reports, [Report::ReloadFailed { slot: 0 }]);
    assert!(world.slots.all_ready() && !world.slots.is_rolling());
}

#[test]
fn a_worker_that_dies_while_its_successor_starts_has_been_replaced() {
    let mut world = World::serving(1);
    let old = world.serving_in(0).unwrap();
    world.send(Event::Reload);
    world.send(Event::Exited(old));
    world.wait(1000 * MS);
    world.all_ready();
    assert_eq!((world.starts.len(), world.alive.len()), (2, 1));
    assert_eq!(world.reports, [Report::Died { slot: 0, served: true, pause: Duration::ZERO }, Report::Reloaded]);
}

#[test]
fn a_second_reload_waits_for_those_that_drain_and_replaces_all_again() {
    let mut world = World::serving(2);
    world.send(Event::Reload);
    world.all_ready();
    world.send(Event::Reload);
    assert_eq!((world.starts.len(), world.alive.len()), (4, 4), "no third process");
    world.obey();
    world.all_ready();
    world.obey();
    world.all_ready();
    assert_eq!((world.starts.len(), world.reports.last()), (6, Some(&Report::Reloaded)));
}

#[test]
fn stopping_drains_all_and_ends_with_0_and_the_slow_are_killed() {
    let mut world = World::serving(2);
    world.send(Event::Stop);
    assert!(world.alive.values().all(|p| p.told));
    world.send(Event::Exited(world.find(|p| p.slot == 0).unwrap()));
    world.wait(policy().drain_timeout);
    assert_eq!(world.reports, [Report::NotDrained { slot: 1 }]);
    assert_eq!(world.finished, None);
    world.obey();
    assert_eq!((world.finished, world.starts.len()), (Some(0), 2));
}

#[test]
fn a_second_stop_kills_at_once() {
    let mut world = World::serving(2);
    world.send(Event::Stop);
    world.send(Event::Stop);
    assert!(world.alive.values().all(|p| p.killed));
    world.obey();
    assert_eq!(world.finished, Some(0));
}

#[test]
fn slots_can_be_added_and_taken_away() {
    let mut world = World::serving(1);
    world.send(Event::Resize(3));
    world.all_ready();
    assert_eq!((world.slots.count(), world.alive.len()), (3, 3));
    world.send(Event::Resize(1));
    assert_eq!((world.slots.count(), world.alive.values().filter(|p| p.told).count()), (1, 2));
    world.send(Event::Resize(2));
    world.all_ready();
    world.obey();
    assert_eq!((world.slots.count(), world.alive.len()), (2, 2));
    assert!(world.slots.all_ready() && world.slots.slots.len() == 2);
}

/// One step of chaos.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Ready(usize),
    Exit(usize),
    Reload,
    Resize(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..40_000).prop_map(Step::Wait),
        6 => (0_usize..8).prop_map(Step::Ready),
        4 => (0_usize..8).prop_map(Step::Exit),
        1 => Just(Step::Reload),
        1 => (1_usize..5).prop_map(Step::Resize),
    ]
}

fn apply(world: &mut World, step: Step) {
    let nth = |world: &World, n: usize| world.alive.keys().nth(n % world.alive.len().max(1)).copied();
    match step {
        Step::Wait(ms) => world.wait(Duration::from_millis(ms)),
        Step::Ready(n) => {
            if let Some(id) = nth(world, n).filter(|id| !world.alive[id].ready) {
                world.send(Event::Ready(id));
            }
        }
        Step::Exit(n) => {
            if let Some(id) = nth(world, n) {
                world.send(Event::Exited(id));
            }
        }
        Step::Reload => world.send(Event::Reload),
        Step::Resize(count) => world.send(Event::Resize(count)),
    }
}

/// Workers behave from here on: what is told to end ends, what starts becomes ready, time goes by.
fn settle(world: &mut World) {
    for _ in 0..50 {
        world.obey();
        world.all_ready();
        world.wait(5000 * MS);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happened_workers_that_behave_end_up_one_in_each_slot(
        count in 1_usize..4,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(count);
        for step in steps {
            if world.slots.is_stopping() {
                break;
            }
            apply(&mut world, step);
        }
        prop_assume!(!world.slots.is_stopping());
        settle(&mut world);
        prop_assert_eq!(world.alive.len(), world.slots.count());
        prop_assert!(world.slots.all_ready() && !world.slots.is_rolling());
        world.send(Event::Stop);
        world.wait(policy().drain_timeout);
        prop_assert!(world.alive.values().all(|p| p.killed));
        world.obey();
        prop_assert_eq!(world.finished, Some(0));
    }

    #[test]
    fn while_no_worker_dies_a_slot_that_serves_never_stops_serving(
        count in 1_usize..4,
        steps in proptest::collection::vec((0_u64..5000, any::<bool>(), 0_usize..8), 0..80),
    ) {
        let mut world = World::serving(count);
        for (ms, reload, n) in steps {
            world.wait(Duration::from_millis(ms));
            if reload {
                world.send(Event::Reload);
            }
            apply(&mut world, Step::Ready(n));
            let leaving = world.find(|p| p.told || p.killed);
            if let Some(id) = leaving.filter(|_| n % 2 == 0) {
                world.send(Event::Exited(id));
            }
            for slot in 0..count {
                prop_assert!(world.serving_in(slot).is_some());
            }
        }
    }
}
