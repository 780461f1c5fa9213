//! Ctrl-C and SIGTERM: what was started is ended and its data are removed, as at any other end.
//!
//! Handlers are tokio's, on a thread of its own, since the main thread blocks while it measures. Blocking the signals
//! instead would hand the blocked mask down to every server.

use std::{fs, path::PathBuf, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::signal::unix::{SignalKind, signal};

use super::child::until;
use crate::error::Error;

/// Longest wait for the stores to end.
const END_LIMIT: Duration = Duration::from_secs(60);

/// From now on an interruption ends the process `up` and removes the folder before it ends this one.
///
/// # Errors
/// The system does not let us handle signals.
pub fn clean_up(up: i32, folder: PathBuf) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("no runtime"))?;
    let wait = move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return std::future::pending().await;
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        let up = Pid::from_raw(up);
        // It may have had the same signal from the terminal.
        let _ = kill(up, Signal::SIGTERM);
        // It is our child and stays a zombie until we end, which is as good as gone.
        let _ = until("the end of ./dev up", END_LIMIT, || Ok(is_gone(up.as_raw()).then_some(())));
        let _ = fs::remove_dir_all(folder);
        std::process::exit(130);
    };
    thread::Builder::new().name("interrupt".into()).spawn(wait).map(drop).map_err(Error::io("no thread"))
}

fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_gone_and_a_running_process_is_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!is_gone(pid));
        child.kill().unwrap();
        until("the zombie", END_LIMIT, || Ok(is_gone(pid).then_some(()))).unwrap();
        child.wait().unwrap();
        assert!(is_gone(pid));
    }
}
