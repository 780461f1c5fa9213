//! Which agent gets a session: a pure function of the agents, the wish and the policy.

use std::cmp::Ordering;

use super::Slots;
use crate::store::postgres::agents::AgentRow;

/// An agent as the scheduler sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Where it takes calls.
    pub addr: String,
    /// Whether it takes new sessions at all.
    pub standing: Standing,
    /// What it has left.
    pub free: Slots,
}

/// Whether an agent takes new sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    #[default]
    Open,
    /// It is not alive.
    Away,
    /// An administrator said that it gets none.
    Cordoned,
    /// It would mount for writing what may only be read.
    NoReadOnlyMounts,
}

/// Why an agent was not chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It is not alive.
    Away,
    /// An administrator said that it gets no new sessions.
    Cordoned,
    /// It cannot mount a folder read-only, and one is.
    ReadOnlyMounts,
    /// Too little memory left.
    Memory,
    /// Too few cores left.
    Cores,
    /// Too few GPUs left.
    Gpus,
}

impl Candidate {
    /// An agent as its row has it; `read_only`: whether the session has a folder that it may only read.
    pub fn of(row: AgentRow, read_only: bool) -> Self {
        Candidate {
            standing: match row.status.as_str() {
                "ALIVE" if !row.schedulable => Standing::Cordoned,
                "ALIVE" if read_only && !row.read_only_mounts => Standing::NoReadOnlyMounts,
                "ALIVE" => Standing::Open,
                _ => Standing::Away,
            },
            id: row.id,
            addr: row.addr,
            free: Slots { mem: row.free_mem, cpu: row.free_cpu, gpu: row.free_gpu },
        }
    }
}

impl WhyNot {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            WhyNot::Away => "away",
            WhyNot::Cordoned => "cordoned",
            WhyNot::ReadOnlyMounts => "read_only_mounts",
            WhyNot::Memory => "memory",
            WhyNot::Cores => "cores",
            WhyNot::Gpus => "gpus",
        }
    }
}

/// The agents that can take the session, best first: most free GPUs, then memory, then cores (as the reference
/// did), then by id; and why each of the others can not.
pub fn rank<'a>(agents: &'a [Candidate], wanted: &Slots) -> (Vec<&'a Candidate>, Vec<(&'a Candidate, WhyNot)>) {
    let mut able = Vec::new();
    let mut unable = Vec::new();
    for agent in agents {
        match why_not(agent, wanted) {
            None => able.push(agent),
            Some(reason) => unable.push((agent, reason)),
        }
    }
    able.sort_by(|a, b| most_free_first(a, b));
    (able, unable)
}

fn why_not(agent: &Candidate, wanted: &Slots) -> Option<WhyNot> {
    match agent.standing {
        Standing::Open => lacks(&agent.free, wanted),
        Standing::Away => Some(WhyNot::Away),
        Standing::Cordoned => Some(WhyNot::Cordoned),
        Standing::NoReadOnlyMounts => Some(WhyNot::ReadOnlyMounts),
    }
}

fn lacks(free: &Slots, wanted: &Slots) -> Option<WhyNot> {
    let only = |part: Slots| !free.fits(&part);
    if only(Slots { mem: wanted.mem, ..*free }) {
        Some(WhyNot::Memory)
    } else if only(Slots { cpu: wanted.cpu, ..*free }) {
        Some(WhyNot::Cores)
    } else if only(Slots { gpu: wanted.gpu, ..*free }) {
        Some(WhyNot::Gpus)
    } else {
        None
    }
}

fn most_free_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.free
        .gpu
        .total_cmp(&a.free.gpu)
        .then(b.free.mem.cmp(&a.free.mem))
        .then(b.free.cpu.total_cmp(&a.free.cpu))
        .then(a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent(id: &str, mem: i64, cpu: f64, gpu: f64) -> Candidate {
        Candidate { id: id.into(), addr: String::new(), standing: Standing::Open, free: Slots { mem, cpu, gpu } }
    }

    #[test]
    fn the_freest_comes_first_by_gpu_then_memory_then_cores() {
        let agents =
            [agent("a", 9, 9.0, 0.0), agent("b", 1, 1.0, 1.0), agent("c", 9, 8.0, 0.0), agent("d", 8, 99.0, 0.0)];
        let (able, _) = rank(&agents, &Slots { mem: 1, cpu: 1.0, gpu: 0.0 });
        let ids: Vec<_> = able.iter().map(|agent| agent.id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "c", "d"]);
    }

    #[test]
    fn each_agent_that_is_passed_over_says_what_it_lacks() {
        let standing = |id, standing| Candidate { standing, ..agent(id, 9, 9.0, 9.0) };
        let agents = [
            agent("mem", 1, 9.0, 9.0),
            agent("cpu", 9, 1.0, 9.0),
            agent("gpu", 9, 9.0, 0.0),
            standing("away", Standing::Away),
            standing("cordoned", Standing::Cordoned),
            standing("mounts", Standing::NoReadOnlyMounts),
        ];
        let (able, unable) = rank(&agents, &Slots { mem: 2, cpu: 2.0, gpu: 0.5 });
        assert!(able.is_empty());
        let reasons: Vec<_> = unable.iter().map(|(agent, why)| (agent.id.as_str(), *why)).collect();
        let expected = [
            ("mem", WhyNot::Memory),
            ("cpu", WhyNot::Cores),
            ("gpu", WhyNot::Gpus),
            ("away", WhyNot::Away),
            ("cordoned", WhyNot::Cordoned),
            ("mounts", WhyNot::ReadOnlyMounts),
        ];
        assert_eq!(reasons, expected);
    }

    proptest! {
        #[test]
        fn whoever_is_ranked_has_room_and_nobody_is_forgotten(
            frees in prop::collection::vec((0..99i64, 0..99u8, 0..9u8), 0..20),
            (mem, cpu, gpu) in (0..99i64, 0..99u8, 0..9u8),
        ) {
            let agents: Vec<_> = frees.iter().enumerate()
                .map(|(i, (m, c, g))| agent(&i.to_string(), *m, f64::from(*c), f64::from(*g))).collect();
            let wanted = Slots { mem, cpu: f64::from(cpu), gpu: f64::from(gpu) };
            let (able, unable) = rank(&agents, &wanted);
            prop_assert_eq!(able.len() + unable.len(), agents.len());
            prop_assert!(able.iter().all(|agent| agent.free.fits(&wanted)));
            prop_assert!(unable.iter().all(|(agent, _)| !agent.free.fits(&wanted)));
        }
    }
}
