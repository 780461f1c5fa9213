//! One reading of /proc: who descends from whom, and what each process has used.

use std::collections::{HashMap, HashSet};

/// A process, from `/proc/<pid>/stat` (proc(5)).
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Its parent.
    pub parent: i32,
    /// Its state: `R`, `S`, `Z` and so on.
    pub state: char,
    /// User and system time of it and of its children that were waited for, in clock ticks.
    pub ticks: u64,
    /// When it started, in clock ticks since boot: with the pid, its identity.
    pub start: u64,
    /// Resident memory in pages.
    pub pages: u64,
}

/// All processes by pid.
#[derive(Debug, Default)]
pub struct ProcTable {
    processes: HashMap<i32, Process>,
}

// === impl ProcTable ===

impl ProcTable {
    /// Reads the table; processes that end meanwhile are left out.
    pub fn read() -> ProcTable {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        ProcTable { processes: pids.filter_map(|pid| Some((pid, Process::read(pid)?))).collect() }
    }

    /// The process of this pid.
    pub fn get(&self, pid: i32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// Every living process below `root`, without it.
    pub fn descendants(&self, root: i32) -> Vec<i32> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, process) in &self.processes {
            children.entry(process.parent).or_default().push(*pid);
        }
        let (mut found, mut seen, mut open) = (Vec::new(), HashSet::from([root]), vec![root]);
        while let Some(pid) = open.pop() {
            for child in children.get(&pid).into_iter().flatten().filter(|child| seen.insert(**child)) {
                open.push(*child);
                found.push(*child);
            }
        }
        found.retain(|pid| self.get(*pid).is_some_and(|process| process.state != 'Z'));
        found
    }

    /// Every living process whose environment holds `NAME=value`.
    pub fn with_environment(&self, entry: &str) -> Vec<i32> {
        let holds = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
        };
        self.processes.iter().filter(|(_, p)| p.state != 'Z').map(|(pid, _)| *pid).filter(holds).collect()
    }
}

// === impl Process ===

impl Process {
    /// The process of this pid, if there is one.
    pub fn read(pid: i32) -> Option<Process> {
        Process::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses a line of `stat`; the name in it may hold spaces and parentheses.
    fn parse(line: &str) -> Option<Process> {
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        let number = |index: usize| fields.get(index)?.trim().parse::<u64>().ok();
        Some(Process {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            start: number(19)?,
            pages: number(21)?,
        })
    }

    /// Whether the process of this pid that started at `start` is still there and not a zombie.
    pub fn lives(pid: i32, start: u64) -> bool {
        Process::read(pid).is_some_and(|process| process.start == start && !matches!(process.state, 'Z' | 'X'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = "42 (a) b) S 7 42 42 0 -1 4194560 100 0 0 0 3 4 5 6 20 0 1 0 9000 123456 77 184467 1 1 0 0 0\n";
        let process = Process::parse(line).unwrap();
        assert_eq!(process, Process { parent: 7, state: 'S', ticks: 18, start: 9000, pages: 77 });
        assert_eq!(Process::parse("42 (x"), None);
    }

    #[test]
    fn this_process_is_below_its_parent() {
        let me = std::process::id() as i32;
        let table = ProcTable::read();
        let parent = table.get(me).unwrap().parent;
        assert!(table.descendants(parent).contains(&me));
        assert!(Process::lives(me, table.get(me).unwrap().start));
        assert!(!Process::lives(me, 1));
    }
}
