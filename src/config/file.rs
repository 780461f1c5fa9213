//! The precedence of options: command line, environment, file, default.
//!
//! The file's values become the defaults of the very definition that the command line is parsed by, so
//! that an option is declared once, and its parser and its messages are the same wherever it was given.
//! The arguments are therefore parsed twice: once to learn the file's name and which options are given
//! outside of it (one in the file must yield to the alternative that was given: `--workers` to
//! `--cpus`), and once with the file's values in place. Of two alternatives, one on the command line and
//! one in the environment, the variable is left out of the definition: clap knows no precedence between
//! options that exclude each other.

use std::{ffi::OsString, fmt, fs, path::Path};

use clap::{
    Arg, ArgMatches, Command,
    builder::{OsStr, Resettable},
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// Why there are no options: what to print, and with which status to end.
#[derive(Debug)]
pub enum Failure {
    /// Help or version was asked for: the text for standard output, status 0.
    Asked(String),
    /// A bad or unknown option, value, variable or key: one line that names it, status 2.
    Bad(String),
}

// === impl Shown ===

impl Shown {
    /// Shows the option of this long name as it was shown `before`.
    pub fn keep(&mut self, long: &str, before: &Shown) {
        let line = |shown: &Shown| shown.0.iter().position(|(name, _)| name == long);
        let kept = line(before).and_then(|index| before.0.get(index));
        if let (Some(index), Some(kept)) = (line(self), kept)
            && let Some(place) = self.0.get_mut(index)
        {
            place.clone_from(kept);
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(_, line)| writeln!(f, "{line}"))
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Asked(text) | Failure::Bad(text) => f.write_str(text),
        }
    }
}

impl Failure {
    /// Prints help to standard output, or the line to standard error, and ends the process.
    pub fn exit(&self, program: &str) -> ! {
        use std::io::Write as _;
        // Whoever closed our output did not want to know: nothing is left to do about an error here.
        let code = match self {
            Failure::Asked(text) => write!(std::io::stdout(), "{text}").map_or(0, |()| 0),
            Failure::Bad(line) => writeln!(std::io::stderr(), "{program}: {line}").map_or(2, |()| 2),
        };
        std::process::exit(code)
    }
}

/// Options with where each comes from, as they are shown to operators: a file that `--config` could read; no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(Vec<(String, String)>);

/// Parses `args` (the program's name first) by `command`, with the file that `--config` names, if any.
///
/// # Errors
/// Help was asked for, or something is unknown or bad.
pub fn resolve(command: Command, args: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, Failure> {
    resolve_shown(command, args).map(|(matches, _)| matches)
}

/// [`resolve`], with what was found as it is shown.
///
/// # Errors
/// As there.
pub fn resolve_shown(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(ArgMatches, Shown), Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    let command = line_first(command, &args);
    let given = parse(&command, &args, None)?;
    let file = given.try_get_one::<std::path::PathBuf>("config").ok().flatten().cloned();
    match file {
        None => {
            let shown = show(&command, &given, &[]);
            Ok((given, shown))
        }
        Some(path) => {
            let (with_file, of_file) = apply(command, &given, &path)?;
            let matches = parse(&with_file, &args, Some(&path))?;
            let shown = show(&with_file, &matches, &of_file);
            Ok((matches, shown))
        }
    }
}

/// `command` without the variables of options whose alternatives stand on the command line `args`, the program's name
/// first.
pub fn line_first(command: Command, args: &[OsString]) -> Command {
    let ids: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    let bare =
        ids.iter().fold(command.clone(), |command, id| command.mut_arg(id, |arg| arg.env(Resettable::<OsStr>::Reset)));
    // Whatever is wrong with the line is told by whoever parses it in earnest.
    let Ok(line) = bare.ignore_errors(true).try_get_matches_from(args) else { return command };
    let on_line = |id: &str| line.value_source(id) == Some(ValueSource::CommandLine);
    let given: Vec<&String> = ids.iter().filter(|id| on_line(id)).collect();
    let yields = |id: &str| !on_line(id) && given.iter().any(|other| exclude(&command, id, other));
    let yielding: Vec<&String> = ids.iter().filter(|id| yields(id)).collect();
    yielding
        .into_iter()
        .fold(command.clone(), |command, id| command.mut_arg(id, |arg| arg.env(Resettable::<OsStr>::Reset)))
}

/// Every option with its value and where that came from; `of_file` are the ids of those whose default is the file's.
fn show(command: &Command, matches: &ArgMatches, of_file: &[String]) -> Shown {
    let line = |(arg, long): (&Arg, &str)| {
        let id = arg.get_id().as_str();
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "command line",
            Some(ValueSource::EnvVariable) => "environment",
            _ if of_file.iter().any(|known| known == id) => "file",
            _ => "default",
        };
        let values: Vec<String> = match matches.get_raw(id) {
            None => Vec::new(),
            Some(_) if arg.is_hide_env_values_set() => vec!["<secret>".to_owned()],
            Some(raw) => raw.map(|value| value.to_string_lossy().into_owned()).collect(),
        };
        let line = match values.is_empty() {
            true => format!("# {long} is not set"),
            false => format!("{long} = {:?}  # {source}", values.join(",")),
        };
        (long.to_owned(), line)
    };
    Shown(options(command).map(line).collect())
}

/// The options that a file may hold: every one with a value of its own, but `--config` itself.
fn options(command: &Command) -> impl Iterator<Item = (&Arg, &str)> {
    let named = command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?)));
    named.filter(|(_, long)| !matches!(*long, "config" | "help" | "version"))
}

fn parse(command: &Command, args: &[OsString], file: Option<&Path>) -> Result<ArgMatches, Failure> {
    command.clone().try_get_matches_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Failure::Asked(error.render().to_string()),
        _ => Failure::Bad(one_line(command, &error, args, file)),
    })
}

/// clap's message, without usage, in one line, with the variable or the file that is to blame.
fn one_line(command: &Command, error: &clap::Error, args: &[OsString], file: Option<&Path>) -> String {
    let text = error.render().to_string();
    let first: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = first.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    match blame(command, error, args, file) {
        Some(origin) => format!("{line} (from {origin})"),
        None => line.to_owned(),
    }
}

/// Where a bad value stands if it is not on the command line.
fn blame(command: &Command, error: &clap::Error, args: &[OsString], file: Option<&Path>) -> Option<String> {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg) else { return None };
    let long = name.strip_prefix("--")?.split([' ', '=', '[']).next()?;
    let flag = format!("--{long}");
    let on_line = |arg: &OsString| arg.to_str().is_some_and(|a| a == flag || a.starts_with(&format!("{flag}=")));
    if args.iter().any(on_line) {
        return None;
    }
    let variable = command.get_arguments().find(|arg| arg.get_long() == Some(long))?.get_env()?;
    match std::env::var_os(variable) {
        Some(_) => Some(variable.to_string_lossy().into_owned()),
        None => file.map(|file| file.display().to_string()),
    }
}

/// `command` with the values of the file at `path` as its defaults, and the ids of the options that have these.
fn apply(command: Command, given: &ArgMatches, path: &Path) -> Result<(Command, Vec<String>), Failure> {
    let bad = |why: String| Failure::Bad(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        bad(format!("line {line}: {}", error.message().replace('\n', " ")))
    })?;
    let mut with_file = command.clone();
    let mut ids: Vec<String> = Vec::new();
    let mut applied: Vec<String> = Vec::new();
    for (key, value) in &table {
        let Some((arg, _)) = options(&command).find(|(_, long)| long == key) else {
            return Err(bad(format!("unknown option `{key}`")));
        };
        let id = arg.get_id().as_str();
        if let Some(other) = ids.iter().find(|other| exclude(&command, id, other)) {
            return Err(bad(format!("`{key}` and `{}` exclude each other", other.replace('_', "-"))));
        }
        ids.push(id.to_owned());
        if !alternative_given(&command, given, id) {
            let values = values(value).ok_or_else(|| {
                bad(format!("`{key}` is neither a text, a number, true or false, nor a list of these"))
            })?;
            with_file = with_file.mut_arg(id, |arg| arg.default_values(values));
            applied.push(id.to_owned());
        }
    }
    Ok((with_file, applied))
}

/// Whether one of the two options forbids the other.
fn exclude(command: &Command, a: &str, b: &str) -> bool {
    let forbids = |a: &str, b: &str| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == a);
        arg.is_some_and(|arg| command.get_arg_conflicts_with(arg).iter().any(|other| other.get_id() == b))
    };
    forbids(a, b) || forbids(b, a)
}

/// Whether an option that `id` excludes was given on the command line or in the environment.
fn alternative_given(command: &Command, given: &ArgMatches, id: &str) -> bool {
    let outside = |arg: &&Arg| {
        let source = given.value_source(arg.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    command.get_arguments().filter(outside).any(|arg| exclude(command, id, arg.get_id().as_str()))
}

/// A value of the file as the command line would have it.
fn values(value: &toml::Value) -> Option<Vec<OsStr>> {
    match value {
        toml::Value::Array(items) => items.iter().map(scalar).collect(),
        other => Some(vec![scalar(other)?]),
    }
}

fn scalar(value: &toml::Value) -> Option<OsStr> {
    match value {
        toml::Value::String(text) => Some(text.clone().into()),
        toml::Value::Integer(number) => Some(number.to_string().into()),
        toml::Value::Float(number) => Some(number.to_string().into()),
        toml::Value::Boolean(flag) => Some(flag.to_string().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two options that exclude each other, with variables that cargo sets for every test.
    fn command() -> Command {
        let option = |id: &'static str, variable: &'static str| Arg::new(id).long(id).env(variable).global(true);
        let one = option("one", "CARGO_PKG_NAME").conflicts_with("other");
        let set = Command::new("x").arg(one).arg(option("other", "BACKEND_NOWHERE_SET"));
        set.subcommand(Command::new("sub"))
    }

    fn given(args: &[&str]) -> (Option<String>, Option<String>) {
        let matches = resolve(command(), args.iter().map(OsString::from)).unwrap();
        (matches.get_one("one").cloned(), matches.get_one("other").cloned())
    }

    #[test]
    fn the_command_line_goes_before_a_variable_of_the_alternative() {
        let package = Some(env!("CARGO_PKG_NAME").to_owned());
        assert_eq!(given(&["x"]), (package.clone(), None));
        assert_eq!(given(&["x", "sub"]), (package, None));
        for args in [["x", "--other", "b", "sub"], ["x", "sub", "--other", "b"]] {
            assert_eq!(given(&args), (None, Some("b".to_owned())), "{args:?}");
        }
        assert_eq!(given(&["x", "--one", "a"]), (Some("a".to_owned()), None));
    }

    #[test]
    fn two_alternatives_on_the_command_line_exclude_each_other() {
        let args = ["x", "--one", "a", "--other", "b"].map(OsString::from);
        match resolve(command(), args) {
            Err(Failure::Bad(line)) => assert!(line.contains("--one") && line.contains("--other"), "{line}"),
            other => panic!("{other:?}"),
        }
    }
}
