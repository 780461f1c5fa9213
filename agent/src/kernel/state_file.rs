//! Which kernels this agent has, on disk: so that after any end of it the next start can take over
//! those that were meant to stay, end the others, and tell gateways of both.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Limits, mounts::Mount, stats::Stats};

/// A kernel as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The kernel's id.
    pub id: String,
    /// The image's name.
    pub lang: String,
    /// The name of its processes.
    pub container: String,
    /// The pid of its first process.
    pub pid: i32,
    /// When that started, in clock ticks since boot: pids are used again.
    pub start: u64,
    /// Its limits.
    pub limits: Limits,
    /// Its cores.
    pub cpus: Vec<usize>,
    /// Its virtual folders.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Whether it was started to outlive the agent.
    pub keep: bool,
    /// What it had used when this was written.
    #[serde(default)]
    pub stats: Stats,
}

/// The file.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

// === impl StateFile ===

impl StateFile {
    /// The file of this folder of kernels.
    pub fn of(root: &Path) -> StateFile {
        StateFile { path: root.join("kernels.json") }
    }

    /// What it says. A file that is missing or broken says nothing; broken is told.
    pub fn read(&self) -> Vec<Entry> {
        match std::fs::read(&self.path) {
            Err(_) => Vec::new(),
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %self.path.display(), %error, "the list of kernels is broken");
                Vec::new()
            }),
        }
    }

    /// Replaces it, so that it is whole whenever the agent ends.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, entries: &[Entry]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(entries)?)?;
        std::fs::rename(new, &self.path)
    }
}
