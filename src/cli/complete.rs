//! `completions`: made from the same declarations that parse the command line.

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

use super::{Cli, CliError, Out, PROGRAM};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

pub fn run(args: Args, out: Out<'_>) -> Result<(), CliError> {
    let shell = match args.shell {
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    // Into memory first: `generate` panics when it cannot write, as to a closed pipe.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    Ok(out.write_all(&script)?)
}
