//! The screen as lines: a pure function of the model, the clock and the size. No line is wider than the screen.

use jiff::Timestamp;
use ratatui::{
    style::{Color, Modifier, Style},
    text::Line,
};

use super::{
    columns::{fit, line},
    layout::{FRAME, share},
    model::{AGENTS, Data, Heard, Model, PANES, SESSIONS, WORKERS},
    panes::{COLUMNS, Cells, Mood, agent, agents_title, session, worker, workers_title},
};
use crate::cli::width::{cut, pad, width};

/// How large the screen is, and what it can show.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// Columns.
    pub width: usize,
    /// Lines; of what is not a screen, how many agents and sessions at most.
    pub height: usize,
    /// Whether there are colours.
    pub colours: bool,
    /// Whether it is a screen, where keys do something and lines have an end.
    pub live: bool,
}

/// Lines of the head.
pub const HEAD: usize = 2;

const KEYS: [(&str, &str); 8] = [
    ("q, Esc, Ctrl-C", "end"),
    ("Tab", "go to the next pane"),
    ("Down, j", "scroll down in the pane"),
    ("Up, k", "scroll up"),
    ("PageDown, PageUp", "scroll by a page"),
    ("Home, End", "go to the first, the last"),
    ("s", "sort workers or sessions by something else"),
    ("p", "pause, go on"),
];

/// Draws; notes in the model what there was room for.
pub fn draw(model: &mut Model, now: Timestamp, paper: Paper) -> Vec<Line<'static>> {
    model.lines = paper.height;
    let mut lines = head(model, now, paper);
    let foot = usize::from(paper.live);
    match model.help {
        true => lines.extend(help(paper)),
        false => lines.extend(panes(model, paper.height.saturating_sub(HEAD + foot), paper)),
    }
    if paper.live {
        lines.resize(paper.height.saturating_sub(foot), Line::default());
        lines.push(footer(model, paper));
    }
    lines
}

fn head(model: &Model, now: Timestamp, paper: Paper) -> Vec<Line<'static>> {
    let time = now.strftime("%H:%M:%S UTC").to_string();
    let names = [format!("Backend.AI {}", model.namespace), format!("gateway {}", model.gateway)];
    let left = joined(&names, paper.width.saturating_sub(width(&time) + 2), "  ");
    let top = format!("{}{time}", pad(&left, paper.width.saturating_sub(width(&time))));
    let (text, mood) = match &model.shown.gateway {
        Heard::Waiting => ("the gateway has not answered yet".to_owned(), Mood::Changing),
        Heard::Away(why) => (why.clone(), Mood::Bad),
        Heard::Answer((missing, _)) if missing.is_empty() => ("stores: all up".to_owned(), Mood::Well),
        Heard::Answer((missing, _)) => (format!("stores missing: {}", missing.join(", ")), Mood::Bad),
    };
    let text = if model.paused { format!("PAUSED  {text}") } else { text };
    vec![strong(cut(&top, paper.width)), Line::styled(cut(&text, paper.width), style(mood, paper))]
}

fn panes(model: &mut Model, height: usize, paper: Paper) -> Vec<Line<'static>> {
    let workers: Vec<Cells> = model.workers().into_iter().map(worker).collect();
    let (agents, sessions) = match &model.shown.cluster {
        Heard::Answer(cluster) => (cluster.sums.agents, cluster.live),
        _ => (0, 0),
    };
    let wanted = [workers.len(), agents, sessions];
    let given = if paper.live { share(height, wanted, model.focus) } else { whole(model, wanted) };
    let mut lines = Vec::new();
    for (pane, (rows, room)) in wanted.into_iter().zip(given).enumerate() {
        let Some(room) = room else { continue };
        let span = model.see(pane, rows, room);
        let data = &model.shown;
        let (cells, problem) = match pane {
            WORKERS => (workers.iter().skip(span.skip).take(span.count).map(copy).collect(), waiting(&data.gateway)),
            _ => (of_cluster(data, pane, span.skip, span.count), waiting(&data.cluster)),
        };
        let title = title(model, pane, (span.skip, cells.len(), rows), paper);
        let body = body(pane, &cells, problem, paper);
        lines.push(title);
        lines.extend(body.into_iter().take(room + FRAME - 1));
    }
    lines
}

/// Room for all that was read, where lines cost nothing.
fn whole(model: &Model, [workers, ..]: [usize; PANES]) -> [Option<usize>; PANES] {
    let read = match &model.shown.cluster {
        Heard::Answer(cluster) => [cluster.agents.len(), cluster.sessions.len()],
        _ => [0, 0],
    };
    let [agents, sessions] = read;
    [workers, agents, sessions].map(|rows| Some(rows.max(1)))
}

fn copy(cells: &Cells) -> Cells {
    Cells { cells: cells.cells.clone(), mood: cells.mood }
}

/// The rows of agents or sessions that are to be shown and that have been read. Those that were scrolled to are read
/// meanwhile.
fn of_cluster(data: &Data, pane: usize, skip: usize, count: usize) -> Vec<Cells> {
    let Heard::Answer(cluster) = &data.cluster else { return Vec::new() };
    let (read, cells): (usize, Vec<Cells>) = match pane {
        AGENTS => (cluster.window.agents.skip, cluster.agents.iter().map(agent).collect()),
        _ => (cluster.window.sessions.skip, cluster.sessions.iter().map(session).collect()),
    };
    let there = (read..).zip(cells).filter(|(at, _)| *at >= skip && *at < skip + count);
    there.map(|it| it.1).collect()
}

/// What to say where there are no rows, as nobody gave any.
fn waiting<T>(heard: &Heard<T>) -> Option<(String, Mood)> {
    match heard {
        Heard::Waiting => Some(("waiting for the first answer".to_owned(), Mood::Changing)),
        Heard::Away(why) => Some((why.clone(), Mood::Bad)),
        Heard::Answer(_) => None,
    }
}

/// A pane's name, what is shown of how many, and its sums as far as there is room.
fn title(model: &Model, pane: usize, (skip, shown, rows): (usize, usize, usize), paper: Paper) -> Line<'static> {
    let name = ["Workers", "Agents", "Sessions"].get(pane).copied().unwrap_or_default();
    let mark = if paper.live && model.focus == pane { "▸" } else { " " };
    // None is there where one was scrolled to rows that are still being read.
    let part =
        if (1..rows).contains(&shown) { format!("{}-{} of {rows}", skip + 1, skip + shown) } else { rows.to_string() };
    let mut parts = vec![format!("{mark}{name} {part}")];
    match (pane, &model.shown.gateway, &model.shown.cluster) {
        (WORKERS, Heard::Answer((_, rates)), _) => parts.extend(workers_title(rates)),
        (AGENTS, _, Heard::Answer(cluster)) => parts.extend(agents_title(cluster)),
        (SESSIONS, _, Heard::Answer(_)) => parts.push(model.order.name().to_owned()),
        // Without an answer it is not known how many there are.
        _ => parts = vec![format!("{mark}{name}")],
    }
    let text = joined(&parts, paper.width, " · ");
    let rule = "─".repeat(paper.width.saturating_sub(width(&text) + 1));
    strong(format!("{text} {rule}").trim_end().to_owned())
}

fn body(pane: usize, rows: &[Cells], problem: Option<(String, Mood)>, paper: Paper) -> Vec<Line<'static>> {
    if let Some((text, mood)) = problem {
        return vec![Line::styled(cut(&format!("  {text}"), paper.width), style(mood, paper))];
    }
    let columns = COLUMNS.get(pane).copied().unwrap_or_default();
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells.clone()).collect();
    let widths = fit(columns, &cells, paper.width.saturating_sub(1));
    let heads = format!(" {}", line(columns, &widths, columns.iter().map(|it| it.head)));
    let mut lines = vec![Line::raw(heads)];
    for row in rows {
        let text = format!(" {}", line(columns, &widths, row.cells.iter().map(String::as_str)));
        lines.push(Line::styled(text, style(row.mood, paper)));
    }
    lines
}

fn footer(model: &Model, paper: Paper) -> Line<'static> {
    let sort = match model.focus {
        WORKERS => format!("s sort: {}", model.worker_order.name()),
        SESSIONS => format!("s sort: {}", model.order.name()),
        _ => String::new(),
    };
    let pause = if model.paused { "p go on" } else { "p pause" };
    let parts = ["q quit", "? help", "Tab pane", pause, &sort, "↑↓ scroll"].map(str::to_owned);
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    Line::styled(joined(&parts, paper.width, "  "), Style::new().add_modifier(Modifier::DIM))
}

fn help(paper: Paper) -> Vec<Line<'static>> {
    let lines = KEYS.iter().map(|(keys, what)| format!("  {}  {what}", pad(keys, 16)));
    let note = ["", "  Rates and latencies are those of the time between two looks.", "  Any key leaves this."];
    let all = std::iter::once(String::new()).chain(lines).chain(note.map(str::to_owned));
    all.map(|text| Line::raw(cut(&text, paper.width))).collect()
}

/// As many of the parts as there is room for, at least the first.
fn joined(parts: &[String], room: usize, between: &str) -> String {
    let mut text = String::new();
    for part in parts {
        if text.is_empty() {
            text = cut(part, room);
        } else if width(&text) + width(between) + width(part) <= room {
            text = format!("{text}{between}{part}");
        } else {
            break;
        }
    }
    text
}

fn strong(text: String) -> Line<'static> {
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

/// Without colours, what is bad is bold: a reader of black and white should find it too.
fn style(mood: Mood, paper: Paper) -> Style {
    match (mood, paper.colours) {
        (Mood::Well, _) | (Mood::Changing, false) => Style::new(),
        (Mood::Changing, true) => Style::new().fg(Color::Yellow),
        (Mood::Bad, true) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        (Mood::Bad, false) => Style::new().add_modifier(Modifier::BOLD),
    }
}
