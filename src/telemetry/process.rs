//! What a process has used, as /proc tells it (see proc(5)).

use std::{fs, sync::OnceLock};

use nix::unistd::{SysconfVar, sysconf};

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
}

/// What the process has used; `None` when it is gone.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(Usage { cpu_seconds: ticks(&stat)? as f64 / per_second(), resident_bytes: pages * page_bytes() })
}

/// Fields 14 and 15 of `stat`; they are counted from behind the command's name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64)
}

fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|n| n.try_into().ok()).unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "12 (a) b ) c) S 1 2 3 4 5 6 7 8 9 10 300 45 0 0 20";
        assert_eq!(ticks(stat), Some(345));
    }

    #[test]
    fn this_process_has_memory_and_one_that_is_gone_has_nothing() {
        assert!(usage(std::process::id()).unwrap().resident_bytes > 100_000);
        assert_eq!(usage(u32::MAX), None);
    }
}
