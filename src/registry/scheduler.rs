//! Which agent gets a session: a pure function of the agents, the wish and the policy.

use std::cmp::Ordering;

use super::Slots;

/// An agent as the scheduler sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Where it takes calls.
    pub addr: String,
    /// What it has left.
    pub free: Slots,
}

/// Why an agent was not chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// Too little memory left.
    Memory,
    /// Too few cores left.
    Cores,
    /// Too few GPUs left.
    Gpus,
}

/// The agents that can take the session, best first: most free GPUs, then memory, then cores (as the reference
/// did), then by id; and why each of the others can not.
pub fn rank<'a>(agents: &'a [Candidate], wanted: &Slots) -> (Vec<&'a Candidate>, Vec<(&'a Candidate, Lacks)>) {
    let mut able = Vec::new();
    let mut unable = Vec::new();
    for agent in agents {
        match lacks(&agent.free, wanted) {
            None => able.push(agent),
            Some(reason) => unable.push((agent, reason)),
        }
    }
    able.sort_by(|a, b| most_free_first(a, b));
    (able, unable)
}

fn lacks(free: &Slots, wanted: &Slots) -> Option<Lacks> {
    let only = |part: Slots| !free.fits(&part);
    if only(Slots { mem: wanted.mem, ..*free }) {
        Some(Lacks::Memory)
    } else if only(Slots { cpu: wanted.cpu, ..*free }) {
        Some(Lacks::Cores)
    } else if only(Slots { gpu: wanted.gpu, ..*free }) {
        Some(Lacks::Gpus)
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
        Candidate { id: id.into(), addr: String::new(), free: Slots { mem, cpu, gpu } }
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
        let agents = [agent("mem", 1, 9.0, 9.0), agent("cpu", 9, 1.0, 9.0), agent("gpu", 9, 9.0, 0.0)];
        let (able, unable) = rank(&agents, &Slots { mem: 2, cpu: 2.0, gpu: 0.5 });
        assert!(able.is_empty());
        let reasons: Vec<_> = unable.iter().map(|(agent, lacks)| (agent.id.as_str(), *lacks)).collect();
        assert_eq!(reasons, [("mem", Lacks::Memory), ("cpu", Lacks::Cores), ("gpu", Lacks::Gpus)]);
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
