//! The shell runtime: a terminal with bash in it, for any number of viewers at once.
//!
//! ```text
//! agent ── kernel-init ── kernel-shell ── kernel-tty (becomes bash) ── what the user starts
//!   └────── Unix socket ─────┘   └─ ZeroMQ: stdin_port, stdout_port ── viewers
//! ```
//! This program in the role `kernel-shell` is the kernel's runner, as `runner.py` is Python's: the
//! terminal and its sockets live inside the kernel, so that its limits hold for them, they outlive the
//! agent where the kernel does, and what flows through a terminal does not pass the agent. The role
//! `kernel-tty` makes the pseudo-terminal its session's own and becomes bash.
//!
//! Runs know two commands, `%ping` and `%resize` ([`commands`]), and a batch's commands ([`batch`]).

mod batch;
mod commands;
mod fd;
mod hub;
mod link;
pub mod ports;
mod pty;
mod runner;
mod sockets;
mod terminal;

use std::{
    io,
    net::Ipv4Addr,
    os::{fd::AsFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, ExitCode},
    rc::Rc,
};

use tokio::{
    net::UnixListener,
    sync::mpsc,
    task::{LocalSet, spawn_local},
};

use self::{hub::Hub, ports::PortRange, runner::Runner, terminal::Terminal};

/// The role of a shell kernel's runner. Arguments: the address and the ports of its terminal, and the
/// file that remembers them.
pub const ROLE: &str = "kernel-shell";
/// The role that becomes the shell. Argument: the shell.
const TTY_ROLE: &str = "kernel-tty";
/// Set for a kernel that outlives its agent.
const KEEP: &str = "BACKENDAI_RUNNER_KEEP";
/// Pieces of input that wait for the terminal; beyond them, those who type wait.
const INPUT_PIECES: usize = 16;

/// What the runner is started with.
struct Arguments {
    ip: Ipv4Addr,
    range: PortRange,
    remembered: PathBuf,
    shell: PathBuf,
    keep: bool,
}

/// Runs one of the two roles if the program was started as one.
pub fn run_role(args: &[String]) -> Option<ExitCode> {
    let result = match args {
        [_, role, ip, range, remembered] if role == ROLE => Arguments::parse(ip, range, remembered).and_then(run_shell),
        [_, role, shell] if role == TTY_ROLE => Err(become_shell(shell)),
        _ => return None,
    };
    Some(result.map_or_else(
        |error| {
            eprintln!("the shell cannot start: {error}");
            ExitCode::from(125)
        },
        |()| ExitCode::SUCCESS,
    ))
}

// === impl Arguments ===

impl Arguments {
    fn parse(ip: &str, range: &str, remembered: &str) -> io::Result<Arguments> {
        Ok(Arguments {
            ip: ip.parse().map_err(io::Error::other)?,
            range: range.parse().map_err(io::Error::other)?,
            remembered: remembered.into(),
            shell: find_shell()?,
            keep: std::env::var_os(KEEP).is_some(),
        })
    }
}

/// Bash, from the kernel's PATH.
fn find_shell() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("bash")).find(|file| file.is_file());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no bash in PATH"))
}

// === kernel-shell ===

fn run_shell(arguments: Arguments) -> io::Result<()> {
    let listener = std::os::unix::net::UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(arguments, listener))
}

/// Serves viewers and the agent, until the agent is gone.
async fn serve(arguments: Arguments, listener: std::os::unix::net::UnixListener) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let [stdin, stdout] = ports::bind(arguments.ip, arguments.range, &arguments.remembered).await?;
    let ports = [stdin.local_addr()?.port(), stdout.local_addr()?.port()];
    let hub = Rc::new(Hub::default());
    let (type_in, typed) = mpsc::channel(INPUT_PIECES);
    let (control, controls) = mpsc::unbounded_channel();
    let (runner, outbox) = Runner::new(control);
    let terminal = Terminal::start(arguments.shell, hub.clone(), typed, controls, runner.clone())?;
    spawn_local(sockets::serve_input(stdin, type_in));
    spawn_local(sockets::serve_output(stdout, hub));
    spawn_local(terminal.run());
    link::serve(listener, ports, &runner, outbox, arguments.keep).await
}

// === kernel-tty ===

/// Takes the terminal, which is descriptor 0, as that of a session of its own. Returns only on failure.
fn become_shell(shell: &str) -> io::Error {
    let taken = nix::unistd::setsid().map_err(io::Error::from).and_then(|_| {
        rustix::process::ioctl_tiocsctty(io::stdin())?;
        Ok(())
    });
    match taken {
        Ok(()) => Command::new(shell).exec(),
        Err(error) => error,
    }
}
