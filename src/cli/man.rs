//! `man`: manual pages, made from the same declarations that parse the command line.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Cli, CliError, Out};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder to write one page for each command into; made if it is missing
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub fn run(args: &Args, out: Out<'_>) -> Result<(), CliError> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        Man::new(built()).render(&mut page)?;
        return Ok(out.write_all(&page)?);
    };
    let failed = |error| CliError::Write { path: folder.clone(), error };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(built(), folder).map_err(failed)?;
    Ok(writeln!(out, "wrote {} pages to {}", pages(&built()), folder.display())?)
}

/// The program's commands, without `help`, which is no command of its own.
fn built() -> clap::Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn pages(command: &clap::Command) -> usize {
    1 + command.get_subcommands().filter(|it| !it.is_hide_set()).map(pages).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("man1");
        let mut out = Vec::new();
        run(&Args { folder: Some(folder.clone()) }, &mut out).unwrap();
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(String::from_utf8(out).unwrap().starts_with(&format!("wrote {} pages to ", files.len())));
        let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(page("backendai-manager-keypair-generate.1").contains("rate\\-limit"));
        assert!(page("backendai-manager-top.1").contains("BACKEND_ADMIN_PORT"));
        assert!(!files.iter().any(|it| it.ends_with("backendai-manager-help.1")), "{files:?}");
    }

    #[test]
    fn the_program_s_page_names_its_commands_and_is_clean_for_troff() {
        let mut page = Vec::new();
        run(&Args { folder: None }, &mut page).unwrap();
        let text = String::from_utf8(page).unwrap();
        assert!(
            text.contains("backendai\\-manager\\-session(1)") && text.contains(".TH backendai-manager 1"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = run(&Args { folder: Some(file.path().join("x")) }, &mut Vec::new()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("cannot write {}", file.path().display())), "{message}");
    }
}
