//! A load generator of our own: connections that each send their requests in a circle, one at a time.
//!
//! Closed loop: a connection sends its next request when it has the answer to the last. What is compared is the
//! servers' CPU time for a request, which wants servers that are never idle, and not the rate that was reached,
//! which on a machine of few cores is a matter of who else runs on them. Requests are bytes that were made before,
//! so that signing costs the generator nothing. It runs on tokio's current-thread runtime and calls nobody but
//! loopback addresses.

mod answer;
mod latency;
mod report;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

pub use self::{
    latency::Latencies,
    report::{Report, Watched},
};
use crate::error::Error;

/// One request and the status that its answer must have.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The bytes to send.
    pub bytes: Rc<[u8]>,
    /// The status that is no error.
    pub expect: u16,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server is: a loopback address.
    pub target: SocketAddr,
    /// How many connections there are at once.
    pub connections: usize,
    /// Whether a connection carries more than one request.
    pub keep_alive: bool,
    /// What a connection sends, in a circle; connection `i` takes the script `i` modulo their number.
    pub scripts: Vec<Rc<[Shot]>>,
    /// When to stop.
    pub end: End,
}

/// When a load ends. Requests under way are waited for.
#[derive(Clone, Debug)]
pub enum End {
    /// After so many requests.
    Count(u64),
    /// After a time.
    Time(Duration),
    /// When somebody says so, or after a time.
    Told(Rc<Cell<bool>>, Duration),
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests answered with the status that was expected.
    pub answered: u64,
    /// Everything else, by what went wrong.
    pub errors: BTreeMap<String, u64>,
    /// Of those answered.
    pub latencies: Latencies,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// Longest wait for a connection, or for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause of a connection after an error, so that a server that is gone is not hammered.
const AFTER_ERROR: Duration = Duration::from_millis(20);
/// Most connections at once.
pub const CONNECTIONS_MAX: usize = 25_000;

/// Runs a load to its end, on a runtime of its own.
///
/// # Errors
/// The plan is none that can be run.
pub fn run(plan: Plan) -> Result<Outcome, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("no runtime"))?;
    LocalSet::new().block_on(&runtime, drive(plan))
}

/// Runs a load to its end, in a `LocalSet`.
///
/// # Errors
/// The plan is none that can be run.
pub async fn drive(plan: Plan) -> Result<Outcome, Error> {
    only_loopback(plan.target)?;
    if !(1..=CONNECTIONS_MAX).contains(&plan.connections) || plan.scripts.iter().any(|script| script.is_empty()) {
        return Err(Error::failed(format!("1 to {CONNECTIONS_MAX} connections, each with something to send")));
    }
    let run = Rc::new(Run { left: Cell::new(plan.end.count()), began: Instant::now(), plan, done: RefCell::default() });
    let tasks: Vec<_> = (0..run.plan.connections)
        .map(|number| {
            let run = run.clone();
            tokio::task::spawn_local(async move { run.client(number).await })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|error| Error::failed(format!("a connection's task broke: {error}")))?;
    }
    let took = run.began.elapsed();
    let outcome = run.done.take();
    Ok(Outcome { took, ..outcome })
}

/// Refuses to load anybody else's machine.
///
/// # Errors
/// The address is not a loopback one.
pub fn only_loopback(target: SocketAddr) -> Result<(), Error> {
    match target.ip().is_loopback() {
        true => Ok(()),
        false => Err(Error::failed(format!("{target} is not on this machine's loopback"))),
    }
}

/// One request on a connection of its own: status and body.
///
/// # Errors
/// There is no whole answer.
pub async fn ask(target: SocketAddr, bytes: &[u8]) -> Result<(u16, Vec<u8>), Error> {
    only_loopback(target)?;
    let mut connection = Connection::open(target).await.map_err(Error::failed)?;
    let answer = connection.ask(bytes).await.map_err(Error::failed)?;
    let body = connection.input.get(answer.body..answer.len).unwrap_or_default().to_vec();
    Ok((answer.status, body))
}

/// A load under way.
struct Run {
    plan: Plan,
    left: Cell<u64>,
    began: Instant,
    done: RefCell<Outcome>,
}

/// A connection and what has come over it.
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

// === impl End ===

impl End {
    fn count(&self) -> u64 {
        match self {
            End::Count(count) => *count,
            End::Time(_) | End::Told(..) => u64::MAX,
        }
    }

    fn is_over(&self, elapsed: Duration) -> bool {
        match self {
            End::Count(_) => false,
            End::Time(limit) => elapsed >= *limit,
            End::Told(told, limit) => told.get() || elapsed >= *limit,
        }
    }
}

// === impl Run ===

impl Run {
    /// One connection after another, until the end.
    async fn client(&self, number: usize) {
        let Some(script) = self.plan.scripts.get(number % self.plan.scripts.len().max(1)) else { return };
        let mut circle = script.iter().cycle();
        while !self.is_over() {
            if let Err(error) = self.connection(&mut circle).await {
                *self.done.borrow_mut().errors.entry(error).or_default() += 1;
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }

    async fn connection(&self, circle: &mut impl Iterator<Item = &Shot>) -> Result<(), String> {
        let mut connection = Connection::open(self.plan.target).await?;
        while let Some(shot) = self.take().then(|| circle.next()).flatten() {
            let sent = Instant::now();
            let answer = connection.ask(&shot.bytes).await?;
            self.count(shot, answer.status, sent.elapsed());
            connection.forget(answer.len);
            if answer.close || !self.plan.keep_alive {
                return Ok(());
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.left.get() == 0 || self.plan.end.is_over(self.began.elapsed())
    }

    /// Takes one request of those that are left.
    fn take(&self) -> bool {
        if self.is_over() {
            return false;
        }
        self.left.set(self.left.get() - 1);
        true
    }

    fn count(&self, shot: &Shot, status: u16, took: Duration) {
        let mut done = self.done.borrow_mut();
        if status == shot.expect {
            done.answered += 1;
            done.latencies.add(took);
        } else {
            *done.errors.entry(format!("status {status}")).or_default() += 1;
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Connects; the error is a few words, one kind of error each.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn open(target: SocketAddr) -> Result<Connection, String> {
        let stream = patiently("connecting", TcpStream::connect(target)).await?;
        // Without it a request waits for nothing; it only costs a packet more.
        let _ = stream.set_nodelay(true);
        Ok(Connection { stream, input: Vec::with_capacity(4096) })
    }

    /// Sends a request and waits for its answer, whose bytes stay until they are forgotten.
    ///
    /// # Errors
    /// No whole answer came.
    pub async fn ask(&mut self, bytes: &[u8]) -> Result<answer::Answer, String> {
        patiently("sending", self.stream.write_all(bytes)).await?;
        loop {
            match answer::parse(&self.input) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(answer::Malformed) => return Err("malformed answer".to_owned()),
            }
            if patiently("waiting for an answer", self.stream.read_buf(&mut self.input)).await? == 0 {
                let when = if self.input.is_empty() { "before" } else { "within" };
                return Err(format!("closed {when} an answer"));
            }
        }
    }

    /// Waits until this has come, and drops all up to there.
    ///
    /// # Errors
    /// It did not.
    pub async fn until(&mut self, wanted: &[u8]) -> Result<(), String> {
        loop {
            if let Some(at) = self.input.windows(wanted.len().max(1)).position(|bytes| bytes == wanted) {
                self.forget(at + wanted.len());
                return Ok(());
            }
            if patiently("waiting for a message", self.stream.read_buf(&mut self.input)).await? == 0 {
                return Err("closed before the message".to_owned());
            }
        }
    }

    /// Drops the first bytes of what has come.
    pub fn forget(&mut self, count: usize) {
        self.input.drain(..count.min(self.input.len()));
    }
}

async fn patiently<T>(doing: &str, work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{doing}: {}", error.kind())),
        Err(_) => Err(format!("{doing}: nothing within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests;
