//! The log: to standard error, as text on a terminal and as one JSON object a line elsewhere.
//!
//! What is logged by default is what an operator acts on; `--verbose` adds why things were decided,
//! `--debug` everything that happened, from this program's crates and, one step less, from libraries.

use std::{
    io::{IsTerminal as _, stderr},
    sync::OnceLock,
};

use tracing_subscriber::{EnvFilter, reload};

/// Changes what is logged.
type Reload = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// Of the log that was started.
static RELOAD: OnceLock<Box<Reload>> = OnceLock::new();

/// Starts logging. A second call changes nothing.
pub fn init_logging(verbose: bool, debug: bool) {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter(verbose, debug))).with_writer(stderr);
    // An error means that a subscriber is set already, as in tests: that one stays.
    if stderr().is_terminal() {
        let builder = builder.with_target(false).with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.try_init().is_ok() {
            RELOAD.get_or_init(|| Box::new(move |filter| handle.reload(filter)));
        }
    } else {
        let builder = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.try_init().is_ok() {
            RELOAD.get_or_init(|| Box::new(move |filter| handle.reload(filter)));
        }
    }
}

/// Logs as much as that from now on, in this process and in those that it forks.
pub fn set_verbosity(verbose: bool, debug: bool) {
    let Some(reload) = RELOAD.get() else { return };
    if let Err(error) = reload(EnvFilter::new(filter(verbose, debug))) {
        tracing::error!(%error, "--verbose and --debug could not be changed");
    }
}

fn filter(verbose: bool, debug: bool) -> &'static str {
    match (debug, verbose) {
        (true, _) => "debug,backendai=trace,backendai_gateway=trace,backendai_manager=trace",
        (false, true) => "info,backendai=debug,backendai_gateway=debug,backendai_manager=debug",
        (false, false) => "warn,backendai=info,backendai_gateway=info,backendai_manager=info",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_understood() {
        for (verbose, debug) in [(false, false), (true, false), (false, true)] {
            let text = filter(verbose, debug);
            assert_eq!(EnvFilter::try_new(text).unwrap().to_string().split(',').count(), text.split(',').count());
        }
    }
}
