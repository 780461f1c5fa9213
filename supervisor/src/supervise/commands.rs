//! What an operator asks for, by signal or over the control socket.

use std::{mem, process::ExitCode};

use backendai::{telemetry, worker::Seat};

use super::{Before, DRAIN_GRACE, Supervisor};
use crate::{
    control::{Asked, Command, Reply},
    options::{self, Options},
    preflight,
    slots::Event,
};

impl<W: Fn(Seat) -> ExitCode> Supervisor<W> {
    pub(super) fn obey(&mut self, asked: Asked) {
        let reply = match asked.command {
            Command::Status => Reply::with(self.report()),
            Command::ConfigShow => Reply::with(self.options.shown.to_string().into()),
            Command::ConfigCheck => match self.reloadable() {
                Ok((_, kept)) => Reply::done(options::kept_line(&kept)),
                Err(why) => Reply::failed(why),
            },
            Command::Resize { workers } => self.resize(usize::from(workers)),
            Command::Drain => {
                self.stop();
                Reply::done("finishing all requests, then ending")
            }
            Command::Reload => match self.reload() {
                // A reload that had nothing to wait for has been answered with the reports.
                Ok(()) if self.slots.is_rolling() => return self.control.await_reload(asked),
                Ok(()) => Reply::done("reloaded"),
                Err(why) => Reply::failed(why),
            },
        };
        self.control.reply(asked, &reply);
    }

    pub(super) fn stop(&mut self) {
        self.notify.stopping();
        // Whoever comes from now on is refused as soon as the workers have taken in those that wait.
        self.listeners.clear();
        self.control.reloaded(&Reply::failed("the gateway is ending"));
        self.tell(Event::Stop);
    }

    pub(super) fn resize(&mut self, count: usize) -> Reply {
        if self.slots.is_stopping() || !(1..=self.map.slots()).contains(&count) {
            return Reply::failed(format!("not possible: 1 to {} workers, and not while ending", self.map.slots()));
        }
        let before = self.slots.count();
        self.listeners.retain(|slot, _| *slot < count);
        self.tell(Event::Resize(count));
        Reply::done(format!("{before} workers before, {count} from now on"))
    }

    /// The options as they are now, those that need a restart as they were, and the names of these.
    pub(super) fn reloadable(&self) -> Result<(Options, Vec<&'static str>), String> {
        let (options, kept) = options::merged(&self.options, (self.reread)()?);
        preflight::options(&options.gateway).map_err(|problem| problem.to_string())?;
        Ok((options, kept))
    }

    pub(super) fn reload(&mut self) -> Result<(), String> {
        if self.slots.is_stopping() {
            return Err("the gateway is ending".to_owned());
        }
        let (options, kept) = self.reloadable()?;
        let (cores, count) = preflight::cores(&options.gateway).map_err(|problem| problem.to_string())?;
        let (_, before) = preflight::cores(&self.options.gateway).unwrap_or((Vec::new(), count));
        if !kept.is_empty() {
            tracing::warn!("{}", options::kept_line(&kept));
        }
        self.notify.reloading();
        let counts = (self.slots.count(), if count == before { self.slots.count() } else { count });
        let (options, cores) = self.put_in_force(options, cores);
        // A reload upon one that is under way: what all workers last served with is what is known to start.
        self.before.get_or_insert(Before { options, cores, counts }).counts.1 = counts.1;
        if count != before {
            self.resize(count);
        }
        tracing::info!("replacing all workers");
        self.tell(Event::Reload);
        Ok(())
    }

    /// Puts options in force for every worker that starts from now on, and gives back those that were.
    fn put_in_force(&mut self, options: Options, cores: Vec<usize>) -> (Options, Vec<usize>) {
        self.slots.set_policy((self.policy)(options.gateway.drain_timeout + DRAIN_GRACE));
        // Workers are forked with it.
        telemetry::set_verbosity(options.gateway.verbose, options.gateway.debug);
        (mem::replace(&mut self.options, options), mem::replace(&mut self.cores, cores))
    }

    /// Puts back in force what was before the reload that failed; the slots that it added or took away follow.
    pub(super) fn put_back(&mut self) -> Option<Event> {
        let Before { options, cores, counts: (before, reloaded) } = self.before.take()?;
        self.put_in_force(options, cores);
        // Whoever asked for another number meanwhile has it.
        if before == reloaded || self.slots.count() != reloaded {
            return None;
        }
        self.listeners.retain(|slot, _| *slot < before);
        Some(Event::Resize(before))
    }

    /// The state in a line.
    pub(super) fn line(&self) -> String {
        let ready = telemetry::workers(self.map).iter().filter(|worker| worker.state == "ready").count();
        format!(
            "{}: {ready} of {} workers serve, {} processes, up {} s",
            self.state(),
            self.slots.count(),
            self.processes.len(),
            self.origin.elapsed().as_secs()
        )
    }

    pub(super) fn state(&self) -> &'static str {
        match (self.slots.is_stopping(), self.slots.is_rolling(), self.slots.all_ready()) {
            (true, ..) => "stopping",
            (_, true, _) => "reloading",
            (_, _, true) => "running",
            _ => "starting",
        }
    }

    pub(super) fn report(&self) -> serde_json::Value {
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "namespace": self.options.gateway.connections.namespace,
            "state": self.state(),
            "uptime_s": self.origin.elapsed().as_secs(),
            "engine": self.engine.to_string(),
            "api": self.addresses.api,
            "events": self.addresses.events,
            "admin": self.addresses.admin,
            "slots": self.slots.count(),
            "workers": telemetry::workers(self.map),
        })
    }
}
