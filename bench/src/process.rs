//! What the system says of processes: CPU time and memory, from /proc.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{Pid, SysconfVar, sysconf},
};

use crate::error::Error;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is resident, pages shared with other processes included.
    pub resident: u64,
    /// The same, each shared page divided among those that share it.
    pub proportional: u64,
}

/// A process as `/proc/<pid>/stat` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    /// Of itself and of its children that have ended, user and system, in ticks.
    ticks: u64,
}

/// A process and all that descend from it, at this moment.
pub fn tree(root: i32) -> Vec<i32> {
    let all = processes();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let mut children: Vec<i32> =
            all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid).collect();
        children.sort_unstable();
        found.append(&mut children);
        next += 1;
    }
    found
}

/// The CPU time that these processes and their descendants have used so far, user and system, with that of
/// descendants that have ended: /proc counts in hundredths of a second.
pub fn cpu(roots: &[i32]) -> Duration {
    let all = processes();
    let members: Vec<i32> = roots.iter().flat_map(|root| tree(*root)).collect();
    let ticks: u64 = members.iter().filter_map(|pid| all.get(pid)).map(|stat| stat.ticks).sum();
    Duration::from_secs_f64(ticks as f64 / ticks_per_second())
}

/// The memory of a process.
///
/// # Errors
/// There is no such process.
pub fn memory(pid: i32) -> Result<Memory, Error> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(Error::io(path))?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Ok(Memory { resident: kib("Rss"), proportional: kib("Pss") })
}

/// Binds this process to cores.
///
/// # Errors
/// There is no such core, or it is not ours to use.
pub fn pin(cores: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    let bound =
        cores.iter().try_for_each(|core| set.set(*core)).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    bound.map_err(|error| Error::failed(format!("cannot run on the cores {cores:?}: {error}")))
}

/// Raises the number of descriptors to what this user may have; gives it.
pub fn many_descriptors() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// The programs on PATH: where one is.
pub fn program(name: &str) -> Option<std::path::PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&paths).collect();
    // Debian keeps servers where only root's PATH leads.
    places.push("/usr/sbin".into());
    places.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn ticks_per_second() -> f64 {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64
}

fn processes() -> HashMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read(&entry.path())).collect()
}

fn read(path: &Path) -> Option<(i32, Stat)> {
    let pid = path.file_name()?.to_str()?.parse().ok()?;
    Some((pid, parse(&fs::read_to_string(path.join("stat")).ok()?)?))
}

/// The fields after the name, which stands in parentheses and may hold anything; see proc(5).
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = [11, 12, 13, 14].into_iter().map(number).sum::<Option<u64>>()?;
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_no_trouble() {
        let text = "7 (a) b (c)) S 3 7 7 0 -1 4194304 100 0 0 0 5 6 70 800 20 0 1 0 1 2 3";
        assert_eq!(parse(text), Some(Stat { parent: 3, ticks: 881 }));
        assert_eq!(parse("7 (x) S 3"), None);
    }

    #[test]
    fn a_child_is_found_below_us_and_its_time_is_ours_when_it_has_ended() {
        let me = i32::try_from(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let found = tree(me);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.first(), Some(&me));
        assert!(found.contains(&pid));
        assert!(!tree(me).contains(&pid));
        let before = cpu(&[me]);
        let spin = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", spin]).status().unwrap().success());
        assert!(cpu(&[me]) > before);
    }

    #[test]
    fn memory_is_told_in_kib() {
        let Memory { resident, proportional } = memory(std::process::id().try_into().unwrap()).unwrap();
        assert!(resident >= proportional && proportional > 100, "{resident} {proportional}");
        assert!(memory(-1).is_err());
    }
}
