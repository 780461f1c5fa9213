//! A viewer of a kernel's terminal.
//!
//! Three loops run beside each other in one task, joined by small queues: one receives from the client, one carries
//! out orders (which may wait for the kernel's turn for minutes, while keys go on being passed), and one keeps the
//! way to the kernel and is the only one that sends to the client. Whichever ends first says how the terminal ends.
//!
//! Most terminals are idle most of the time, so that what a viewer holds while it waits is what it costs: the work
//! that is seldom done (looking rows up, connecting, orders) is boxed, and takes its memory for its own time only.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use rmpv::Value;
use tokio::sync::{Mutex, Notify, mpsc};

use super::{
    Caller, Place,
    caller::{Refusal, ended, going_away, inactive, line},
    fickle::Fickle,
    kernel::{self, Input, Output},
    keys::Keys,
    message::{self, FromClient, Order},
    websocket::{Close, Code, Gone, PING_EVERY, Received, Socket},
};
use crate::{
    agents::LinkError,
    config::HostPort,
    engine,
    registry::{Mode, Run, Standing},
    store::{
        postgres::terminals::TerminalRow,
        redis::session_events::{Change, EventId},
    },
};

/// Longest message of a client, in bytes: a paste of 768 KiB in base64.
pub const LONGEST: usize = 1 << 20;
/// Longest message to a client, in bytes: a piece of output in base64.
pub const LARGEST: usize = 32 << 10;
/// Output that is sent in one message, in bytes.
const PIECE: usize = 16 << 10;
/// Messages of output after which other tasks have their turn.
const SENDS_A_TURN: u32 = 16;
/// Orders that wait for the kernel's turn.
const ORDERS: usize = 16;
/// Errors that wait to be told.
const ERRORS: usize = 4;
/// How long a terminal is looked for that was never there.
const FIND_TIME: Duration = Duration::from_secs(3);
/// How long one is looked for that was there, and whose kernel is said to run.
const FIND_AGAIN_TIME: Duration = Duration::from_secs(10);
/// How long a restart may take: as long as the agent has, and a margin.
const RESTART_TIME: Duration = Duration::from_secs(45);
/// Longest time for the last error to reach the client.
const TELL_TIME: Duration = Duration::from_secs(2);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Serves a viewer until it goes, or the session ends, or the worker.
pub async fn serve(socket: Socket, caller: Caller, place: Place) {
    let (orders_in, orders) = mpsc::channel(ORDERS);
    let (errors_in, errors) = mpsc::channel(ERRORS);
    let viewer = Viewer {
        socket,
        caller,
        place,
        keys: Keys::new(),
        errors: Mutex::new(errors),
        moved: Notify::new(),
        pinged: Cell::new(Instant::now()),
        sent: Cell::new(0),
    };
    let end = viewer.view(Inbox { orders: orders_in, errors: errors_in }, orders).await;
    Box::pin(viewer.part(end)).await;
}

struct Viewer {
    socket: Socket,
    caller: Caller,
    place: Place,
    keys: Keys,
    errors: Mutex<mpsc::Receiver<String>>,
    /// Somebody restarted the kernel: its terminal may be elsewhere.
    moved: Notify,
    pinged: Cell<Instant>,
    sent: Cell<u32>,
}

/// Where what comes from the client goes.
struct Inbox {
    orders: mpsc::Sender<Order>,
    errors: mpsc::Sender<String>,
}

/// How a terminal ends: as is told, or silently, since nobody is there to be told.
type End = Option<Close>;

/// A way to the kernel that is set up.
struct Way {
    at: kernel::Ports,
    input: Input,
    output: Output,
}

/// Why a way to the kernel is given up.
enum Lost {
    /// Its connections broke.
    Broken(LinkError),
    /// The terminal is elsewhere now.
    Moved,
    /// The whole terminal ends.
    End(End),
}

// === impl Viewer ===

impl Viewer {
    async fn view(&self, inbox: Inbox, orders: mpsc::Receiver<Order>) -> End {
        let errors = inbox.errors.clone();
        tokio::select! {
            end = self.receive(inbox) => end,
            end = self.obey(orders, errors) => end,
            end = self.relay() => end,
            end = self.watch() => end,
            () = self.caller.is_shut_out() => Some(inactive()),
            () = self.socket.is_silent() => None,
            () = self.place.is_called_in() => Some(going_away()),
        }
    }

    /// Tells how it ends, to whoever is there.
    async fn part(self, end: End) {
        if let Some(close) = &end {
            let told = self.socket.send(message::error(&close.reason));
            // Whoever does not read this need not be waited for a second time.
            if engine::timeout(TELL_TIME, told).await != Some(Ok(())) {
                return;
            }
        }
        self.socket.close(end).await;
    }

    /// Takes what the client sends to where it goes.
    async fn receive(&self, inbox: Inbox) -> End {
        loop {
            let error = match self.socket.receive().await {
                Received::Text(text) => match FromClient::parse(&text) {
                    // The receivers live as long as the viewer.
                    Ok(FromClient::Input(some)) => {
                        self.keys.typed(some).await;
                        continue;
                    }
                    Ok(FromClient::Order(order)) => {
                        if matches!(order, Order::Restart) {
                            self.keys.restart_ordered();
                        }
                        let _ = inbox.orders.send(order).await;
                        continue;
                    }
                    Err(error) => error,
                },
                Received::Binary => "the message is not text".to_owned(),
                Received::End(end) => return end,
            };
            let _ = inbox.errors.send(error).await;
        }
    }

    /// Carries out orders, one after the other. Of several sizes that wait, the last is the one that is wanted.
    async fn obey(&self, mut orders: mpsc::Receiver<Order>, errors: mpsc::Sender<String>) -> End {
        let mut waiting = Vec::with_capacity(ORDERS);
        while orders.recv_many(&mut waiting, ORDERS).await > 0 {
            let last_size = waiting.iter().rposition(|order| matches!(order, Order::Resize { .. }));
            for (place, order) in waiting.drain(..).enumerate() {
                let outdated = matches!(order, Order::Resize { .. }) && Some(place) != last_size;
                match Box::pin(self.carry_out(order, outdated)).await {
                    Ok(()) => {}
                    Err(Refusal::Told(problem)) => drop(errors.send(line(&problem)).await),
                    Err(Refusal::Ended(close)) => return Some(close),
                }
            }
        }
        None
    }

    /// Counts an order and, unless it is outdated, has the kernel do it.
    async fn carry_out(&self, order: Order, outdated: bool) -> Result<(), Refusal> {
        let restarts = matches!(order, Order::Restart);
        let done = async {
            self.caller.count(None).await?;
            let done = match order {
                _ if outdated => Ok(()),
                Order::Restart => self.caller.registry.restart(&self.caller.session).await,
                Order::Resize { rows, cols } => self.command(format!("%resize {rows} {cols}")).await,
                Order::Ping => self.command("%ping".into()).await,
            };
            done.map_err(|error| self.caller.refusal(error))
        };
        let done = done.await;
        if restarts {
            self.keys.restart_over(done.is_ok());
            self.moved.notify_one();
        }
        done
    }

    async fn command(&self, code: String) -> Result<(), crate::registry::Error> {
        let id = format!("{:016x}", rand::random::<u64>());
        let run = Run { id, mode: Mode::Query, code, options: Value::Map(vec![]), last_status: None };
        self.caller.registry.execute(&self.caller.session, run).await.map(drop)
    }

    /// Hears what befalls the session.
    async fn watch(&self) -> End {
        let Caller { registry, session, .. } = &self.caller;
        let mut bell = registry.bell(session.id);
        let mut seen = EventId::default();
        loop {
            bell.rung().await;
            // Without Redis, the end of the kernel's connections tells the same a little later.
            for event in registry.events_since(session.id, seen).await.unwrap_or_default() {
                seen = event.id;
                match event.change {
                    Change::Terminated => return Some(ended(&event.reason)),
                    Change::Restarted => self.moved.notify_one(),
                }
            }
        }
    }

    /// Keeps a way to the kernel, and carries keys and output.
    async fn relay(&self) -> End {
        let (mut patience, mut fickle) = (FIND_TIME, Fickle::default());
        loop {
            let mut way = match Box::pin(self.find(patience)).await {
                Ok(way) => way,
                Err(end) => return end,
            };
            self.keys.settle();
            patience = FIND_AGAIN_TIME;
            let made = Instant::now();
            match self.carry(&mut way).await {
                Lost::End(end) => return end,
                Lost::Moved => {}
                Lost::Broken(error) => {
                    tracing::debug!(%error, session = %self.caller.session.id, "a terminal was lost");
                    if fickle.ended(made, Instant::now()) {
                        let why = "the terminal ends each connection at once: it may have too many viewers";
                        return Some(Close::new(Code::TryLater, why));
                    }
                    engine::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Finds the terminal, which may be about to begin.
    async fn find(&self, patience: Duration) -> Result<Way, End> {
        let began = Instant::now();
        loop {
            let standing = self.caller.registry.standing(&self.caller.session).await;
            let (trouble, patience) = match standing {
                Ok(Standing::Ended(why)) => return Err(Some(ended(&why))),
                Ok(Standing::Restarts) => ("the kernel does not come back".to_owned(), RESTART_TIME),
                Ok(Standing::Runs(row)) => match self.try_row(&row).await? {
                    Ok(way) => return Ok(way),
                    Err(error) => (format!("the terminal cannot be reached: {error}"), patience),
                },
                Err(error) => {
                    tracing::debug!(%error, "a terminal's place could not be looked up");
                    ("the terminal's place cannot be looked up".into(), FIND_AGAIN_TIME)
                }
            };
            if began.elapsed() >= patience {
                return Err(Some(Close::new(Code::Failed, trouble)));
            }
            engine::sleep(LOOK_EVERY).await;
        }
    }

    async fn try_row(&self, row: &TerminalRow) -> Result<Result<Way, LinkError>, End> {
        let at = ports_of(row, self.place.kernel_host());
        let at = at.ok_or_else(|| Some(Close::new(Code::Policy, "the session has no terminal")))?;
        Ok(kernel::connect(&at).await.map(|(input, output)| Way { at, input, output }))
    }

    /// Carries keys and output until the way is lost.
    async fn carry(&self, way: &mut Way) -> Lost {
        let Way { at, input, output } = way;
        tokio::select! {
            lost = self.carry_output(output) => lost,
            lost = self.carry_keys(input) => lost,
            () = self.has_moved(at) => Lost::Moved,
        }
    }

    async fn carry_keys(&self, input: &mut Input) -> Lost {
        loop {
            if let Err(error) = input.send(&self.keys.next().await).await {
                return Lost::Broken(error.into());
            }
        }
    }

    /// Sends output, errors and pings to the client, as fast as it takes them.
    async fn carry_output(&self, output: &mut Output) -> Lost {
        let mut errors = self.errors.lock().await;
        let mut ping = engine::sleep(self.until_ping());
        loop {
            let sent = tokio::select! {
                piece = output.next() => match piece {
                    Ok(bytes) => self.send_output(&bytes).await,
                    Err(error) => return Lost::Broken(error),
                },
                Some(error) = errors.recv() => self.socket.send(message::error(&error)).await,
                () = &mut ping => {
                    self.pinged.set(Instant::now());
                    ping = engine::sleep(PING_EVERY);
                    self.socket.ping().await
                }
            };
            if sent == Err(Gone) {
                return Lost::End(None);
            }
        }
    }

    fn until_ping(&self) -> Duration {
        PING_EVERY.saturating_sub(self.pinged.get().elapsed())
    }

    async fn send_output(&self, bytes: &[u8]) -> Result<(), Gone> {
        for piece in bytes.chunks(PIECE) {
            self.socket.send(message::output(piece)).await?;
        }
        // Where neither end ever makes us wait, the worker's other tasks would.
        self.sent.set(self.sent.get().wrapping_add(1));
        if self.sent.get().is_multiple_of(SENDS_A_TURN) {
            engine::yield_now().await;
        }
        Ok(())
    }

    /// Waits until the kernel was restarted and its terminal is elsewhere since.
    async fn has_moved(&self, from: &kernel::Ports) {
        loop {
            self.moved.notified().await;
            match Box::pin(self.caller.registry.standing(&self.caller.session)).await {
                Ok(Standing::Runs(row)) if ports_of(&row, self.place.kernel_host()).as_ref() == Some(from) => {
                    self.keys.settle()
                }
                _ => return,
            }
        }
    }
}

/// Where the row says that the terminal is; `host` stands in for the host that it names.
fn ports_of(row: &TerminalRow, host: Option<&str>) -> Option<kernel::Ports> {
    let agent: Option<HostPort> = row.agent_addr.strip_prefix("tcp://").and_then(|addr| addr.parse().ok());
    let named = row.kernel_host.as_deref().filter(|host| !host.is_empty());
    let host = host.or(named).map(str::to_owned).or(agent.map(|agent| agent.host))?;
    let port = |number: i32| u16::try_from(number).ok().filter(|port| *port > 0);
    let at = |number: i32| Some(HostPort { host: host.clone(), port: port(number)? });
    Some(kernel::Ports { input: at(row.stdin_port)?, output: at(row.stdout_port)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel_host: Option<&str>, stdin_port: i32, stdout_port: i32) -> TerminalRow {
        TerminalRow {
            status: "RUNNING".into(),
            status_info: None,
            agent_addr: "tcp://10.0.0.3:6001".into(),
            kernel_host: kernel_host.map(str::to_owned),
            stdin_port,
            stdout_port,
        }
    }

    #[test]
    fn the_terminal_is_where_operator_kernel_or_agent_say_in_this_order() {
        let host = |kernel_host, wanted| ports_of(&row(kernel_host, 30129, 30128), wanted).unwrap().output.host;
        assert_eq!(host(None, None), "10.0.0.3");
        assert_eq!(host(Some(""), None), "10.0.0.3");
        assert_eq!(host(Some("node-7"), None), "node-7");
        assert_eq!(host(Some("node-7"), Some("192.0.2.1")), "192.0.2.1");
        let at = ports_of(&row(None, 30129, 30128), None).unwrap();
        assert_eq!((at.input.port, at.output.port), (30129, 30128));
    }

    #[test]
    fn a_kernel_without_ports_has_no_terminal() {
        for (stdin, stdout) in [(0, 0), (30129, 0), (0, 30128), (-1, 30128), (70000, 30128)] {
            assert_eq!(ports_of(&row(None, stdin, stdout), None), None);
        }
    }
}
