//! A command line that cannot be understood: one line that names what is wrong.

use std::process::ExitCode;

use clap::{Error, error::ErrorKind};

/// Prints help or version as asked for (exit 0), or what is wrong with the command line (exit 2).
pub fn report(error: &Error) -> ExitCode {
    let shown = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return match error.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.render().to_string(),
        _ => one_line(&error.render().to_string()),
    };
    eprintln!("{}", shown.trim_end());
    ExitCode::from(2)
}

/// The first paragraph of clap's message without its line breaks; the others repeat the usage.
fn one_line(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.trim().is_empty());
    let words: Vec<&str> = lines.map(str::trim).collect();
    words.join(" ").replacen("error:", "backendai-manager:", 1)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn message(args: &str) -> String {
        one_line(&Cli::try_parse_from(args.split(' ')).unwrap_err().render().to_string())
    }

    #[test]
    fn a_bad_command_line_is_one_line_that_names_what_is_bad() {
        let cases = [
            ("m schema show --db-addr nowhere", "'nowhere' for '--db-addr <HOST:PORT>': the port is missing"),
            ("m schema frobnicate", "unrecognized subcommand 'frobnicate'"),
            ("m keypair list --output xml", "'xml' for '--output <FORMAT>' [possible values: table, json]"),
            ("m etcd put key", "required arguments were not provided: <VALUE>"),
            ("m schema oneshot c3e74", "'c3e74'"),
        ];
        for (args, part) in cases {
            let text = message(args);
            assert!(text.contains(part) && text.starts_with("backendai-manager: "), "{args}: {text}");
            assert!(!text.contains('\n'), "{args}: {text}");
        }
    }
}
