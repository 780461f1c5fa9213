//! What a kernel has used, from /proc over all of its processes. Networks are not counted: without a
//! namespace of its own, a kernel's traffic cannot be told from the machine's.

use rmpv::Value;
use serde::{Deserialize, Serialize};

use super::proc_table::ProcTable;

/// Totals of a kernel; they never go down, but for the current ones, and go on over its restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    cpu_ms: f64,
    mem_max: u64,
    mem_now: u64,
    read: u64,
    written: u64,
    scratch_max: u64,
    scratch_now: u64,
    before: Before,
}

/// What processes used that were ended by a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Before {
    cpu_ms: f64,
    read: u64,
    written: u64,
}

// === impl Stats ===

impl Stats {
    /// What a kernel begins with that had used this before it was restarted.
    pub fn restarted(self) -> Stats {
        let before = Before { cpu_ms: self.cpu_ms, read: self.read, written: self.written };
        Stats { mem_now: 0, before, ..self }
    }

    /// Adds a reading: of every process from the kernel's first one down.
    pub fn sample(&mut self, table: &ProcTable, init: i32) {
        let pids = std::iter::once(init).chain(table.descendants(init));
        let (mut ticks, mut pages, mut peak, mut read, mut written) = (0, 0, 0, 0, 0);
        for pid in pids {
            let Some(process) = table.get(pid) else { continue };
            ticks += process.ticks;
            pages += process.pages;
            peak = peak.max(high_water(pid));
            let (process_read, process_written) = disk_bytes(pid);
            read += process_read;
            written += process_written;
        }
        self.cpu_ms = self.cpu_ms.max(self.before.cpu_ms + ticks as f64 * 1000.0 / ticks_per_second());
        self.mem_now = pages * page_size();
        self.mem_max = self.mem_max.max(self.mem_now).max(peak);
        self.read = self.read.max(self.before.read + read);
        self.written = self.written.max(self.before.written + written);
    }

    /// Adds a reading of the work folder's size in bytes.
    pub fn scratch(&mut self, size: u64) {
        self.scratch_now = size;
        self.scratch_max = self.scratch_max.max(size);
    }

    /// The numbers under the names that gateways know.
    pub fn fields(&self) -> [(&'static str, Field); 9] {
        [
            ("cpu_used", Field::Float(self.cpu_ms)),
            ("mem_max_bytes", Field::Int(self.mem_max)),
            ("mem_cur_bytes", Field::Int(self.mem_now)),
            ("net_rx_bytes", Field::Int(0)),
            ("net_tx_bytes", Field::Int(0)),
            ("io_read_bytes", Field::Int(self.read)),
            ("io_write_bytes", Field::Int(self.written)),
            ("io_max_scratch_size", Field::Int(self.scratch_max)),
            ("io_cur_scratch_size", Field::Int(self.scratch_now)),
        ]
    }

    /// As the map that answers `destroy_kernel`.
    pub fn to_value(self) -> Value {
        Value::Map(self.fields().into_iter().map(|(name, field)| (name.into(), field.to_value())).collect())
    }
}

/// A number as it is sent and stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field {
    /// Milliseconds.
    Float(f64),
    /// Bytes.
    Int(u64),
}

impl Field {
    fn to_value(self) -> Value {
        match self {
            Field::Float(number) => number.into(),
            Field::Int(number) => number.into(),
        }
    }

    /// As Redis keeps it.
    pub fn to_text(self) -> String {
        match self {
            Field::Float(number) => number.to_string(),
            Field::Int(number) => number.to_string(),
        }
    }
}

/// The most memory that a process had resident, in bytes.
fn high_water(pid: i32) -> u64 {
    field_of(&format!("/proc/{pid}/status"), "VmHWM:") * 1024
}

/// Bytes that a process, and its children that were waited for, read from and wrote to disks.
fn disk_bytes(pid: i32) -> (u64, u64) {
    let file = format!("/proc/{pid}/io");
    (field_of(&file, "read_bytes:"), field_of(&file, "write_bytes:"))
}

fn field_of(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn ticks_per_second() -> f64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    ticks.ok().flatten().map_or(100.0, |ticks| ticks as f64)
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_of_this_process_has_memory_and_the_nine_fields() {
        let mut stats = Stats::default();
        stats.sample(&ProcTable::read(), std::process::id() as i32);
        assert!(stats.mem_now > 0 && stats.mem_max >= stats.mem_now);
        stats.scratch(10);
        stats.scratch(4);
        assert_eq!((stats.scratch_max, stats.scratch_now), (10, 4));
        let value = stats.to_value();
        assert_eq!(value.as_map().unwrap().len(), 9);
        assert_eq!(value.as_map().unwrap()[0].0.as_str(), Some("cpu_used"));
    }

    #[test]
    fn totals_go_on_after_a_restart() {
        let used = Stats { cpu_ms: 5e9, mem_max: 1 << 50, mem_now: 7, read: 8, written: 9, ..Stats::default() };
        let mut stats = used.restarted();
        assert_eq!((stats.cpu_ms, stats.mem_now), (5e9, 0));
        stats.sample(&ProcTable::read(), std::process::id() as i32);
        assert!(stats.cpu_ms >= 5e9 && stats.read >= 8 && stats.written >= 9);
        assert_eq!(stats.mem_max, 1 << 50);
        assert!(stats.restarted().before.cpu_ms >= stats.before.cpu_ms);
    }
}
