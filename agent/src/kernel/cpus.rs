//! Which cores go to which kernel: the least used ones first, shared when there are not enough.

/// How many kernels each core has been given to.
#[derive(Clone, Debug)]
pub struct Cpus {
    cores: Vec<(usize, usize)>,
}

// === impl Cpus ===

impl Cpus {
    /// The cores with these numbers.
    pub fn new(cores: impl IntoIterator<Item = usize>) -> Cpus {
        Cpus { cores: cores.into_iter().map(|core| (core, 0)).collect() }
    }

    /// The cores that this process may use.
    pub fn allowed() -> Cpus {
        let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
        let is_set = |core: &usize| set.as_ref().is_ok_and(|set| set.is_set(*core).unwrap_or(false));
        Cpus::new((0..nix::sched::CpuSet::count()).filter(is_set))
    }

    /// Takes as many cores as `slots` need, all of them at most, in the order of their numbers.
    pub fn take(&mut self, slots: f64) -> Vec<usize> {
        let wanted = (slots.max(1.0).ceil() as usize).min(self.cores.len());
        let mut order: Vec<&mut (usize, usize)> = self.cores.iter_mut().collect();
        order.sort_by_key(|(core, used)| (*used, *core));
        let mut taken: Vec<usize> = order
            .into_iter()
            .take(wanted)
            .map(|(core, used)| {
                *used += 1;
                *core
            })
            .collect();
        taken.sort_unstable();
        taken
    }

    /// Counts cores that a kernel already has. False, and nothing is counted, if one is not ours.
    pub fn claim(&mut self, set: &[usize]) -> bool {
        let known = set.iter().all(|core| self.cores.iter().any(|(own, _)| own == core));
        if known && !set.is_empty() {
            self.add(set, 1);
        }
        known && !set.is_empty()
    }

    /// Gives cores back.
    pub fn give_back(&mut self, set: &[usize]) {
        self.add(set, -1);
    }

    fn add(&mut self, set: &[usize], amount: isize) {
        for (_, used) in self.cores.iter_mut().filter(|(core, _)| set.contains(core)) {
            *used = used.saturating_add_signed(amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_cores_go_first_and_come_back() {
        let mut cpus = Cpus::new([0, 2, 3]);
        assert_eq!(cpus.take(1.0), [0]);
        assert_eq!(cpus.take(1.5), [2, 3]);
        assert_eq!(cpus.take(64.0), [0, 2, 3]);
        cpus.give_back(&[2, 3]);
        assert_eq!(cpus.take(1.0), [2]);
        assert!(!cpus.claim(&[9]) && !cpus.claim(&[]) && cpus.claim(&[3]));
    }
}
