//! docs/options.md, written from the definition of the options themselves.

use std::fmt::Write as _;

use clap::{Arg, Command, builder::PossibleValue};

/// The options of `command` as tables in Markdown, one for each heading.
pub fn reference(command: &Command) -> String {
    let mut text = "# Options of backendai-gateway\n\nGenerated from the program's own definition; \
        `UPDATE_GOLDENS=1 cargo test -p backendai --lib config` renews this page.\n\nA value on the command line goes \
        before one in the environment, that before one in the file which `--config` names, that before the default. \
        The file is TOML, its keys are the options without the dashes (`service-port = 8080`), and a list may be an \
        array or a text with commas. An unknown key or a bad value ends the program with status 2 and one line that \
        names it.\n"
        .to_owned();
    let mut headings: Vec<&str> = Vec::new();
    for arg in command.get_arguments() {
        if !headings.contains(&heading(arg)) {
            headings.push(heading(arg));
        }
    }
    for name in headings {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "\n## {name}\n\n| option | environment | default | |\n|---|---|---|---|");
        for arg in command.get_arguments().filter(|arg| heading(arg) == name) {
            let _ = writeln!(text, "{}", row(arg));
        }
    }
    text
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or("General")
}

fn row(arg: &Arg) -> String {
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
    let (help, default) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (help, default(arg)),
    };
    let help = format!("{help}{}", choices(arg)).replace('|', "\\|").replace('<', "&lt;");
    format!("| {} | {variable} | {} | {help} |", flag(arg), default.replace('<', "&lt;"))
}

fn flag(arg: &Arg) -> String {
    let long = format!("`--{}`", arg.get_long().unwrap_or_default());
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
    let value = value.and_then(|names| names.first()).map(|name| format!(" {name}")).unwrap_or_default();
    format!("{short}{}{value}`", long.trim_end_matches('`'))
}

fn default(arg: &Arg) -> String {
    let values: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    match (arg.get_action().takes_values(), values.is_empty()) {
        (false, _) => "off".to_owned(),
        (true, true) => "none".to_owned(),
        (true, false) => format!("`{}`", values.join(",")),
    }
}

fn choices(arg: &Arg) -> String {
    let choice = |value: &PossibleValue| match value.get_help() {
        Some(help) => format!("`{}` ({help})", value.get_name()),
        None => format!("`{}`", value.get_name()),
    };
    let all: Vec<String> = arg.get_possible_values().iter().map(choice).collect();
    if all.is_empty() || !arg.get_action().takes_values() { String::new() } else { format!(": {}", all.join(", ")) }
}
