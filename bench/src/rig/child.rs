//! Servers that this program starts: bound to cores, and ended by pid however it ends.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::error::Error;

/// A server, asked to end when this is dropped, and killed if it does not.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: std::process::Child,
}

/// Longest time that a server may take to end when asked to.
const END_LIMIT: Duration = Duration::from_secs(45);
/// How often it is looked whether something has come true.
const LOOK: Duration = Duration::from_millis(1);

/// A command that runs a program on these cores (on any if there are none), and that the kernel ends with us.
pub fn command(cores: &[usize], program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]);
    if !cores.is_empty() {
        let list: Vec<String> = cores.iter().map(usize::to_string).collect();
        command.args(["taskset", "-c", &list.join(",")]);
    }
    command.arg(program);
    command
}

/// Waits until something is there.
///
/// # Errors
/// It is not within the time, or the check itself fails.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>, Error>) -> Result<T, Error> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(Error::failed(format!("{what}: not within {} s", limit.as_secs())));
        }
        std::thread::sleep(LOOK);
    }
}

// === impl Child ===

impl Child {
    /// Starts a server whose output goes to a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Child, Error> {
        let file = File::create(log).map_err(Error::io(format!("the log of {name}")))?;
        let errors = file.try_clone().map_err(Error::io(format!("the log of {name}")))?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().map_err(Error::io(format!("{name} cannot be started")))?;
        Ok(Child { name: name.to_owned(), child })
    }

    /// Starts a server and waits until it has said a line.
    ///
    /// # Errors
    /// It cannot be started, or ends before it has.
    pub fn start_until(name: &str, command: &mut Command, line: &str) -> Result<Child, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io(format!("{name} cannot be started")))?;
        let output = child.stdout.take();
        let child = Child { name: name.to_owned(), child };
        let said = output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok);
        match said.into_iter().any(|said| said == line) {
            true => Ok(child),
            false => Err(Error::failed(format!("{name} ended at its start"))),
        }
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    /// Fails once it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait().map_err(Error::io(&self.name))? {
            None => Ok(()),
            Some(status) => Err(Error::failed(format!("{} ended: {status}", self.name))),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // One that is gone already is not asked any more.
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let ended = until("the end", END_LIMIT, || Ok(self.child.try_wait().ok().flatten()));
        if ended.is_err() {
            eprintln!("{} (pid {}) does not end; killing it", self.name, self.pid());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let child = Child::start("sleep", command(&[], "sleep").arg("60"), &folder.path().join("log")).unwrap();
        let pid = Pid::from_raw(child.pid());
        assert!(kill(pid, None).is_ok());
        drop(child);
        assert!(kill(pid, None).is_err());
    }

    #[test]
    fn one_that_ends_before_it_is_ready_is_an_error() {
        let mut says = command(&[], "echo");
        assert!(Child::start_until("echo", says.arg("ready"), "ready").is_ok());
        let error = Child::start_until("echo", command(&[], "echo").arg("no"), "ready").unwrap_err();
        assert!(error.to_string().contains("ended at its start"), "{error}");
    }
}
