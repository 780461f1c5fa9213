//! Backend.AI's agent: runs kernels on this machine for the gateways of its namespace.
//!
//! One thread, one runtime. Gateways call in over [`rpc`], [`methods`] does what they ask with the
//! [`agent`]'s kernels, and [`events`] tells gateways what happens. A kernel's processes are started
//! by this same program in other roles ([`kernel::launch`], [`shell`]).

#![forbid(unsafe_code)]

mod agent;
mod etcd;
mod events;
mod exception;
mod heartbeat;
mod kernel;
mod methods;
mod options;
mod rpc;
mod serve;
mod shell;
mod statistics;

use std::process::ExitCode;

/// How this program calls itself in messages.
const NAME: &str = "backendai-agent";

/// What this program is in a kernel.
fn run_role(args: &[String]) -> Option<ExitCode> {
    kernel::launch::run_role(args).or_else(|| kernel::mounts::run_role(args)).or_else(|| shell::run_role(args))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(code) = run_role(&args) {
        return code;
    }
    let options = options::Options::from_command_line(std::env::args_os()).unwrap_or_else(|failure| failure.exit(NAME));
    backendai::telemetry::init_logging(options.verbose, options.debug);
    match serve::serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}
