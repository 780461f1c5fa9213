//! The control socket: one JSON object a line in each direction, for this user's own processes only (mode 0600).
//!
//! Whoever connects sends one command and gets one reply. The reply to `reload` comes when all workers
//! have been replaced, so that a script knows.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::preflight::Problem;

/// What can be asked of a running supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Its own state and that of its workers.
    Status,
    /// Read the options again and replace all workers.
    Reload,
    /// Finish all requests and end.
    Drain,
    /// Have so many workers.
    Resize {
        /// At least one.
        workers: u16,
    },
    /// The options in effect.
    ConfigShow,
    /// Whether a reload would accept the options as they are now.
    ConfigCheck,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// For people: what was done, or why not.
    pub message: String,
    /// For programs: what was asked for.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    line: Vec<u8>,
    awaits_reload: bool,
    done: bool,
}

/// A command with the place to which its reply goes.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What is asked.
    pub command: Command,
    client: usize,
}

/// No command is longer.
const LINE_MAX: usize = 4096;

/// How many may be connected at a time.
const CLIENTS_MAX: usize = 64;

/// How long a client that does not read its reply may hold up the supervisor.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a supervisor that does nothing else may take to reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long replacing all workers may take.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3600);

/// Asks the supervisor behind the socket at `path`, and waits for its reply, for a time that depends on the command.
///
/// # Errors
/// Nobody listens there, or goes away without a reply, or takes too long.
pub fn ask(path: &Path, command: Command) -> io::Result<Reply> {
    let limit = if command == Command::Reload { RELOAD_TIMEOUT } else { REPLY_TIMEOUT };
    ask_within(limit, path, command).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let why = format!("it has not replied within {} s", limit.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, why)
        }
        _ => error,
    })
}

fn ask_within(limit: Duration, path: &Path, command: Command) -> io::Result<Reply> {
    // One that has stopped takes no connection once its queue is full.
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    socket.set_read_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    let mut stream = UnixStream::from(OwnedFd::from(socket));
    let mut line = serde_json::to_vec(&command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply)?;
    if reply.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor ended without a reply"));
    }
    Ok(serde_json::from_str(&reply)?)
}

/// What is in the way of a control socket at `path`; one that a killed supervisor left is removed.
pub fn problem(path: &Path) -> Option<Problem> {
    match UnixStream::connect(path) {
        Ok(_) => Some(Problem {
            what: format!("a gateway is running already, at {}", path.display()),
            mend: "end it, or give another --control-socket (or --namespace)".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).err().map(|error| Problem {
                what: format!("{} is left over and cannot be removed: {error}", path.display()),
                mend: "remove it, or give another --control-socket".to_owned(),
            })
        }
        Err(_) => None,
    }
}

// === impl Reply ===

impl Reply {
    /// It was done.
    pub fn done(message: impl Into<String>) -> Self {
        Reply { ok: true, message: message.into(), data: serde_json::Value::Null }
    }

    /// It was not done.
    pub fn failed(message: impl Into<String>) -> Self {
        Reply { ok: false, message: message.into(), data: serde_json::Value::Null }
    }

    /// Here it is.
    pub fn with(data: serde_json::Value) -> Self {
        Reply { ok: true, message: String::new(), data }
    }
}

// === impl Control ===

impl Control {
    /// Listens at `path`.
    ///
    /// # Errors
    /// What is in the way.
    pub fn listen(path: PathBuf) -> Result<Self, Problem> {
        // The umask is the whole process's: two that set it at a time would put back each other's.
        static UMASK: Mutex<()> = Mutex::new(());
        let alone = UMASK.lock();
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        umask(before);
        drop(alone);
        let listener = listener.map_err(|error| Problem {
            what: format!("the control socket {} cannot be made: {error}", path.display()),
            mend: "make its folder, writable for this user, or give another --control-socket".to_owned(),
        })?;
        Ok(Control { listener, path, clients: Vec::new() })
    }

    /// Everything that may become readable.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.clients.iter().map(|client| client.stream.as_fd()))
    }

    /// The commands that have come in.
    pub fn commands(&mut self) -> Vec<Asked> {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, line: Vec::new(), awaits_reload: false, done: false });
            }
        }
        let mut asked = Vec::new();
        for (index, client) in self.clients.iter_mut().enumerate() {
            match client.command() {
                Some(Ok(command)) => asked.push(Asked { command, client: index }),
                Some(Err(reply)) => client.reply(&reply),
                None => {}
            }
        }
        asked
    }

    /// Replies, and hangs up.
    pub fn reply(&mut self, asked: Asked, reply: &Reply) {
        if let Some(client) = self.clients.get_mut(asked.client) {
            client.reply(reply);
        }
    }

    /// Puts the reply off until [`Control::reloaded`].
    pub fn await_reload(&mut self, asked: Asked) {
        if let Some(client) = self.clients.get_mut(asked.client) {
            client.awaits_reload = true;
        }
    }

    /// Replies to all who wait for the end of a reload.
    pub fn reloaded(&mut self, reply: &Reply) {
        self.clients.iter_mut().filter(|client| client.awaits_reload).for_each(|client| client.reply(reply));
    }

    /// Forgets those that are served or gone; the places of commands are not valid after it.
    pub fn tidy(&mut self) {
        self.clients.retain(|client| !client.done);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Somebody may have removed it before.
        let _ = fs::remove_file(&self.path);
    }
}

// === impl Client ===

impl Client {
    /// The command, once its line is complete; or why it is none.
    fn command(&mut self) -> Option<Result<Command, Reply>> {
        if self.done {
            return None;
        }
        let mut chunk = [0; 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.done = true,
            Ok(length) => self.line.extend(chunk.iter().take(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.done = true,
        }
        let end = self.line.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            let long = self.line.len() > LINE_MAX;
            return long.then(|| Err(Reply::failed("the command is too long")));
        };
        let line: Vec<u8> = self.line.drain(..=end).collect();
        let parsed = serde_json::from_slice(&line);
        Some(parsed.map_err(|error| Reply::failed(format!("not a command: {error}"))))
    }

    fn reply(&mut self, reply: &Reply) {
        self.done = true;
        let written = serde_json::to_vec(reply).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.stream.set_nonblocking(false)?;
            self.stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
            self.stream.write_all(&line)
        });
        if let Err(error) = written {
            tracing::debug!(%error, "a control client did not take its reply");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use super::*;

    fn socket() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        (folder, path)
    }

    /// Serves until `count` commands have been answered.
    fn serve(control: &mut Control, count: usize, mut answer: impl FnMut(Command) -> Reply) {
        let mut served = 0;
        while served < count {
            for asked in control.commands() {
                control.reply(asked, &answer(asked.command));
                served += 1;
            }
            control.tidy();
            thread::yield_now();
        }
    }

    #[test]
    fn a_command_and_its_reply_survive_the_way() {
        let (_folder, path) = socket();
        let mut control = Control::listen(path.clone()).unwrap();
        let client = thread::spawn(move || ask(&path, Command::Resize { workers: 7 }).unwrap());
        serve(&mut control, 1, |command| {
            assert_eq!(command, Command::Resize { workers: 7 });
            Reply::with(serde_json::json!({"workers": 7}))
        });
        let reply = client.join().unwrap();
        assert_eq!((reply.ok, reply.data["workers"].as_u64()), (true, Some(7)));
    }

    #[test]
    fn one_that_does_not_reply_is_not_waited_for_for_ever() {
        let (_folder, path) = socket();
        let control = Control::listen(path.clone()).unwrap();
        let error = ask_within(Duration::from_millis(50), &path, Command::Status).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(control);
    }

    #[test]
    fn only_its_owner_may_connect_and_it_is_removed_at_the_end() {
        let (_folder, path) = socket();
        let control = Control::listen(path.clone()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(control);
        assert!(!path.exists());
    }

    #[test]
    fn nonsense_gets_an_answer_and_a_reload_is_answered_later() {
        let (_folder, path) = socket();
        let mut control = Control::listen(path.clone()).unwrap();
        let mut bad = UnixStream::connect(&path).unwrap();
        bad.write_all(b"{\"command\":\"dance\"}\n").unwrap();
        let waiting = thread::spawn({
            let path = path.clone();
            move || ask(&path, Command::Reload).unwrap()
        });
        let asked = loop {
            if let Some(asked) = control.commands().first().copied() {
                break asked;
            }
        };
        control.await_reload(asked);
        control.reloaded(&Reply::failed("no"));
        assert_eq!(waiting.join().unwrap(), Reply::failed("no"));
        control.tidy();
        while !control.clients.is_empty() {
            assert!(control.commands().is_empty());
            control.tidy();
        }
        let mut text = String::new();
        bad.read_to_string(&mut text).unwrap();
        assert!(text.contains("not a command"), "{text}");
    }

    #[test]
    fn a_socket_that_is_left_over_is_replaced_and_one_in_use_is_not() {
        let (_folder, path) = socket();
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!((problem(&path), path.exists()), (None, false));
        let _running = Control::listen(path.clone()).unwrap();
        assert!(problem(&path).unwrap().what.contains("running already"));
        let missing = Control::listen(path.join("x")).unwrap_err();
        assert!(missing.what.contains("cannot be made"));
    }
}
