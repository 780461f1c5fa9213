//! Measurements: a load generator, simulated agents, and the comparisons that the budgets ask for.
//!
//! docs/benchmarks.md says what each of them shows. Everything is on this machine's loopback and bounded in time,
//! and what is started is ended by its pid.

#![forbid(unsafe_code)]
// A tool for terminals: what it prints is what it is for.
#![allow(clippy::print_stdout)]

mod budget;
mod compare;
mod error;
mod fleet;
mod load;
mod memory;
mod options;
mod process;
mod results;
mod rig;
mod rollover;
mod sessions;
mod sign;
mod terminals;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

use self::{
    error::Error,
    options::{Command, Options},
};

/// 0 where every budget was held, 1 where one was missed, 2 where nothing was measured.
fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<bool, Error> {
    match command {
        Command::Load(options) => options::load(&options),
        Command::Fleet(options) => options::fleet(&options).map(|()| true),
        Command::Compare(options) => compare::run(&options),
        Command::Scaling(options) => compare::scaling(&options),
        Command::Sessions(options) => sessions::run(&options),
        Command::Memory(options) => memory::run(&options),
        Command::Rollover(options) => rollover::run(&options),
    }
}
