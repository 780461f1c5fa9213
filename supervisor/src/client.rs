//! The commands to a running gateway, as seen from the command line.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use serde_json::Value;

use crate::{
    control::{self, Reply, ask},
    options::{Command, ConfigCommand, Options, kept_line},
    preflight,
};

/// Asks the gateway of these options, and prints what it says.
///
/// # Errors
/// One line: there is none, or it does not do it.
pub fn run(command: &Command, options: &Options) -> Result<ExitCode, String> {
    let asked = reach(&options.gateway.control_sockets(), request(command));
    let text = match (command, asked) {
        (_, Ok(reply)) if !reply.ok => return Err(reply.message),
        (Command::Status { output }, Ok(reply)) if output == "table" => table(&reply.data),
        (Command::Status { .. }, Ok(reply)) => format!("{:#}", reply.data),
        (_, Ok(Reply { data: Value::String(text), .. })) => text,
        (_, Ok(reply)) => reply.message,
        // The options were parsed on the way here, and the gateway is not needed to look at them.
        (Command::Config(ConfigCommand::Check), Err(_)) => {
            preflight::options(&options.gateway).map_err(|problem| problem.to_string())?;
            kept_line(&[])
        }
        (Command::Config(ConfigCommand::Show), Err(_)) => options.shown.to_string(),
        (_, Err(why)) => return Err(why),
    };
    // Whoever closed our output has read enough.
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Asks the first of these sockets behind which there is a gateway.
fn reach(sockets: &[PathBuf], command: control::Command) -> Result<Reply, String> {
    let mut tried = Vec::new();
    for socket in sockets {
        match ask(socket, command) {
            Ok(reply) => return Ok(reply),
            Err(error) => tried.push(format!("at {}: {error}", socket.display())),
        }
    }
    Err(format!("no gateway answers {}", tried.join(", nor ")))
}

fn request(command: &Command) -> control::Command {
    match command {
        Command::Status { .. } => control::Command::Status,
        Command::Reload => control::Command::Reload,
        Command::Drain => control::Command::Drain,
        Command::Resize { workers } => control::Command::Resize { workers: *workers },
        Command::Config(ConfigCommand::Show) => control::Command::ConfigShow,
        Command::Config(ConfigCommand::Check) => control::Command::ConfigCheck,
    }
}

/// The status for people.
fn table(status: &Value) -> String {
    let field = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let mut text = String::new();
    // Writing into a String cannot fail.
    for name in ["state", "pid", "version", "namespace", "engine", "api", "events", "admin", "uptime_s"] {
        let _ = writeln!(text, "{name:<10} {}", field(status, name));
    }
    let _ = writeln!(
        text,
        "\n{:>4} {:>8} {:<9} {:>4} {:>10} {:>8} {:>6} {:>8} {:>8} {:>8} {:>8}",
        "slot", "pid", "state", "core", "requests", "5xx", "conns", "p50 us", "p99 us", "MiB", "restarts"
    );
    for worker in status.get("workers").and_then(Value::as_array).into_iter().flatten() {
        let mib = worker.get("resident_bytes").and_then(Value::as_u64).unwrap_or_default() >> 20;
        let cell = |name: &str| field(worker, name);
        let _ = writeln!(
            text,
            "{:>4} {:>8} {:<9} {:>4} {:>10} {:>8} {:>6} {:>8} {:>8} {mib:>8} {:>8}",
            cell("slot"),
            cell("pid"),
            cell("state"),
            cell("core"),
            cell("requests"),
            cell("failed_requests"),
            cell("connections"),
            cell("p50_us"),
            cell("p99_us"),
            cell("restarts")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_gateway_is_found_in_whichever_folder_it_put_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let [none, dead, alive] = ["none.sock", "dead.sock", "alive.sock"].map(|name| folder.path().join(name));
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let why = reach(&[none.clone(), dead.clone()], control::Command::Status).unwrap_err();
        assert!(why.contains("none.sock") && why.contains("dead.sock"), "{why}");
        let mut control = control::Control::listen(alive.clone()).unwrap();
        let asking = thread::spawn(move || reach(&[none, dead, alive], control::Command::Status).unwrap());
        let asked = loop {
            if let Some(asked) = control.commands().first().copied() {
                break asked;
            }
        };
        control.reply(asked, &Reply::done("here"));
        assert_eq!(asking.join().unwrap().message, "here");
    }

    #[test]
    fn a_table_has_a_line_for_each_worker() {
        let worker =
            serde_json::json!({"slot": 1, "pid": 42, "state": "ready", "core": null, "resident_bytes": 9 << 20});
        let text = table(&serde_json::json!({"state": "running", "workers": [worker.clone(), worker]}));
        assert!(text.contains("state      running"));
        let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["1", "42", "ready", "-", "-", "-", "-", "-", "-", "9", "-"]);
        assert_eq!(text.lines().filter(|line| line.contains("ready")).count(), 2);
    }
}
