//! What the view knows and what keys change: no terminal, no network, no clock of its own.

use std::time::Instant;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    cluster::{Cluster, Order, Span, Window},
    rates::{Rate, rates},
};
use crate::{cli::gateway::Report, telemetry::WorkerReport};

/// What the next report of the workers is compared with, and when it was taken.
pub type Before = Option<(Instant, Vec<WorkerReport>)>;

/// The parts of the screen.
pub const PANES: usize = 3;
/// The workers' part.
pub const WORKERS: usize = 0;
/// The agents' part.
pub const AGENTS: usize = 1;
/// The sessions' part.
pub const SESSIONS: usize = 2;

/// What one of the two sources said last.
#[derive(Clone, Debug)]
pub enum Heard<T> {
    /// Nothing yet.
    Waiting,
    /// An answer.
    Answer(T),
    /// Why there is none.
    Away(String),
}

/// What is shown.
#[derive(Clone, Debug)]
pub struct Data {
    /// Of the gateway: the stores that it misses, and its workers.
    pub gateway: Heard<(Vec<String>, Vec<Rate>)>,
    /// Of the database.
    pub cluster: Heard<Cluster>,
}

/// News for the view.
#[derive(Debug)]
pub enum News {
    /// What the gateway answered, and when.
    Gateway(Instant, Result<Report, String>),
    /// What the database answered.
    Cluster(Result<Cluster, String>),
}

/// How workers are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerOrder {
    /// By slot.
    #[default]
    Slot,
    /// Most requests a second first.
    Requests,
    /// Slowest first.
    Latency,
    /// Busiest first.
    Cpu,
    /// Largest first.
    Memory,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To go on.
    Stay,
    /// To end.
    Quit,
}

/// The state of the view.
#[derive(Debug)]
pub struct Model {
    /// The cluster's name.
    pub namespace: String,
    /// Where the gateway is asked.
    pub gateway: String,
    /// What is shown; while paused, what was shown when it began.
    pub shown: Data,
    latest: Data,
    before: Before,
    /// Whether what is shown stays as it is.
    pub paused: bool,
    /// Whether the keys are explained instead.
    pub help: bool,
    /// The pane that keys scroll.
    pub focus: usize,
    /// Rows above the first that is shown, for each pane.
    pub skip: [usize; PANES],
    /// Rows that there are and rows that there is room for, for each pane, as last drawn.
    pub seen: [(usize, usize); PANES],
    /// Lines of the screen: no pane shows more rows.
    pub lines: usize,
    /// How workers are sorted.
    pub worker_order: WorkerOrder,
    /// How sessions are sorted.
    pub order: Order,
}

// === impl Model ===

impl Model {
    /// Before anything is known.
    pub fn new(namespace: String, gateway: String) -> Model {
        let nothing = Data { gateway: Heard::Waiting, cluster: Heard::Waiting };
        Model {
            namespace,
            gateway,
            shown: nothing.clone(),
            latest: nothing,
            before: None,
            paused: false,
            help: false,
            focus: WORKERS,
            skip: [0; PANES],
            seen: [(0, 0); PANES],
            lines: 0,
            worker_order: WorkerOrder::Slot,
            order: Order::Newest,
        }
    }

    /// Takes news.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Gateway(at, Ok(report)) => {
                let (then, old) = self.before.take().unwrap_or((at, Vec::new()));
                let rates = rates(&old, at.saturating_duration_since(then), &report.workers);
                self.before = Some((at, report.workers));
                self.latest.gateway = Heard::Answer((report.missing, rates));
            }
            // The next report's rates are over the whole time that it was away, which is as true.
            News::Gateway(_, Err(why)) => self.latest.gateway = Heard::Away(why),
            News::Cluster(Ok(cluster)) => {
                // Whoever scrolls while it is paused wants to see the rows that come.
                let moved = matches!(&self.shown.cluster, Heard::Answer(old) if old.window != cluster.window);
                self.latest.cluster = Heard::Answer(cluster);
                if self.paused && moved {
                    self.shown.cluster = self.latest.cluster.clone();
                }
            }
            News::Cluster(Err(why)) => self.latest.cluster = Heard::Away(why),
        }
        if !self.paused {
            self.shown = self.latest.clone();
        }
    }

    /// Does what a key asks for.
    pub fn press(&mut self, key: KeyEvent) -> Flow {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Flow::Quit } else { Flow::Stay };
        }
        match key.code {
            KeyCode::Char('q') => return Flow::Quit,
            // Any key leaves the help.
            _ if self.help => self.help = false,
            KeyCode::Esc => return Flow::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('s') => self.sort(),
            KeyCode::Tab => self.focus = (self.focus + 1) % PANES,
            KeyCode::BackTab => self.focus = (self.focus + PANES - 1) % PANES,
            KeyCode::Down | KeyCode::Char('j') => self.scroll(|skip, _| skip.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(|skip, _| skip.saturating_sub(1)),
            KeyCode::PageDown => self.scroll(|skip, room| skip.saturating_add(room)),
            KeyCode::PageUp => self.scroll(|skip, room| skip.saturating_sub(room)),
            KeyCode::Home | KeyCode::Char('g') => self.scroll(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.scroll(|_, _| usize::MAX),
            _ => {}
        }
        Flow::Stay
    }

    /// Notes how many rows a pane has and how many there is room for, and keeps what is scrolled within them.
    /// Gives the rows to show.
    pub fn see(&mut self, pane: usize, rows: usize, room: usize) -> Span {
        let (Some(seen), Some(skip)) = (self.seen.get_mut(pane), self.skip.get_mut(pane)) else {
            return Span::default();
        };
        *seen = (rows, room);
        *skip = (*skip).min(rows.saturating_sub(room));
        Span { skip: *skip, count: room.min(rows - *skip) }
    }

    /// What is to be read of the database for what is drawn.
    pub fn window(&self) -> Window {
        let [_, agents, sessions] = self.skip;
        let span = |skip| Span { skip, count: self.lines };
        Window { agents: span(agents), sessions: span(sessions), order: self.order }
    }

    /// The workers as they are sorted.
    pub fn workers(&self) -> Vec<&Rate> {
        let Heard::Answer((_, rates)) = &self.shown.gateway else { return Vec::new() };
        let mut sorted: Vec<&Rate> = rates.iter().collect();
        let order = self.worker_order;
        // The sort is stable: those alike stay by slot.
        sorted.sort_by(|a, b| order.weight(b).total_cmp(&order.weight(a)));
        sorted
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            self.shown = self.latest.clone();
        }
    }

    fn sort(&mut self) {
        match self.focus {
            WORKERS => self.worker_order = self.worker_order.next(),
            SESSIONS => self.order = self.order.next(),
            _ => return,
        }
        self.scroll(|_, _| 0);
    }

    /// Moves the focused pane to where `to` says, from the rows above and the room; not beyond its last row.
    fn scroll(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        if let (Some(skip), Some((rows, room))) = (self.skip.get_mut(self.focus), self.seen.get(self.focus)) {
            *skip = to(*skip, *room).min(rows.saturating_sub(*room));
        }
    }
}

// === impl WorkerOrder ===

impl WorkerOrder {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            WorkerOrder::Slot => "slot",
            WorkerOrder::Requests => "requests",
            WorkerOrder::Latency => "p99",
            WorkerOrder::Cpu => "CPU",
            WorkerOrder::Memory => "memory",
        }
    }

    fn next(self) -> WorkerOrder {
        match self {
            WorkerOrder::Slot => WorkerOrder::Requests,
            WorkerOrder::Requests => WorkerOrder::Latency,
            WorkerOrder::Latency => WorkerOrder::Cpu,
            WorkerOrder::Cpu => WorkerOrder::Memory,
            WorkerOrder::Memory => WorkerOrder::Slot,
        }
    }

    /// What is first is heavier.
    fn weight(self, rate: &Rate) -> f64 {
        let done = rate.done.as_ref();
        match self {
            WorkerOrder::Slot => -(rate.now.slot as f64),
            WorkerOrder::Requests => done.map_or(-1.0, |it| it.requests),
            WorkerOrder::Latency => done.and_then(|it| it.quantile(0.99)).map_or(-1.0, |it| it as f64),
            WorkerOrder::Cpu => done.map_or(-1.0, |it| it.cpu),
            WorkerOrder::Memory => rate.now.resident_bytes as f64,
        }
    }
}
