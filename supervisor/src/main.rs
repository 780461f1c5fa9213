//! `backendai-gateway`: becomes a gateway, or asks the one that runs.

use std::{env, process::ExitCode};

use backendai::{config::Gateway, preflight::stores, telemetry, worker};
use backendai_gateway::{
    client, options,
    preflight::{Problem, refuse},
    slots::Policy,
    supervise::{Program, supervise},
};

/// How this program calls itself in messages.
const NAME: &str = "backendai-gateway";

fn main() -> ExitCode {
    let (options, command) = options::parse(env::args_os()).unwrap_or_else(|failure| failure.exit(NAME));
    match command {
        None => serve(options),
        Some(command) => client::run(&command, &options).unwrap_or_else(|line| {
            eprintln!("{NAME}: {line}");
            ExitCode::FAILURE
        }),
    }
}

fn serve(options: options::Options) -> ExitCode {
    telemetry::init_logging(options.gateway.verbose, options.gateway.debug);
    let reread = || options::parse(env::args_os()).map(|(options, _)| options).map_err(|failure| failure.to_string());
    let program = Program { options, reread: Box::new(reread), look, worker: worker::run, policy: Policy::new };
    supervise(program).unwrap_or_else(|problems| refuse(&problems))
}

fn look(config: &Gateway) -> Vec<Problem> {
    let missing = stores(&config.connections).into_iter();
    missing.map(|missing| Problem { what: missing.what, mend: missing.mend }).collect()
}
