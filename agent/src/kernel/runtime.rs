//! What a language needs to run: its files in the private folder and the command that starts its
//! runner, which speaks [`super::frames`] on the socket it gets as descriptor 0.

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::PathBuf};

use super::{process::MARK, scratch::Scratch};
use crate::{
    exception::{self, Exception},
    shell::{self, ports::PortRange},
};

/// A language's way of running.
pub trait Runtime {
    /// Writes what the runner needs.
    ///
    /// # Errors
    /// A file cannot be written.
    fn install(&self, scratch: &Scratch) -> io::Result<()>;

    /// The program and its arguments.
    fn command(&self, scratch: &Scratch) -> (PathBuf, Vec<String>);
}

/// Python, by an interpreter of this machine.
#[derive(Clone, Debug)]
pub struct Python {
    /// The interpreter's absolute path.
    pub interpreter: PathBuf,
}

/// A terminal with bash in it.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Where the terminal is reached.
    pub ip: Ipv4Addr,
    /// The ports that it takes two of.
    pub ports: PortRange,
}

/// All that this agent has.
#[derive(Clone, Debug)]
pub struct Runtimes {
    /// For `python` and `python-…`.
    pub python: Python,
    /// For `git`, `shell` and `bash`.
    pub shell: Shell,
}

/// The images that this agent runs, as it tells gateways.
pub const IMAGES: [&str; 4] = ["python:latest", "python:3.6-debian", "python:3.6", "git:latest"];

// === impl Python ===

impl Runtime for Python {
    fn install(&self, scratch: &Scratch) -> io::Result<()> {
        scratch.install_python(&self.interpreter)
    }

    fn command(&self, scratch: &Scratch) -> (PathBuf, Vec<String>) {
        let runner = scratch.run().join("runner.py").display().to_string();
        (self.interpreter.clone(), vec!["-B".into(), runner])
    }
}

// === impl Shell ===

impl Runtime for Shell {
    fn install(&self, _scratch: &Scratch) -> io::Result<()> {
        Ok(()) // this program is its runner
    }

    fn command(&self, scratch: &Scratch) -> (PathBuf, Vec<String>) {
        let remembered = scratch.run().join("ports").display().to_string();
        let args = [shell::ROLE.to_owned(), self.ip.to_string(), self.ports.to_string(), remembered];
        ("/proc/self/exe".into(), args.into())
    }
}

// === impl Runtimes ===

impl Runtimes {
    /// The runtime of an image's name, tag and all.
    ///
    /// # Errors
    /// This agent has none for it.
    pub fn for_image(&self, lang: &str) -> Result<&dyn Runtime, Exception> {
        let name = lang.split(':').next().unwrap_or(lang).rsplit('/').next().unwrap_or(lang);
        let name = name.strip_prefix("kernel-").unwrap_or(name);
        match name {
            "python" | "python3" => Ok(&self.python),
            name if name.starts_with("python-") => Ok(&self.python),
            "git" | "shell" | "bash" => Ok(&self.shell),
            _ => Err(exception::runtime(format!("no such image: {lang}"))),
        }
    }
}

/// The whole environment of a kernel: the defaults, then what its creator wants, then our own.
pub fn environment(
    kernel: &str,
    scratch: &Scratch,
    cores: usize,
    wanted: &[(String, String)],
) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let mut env: BTreeMap<String, String> = [
        ("LANG", "C.UTF-8".to_owned()),
        ("MPLBACKEND", "Agg".to_owned()),
        ("NPROC", cores.to_string()),
        ("OPENBLAS_NUM_THREADS", cores.to_string()),
        ("OMP_NUM_THREADS", cores.to_string()),
        ("PATH", format!("{}:{path}", scratch.run().join("bin").display())),
        ("USER", "work".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    env.extend(wanted.iter().cloned());
    env.insert("HOME".to_owned(), scratch.work().display().to_string());
    env.insert(MARK.to_owned(), kernel.to_owned());
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_their_names_without_tag_and_prefix() {
        let runtimes = Runtimes {
            python: Python { interpreter: "/usr/bin/python3".into() },
            shell: Shell { ip: Ipv4Addr::LOCALHOST, ports: "20000-20001".parse().unwrap() },
        };
        let others = ["lablup/kernel-python:latest", "python", "python-tensorflow:1.0", "bash"];
        for image in IMAGES.into_iter().chain(others) {
            assert!(runtimes.for_image(image).is_ok(), "{image}");
        }
        assert!(runtimes.for_image("nosuch:latest").is_err());
    }
}
