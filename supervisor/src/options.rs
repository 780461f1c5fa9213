//! The options of a run: parsed at the start, and again at each reload, when those that the running
//! sockets and processes hang on stay as they were.

use std::{ffi::OsString, sync::Arc};

use backendai::config::{self, Failure, Gateway, Shown};
use clap::{CommandFactory as _, FromArgMatches as _};

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(
    name = "backendai-gateway",
    version,
    about = "Serves the API of Backend.AI: without a command, until it is told to end",
    after_help = "TERM and INT finish all requests and end, HUP reads the options again and replaces the workers one by \
                  one, USR1 logs a line of status."
)]
pub struct Cli {
    /// The options.
    #[command(flatten)]
    pub options: Gateway,
    /// What to ask the running gateway; without it, become one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands to the running gateway of this namespace, over its control socket.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show the running gateway and its workers
    Status {
        /// How: a table, or JSON
        #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
        output: String,
    },
    /// Read the options again and replace the workers one by one; wait until that is done
    Reload,
    /// Finish all requests and end
    Drain,
    /// Change the number of workers until the next start
    Resize {
        /// How many
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
        workers: u16,
    },
    /// The options
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Commands about the options.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Show the options in effect, and where each comes from
    Show,
    /// Check the options as a start or a reload would read them now
    Check,
}

/// Parsed options, and how to show them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The options.
    pub gateway: Arc<Gateway>,
    /// All of them with their origins, without secrets.
    pub shown: Shown,
}

/// Parses a command line.
///
/// # Errors
/// Help was asked for, or something is unknown or bad.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Options, Option<Command>), Failure> {
    let (matches, shown) = config::resolve_shown(Cli::command(), args)?;
    let gateway = Arc::new(Gateway::from_matches(&matches)?);
    let cli = Cli::from_arg_matches(&matches).map_err(|error| Failure::Bad(error.to_string()))?;
    Ok((Options { gateway, shown }, cli.command))
}

/// The new options, but those that need a restart as they were before, and the names of these that differ.
pub fn merged(before: &Options, new: Options) -> (Options, Vec<&'static str>) {
    let (old, mut gateway) = (&before.gateway, Gateway::clone(&new.gateway));
    let mut kept = Vec::new();
    let mut keep = |name: &'static str, same: bool| {
        if !same {
            kept.push(name)
        }
    };
    keep("--service-ip, --service-port", old.service_addr() == gateway.service_addr());
    keep("--admin-ip, --admin-port", old.admin_addr() == gateway.admin_addr());
    keep("--events-port", old.events_addr() == gateway.events_addr());
    keep("--namespace", old.connections.namespace == gateway.connections.namespace);
    keep("--control-socket", old.control_socket() == gateway.control_socket());
    keep("--engine", old.engine == gateway.engine);
    gateway.service_port = Some(old.service_addr().port());
    gateway.service_ip = old.service_ip;
    (gateway.admin_ip, gateway.admin_port) = (old.admin_ip, old.admin_port);
    gateway.events_port = old.events_port;
    gateway.connections.namespace.clone_from(&old.connections.namespace);
    gateway.control_socket.clone_from(&old.control_socket);
    gateway.engine = old.engine;
    let mut shown = new.shown;
    for long in kept.iter().flat_map(|names| names.split(", ")).filter_map(|flag| flag.strip_prefix("--")) {
        shown.keep(long, &before.shown);
    }
    (Options { gateway: Arc::new(gateway), shown }, kept)
}

/// A line on options that were not taken over.
pub fn kept_line(kept: &[&str]) -> String {
    match kept {
        [] => "the options are right".to_owned(),
        names => format!("the options are right; a change of {} needs a restart", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Options {
        let args = std::iter::once("backendai-gateway").chain(args.iter().copied()).map(OsString::from);
        parse(args).unwrap().0
    }

    #[test]
    fn commands_take_the_connection_options_before_and_after() {
        for args in [["--namespace", "x", "status"], ["status", "--namespace", "x"]] {
            let args = std::iter::once("backendai-gateway").chain(args).map(OsString::from);
            let (options, command) = parse(args).unwrap();
            assert_eq!(options.gateway.connections.namespace, "x");
            assert!(matches!(command, Some(Command::Status { .. })));
        }
        assert!(matches!(parse(["x", "--version"].map(OsString::from)), Err(Failure::Asked(_))));
        assert!(matches!(parse(["x", "resize", "0"].map(OsString::from)), Err(Failure::Bad(_))));
    }

    #[test]
    fn what_the_sockets_hang_on_needs_a_restart_and_the_rest_does_not() {
        let before = options(&["--service-port", "9000"]);
        let (after, kept) = merged(&before, options(&["--service-port", "9001", "--max-body", "5"]));
        assert_eq!(kept, ["--service-ip, --service-port"]);
        assert_eq!((after.gateway.service_addr().port(), after.gateway.max_body), (9000, 5));
        let shown = after.shown.to_string();
        assert!(shown.contains("service-port = \"9000\"") && shown.contains("max-body = \"5\""), "{shown}");
        let (_, kept) = merged(&before, options(&["--service-port", "9000", "--debug"]));
        assert_eq!(kept_line(&kept), "the options are right");
    }

    #[test]
    fn turning_tls_on_does_not_move_the_port_of_a_running_gateway() {
        let (after, kept) = merged(&options(&[]), options(&["--ssl-cert", "c", "--ssl-key", "k"]));
        assert_eq!((after.gateway.service_addr().port(), kept.len()), (8080, 1));
    }
}
