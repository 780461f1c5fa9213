//! The view as it stands on screens of several sizes, drawn by ratatui on a terminal in memory.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};

use super::{
    cluster::{Agent, Cluster, Order, Session, Slots, Sums},
    model::{SESSIONS, WORKERS},
    rates::tests::worker,
    *,
};
use crate::{cli::gateway::Report, telemetry::WorkerReport};

fn report(workers: Vec<WorkerReport>, missing: &[&str]) -> Report {
    Report { ready: missing.is_empty(), missing: missing.iter().map(|it| (*it).to_owned()).collect(), workers }
}

/// What a database with that many agents and sessions answers for a window.
fn cluster(agents: usize, live: usize, window: Window) -> Cluster {
    let within = |span: Span, all: usize| (0..all).skip(span.skip).take(span.count);
    let agent = |n: usize| Agent {
        id: format!("i-node-{n:02}"),
        status: if n == 1 { "LOST" } else { "ALIVE" }.to_owned(),
        cordoned: n == 2,
        slots: Slots { cpu: (2.5, 64.0), mem: (3072.0, 262_144.0), gpu: (0.5, 2.0) },
        sessions: 3,
    };
    let session = |n: usize| Session {
        name: format!("job-{n:03}-of-a-long-night"),
        key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        image: "python:3.6-debian".to_owned(),
        status: "RUNNING".to_owned(),
        agent: "i-node-00".to_owned(),
        age: Duration::from_secs(7500),
        queries: 1234,
    };
    Cluster {
        window,
        agents: within(window.agents, agents).map(agent).collect(),
        sums: Sums { agents, away: 1, cordoned: 1, slots: agent(0).slots },
        sessions: within(window.sessions, live).map(session).collect(),
        live,
    }
}

/// Two workers with 200 and 4 requests within half a second, three agents and forty sessions.
fn model() -> Model {
    let mut model = Model::new("local".to_owned(), "127.0.0.1:8081".to_owned());
    let start = Instant::now();
    let mut at = |millis, workers| {
        model.hear(News::Gateway(start + Duration::from_millis(millis), Ok(report(workers, &[]))));
    };
    at(0, vec![worker(0, 4242, 100, vec![0, 0]), worker(1, 4243, 100, vec![0, 0])]);
    at(500, vec![worker(0, 4242, 300, vec![200, 0]), worker(1, 4243, 104, vec![0, 4])]);
    model
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Draws, answers what the view then wants of the database, and draws again.
fn buffer(model: &mut Model, width: u16, height: u16, colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    for _ in 0..2 {
        terminal
            .draw(|frame| {
                let paper = Paper { width: width.into(), height: height.into(), colours, live: true };
                frame.render_widget(Paragraph::new(draw(model, NOW, paper)), frame.area());
            })
            .unwrap();
        model.hear(News::Cluster(Ok(cluster(3, 40, model.window()))));
    }
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content.chunks(buffer.area.width.into());
    let line = |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect::<String>();
    rows.map(|row| line(row).trim_end().to_owned()).collect()
}

fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    text(&buffer(model, width, height, false))
}

fn press(model: &mut Model, code: KeyCode) -> Flow {
    model.press(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn eighty_columns_and_twenty_four_lines_show_everything() {
    let shown = screen(&mut model(), 80, 24).join("\n");
    crate::golden::check("src/cli/top/80x24.txt", &format!("{shown}\n"));
}

#[test]
fn a_narrow_screen_has_fewer_columns_and_a_wide_one_all() {
    let shown = screen(&mut model(), 60, 15).join("\n");
    crate::golden::check("src/cli/top/60x15.txt", &format!("{shown}\n"));
    let shown = screen(&mut model(), 120, 40).join("\n");
    crate::golden::check("src/cli/top/120x40.txt", &format!("{shown}\n"));
}

proptest! {
    #[test]
    fn every_size_is_drawn_and_its_lines_end_within_the_screen(
        width in 1_usize..160,
        height in 1_usize..60,
        keys in prop::collection::vec(prop::sample::select(vec!['j', 'k', 's', 'p', '?', 'G', '\t']), 0..12),
    ) {
        let mut model = model();
        let paper = Paper { width, height, colours: true, live: true };
        for key in keys {
            press(&mut model, if key == '\t' { KeyCode::Tab } else { KeyCode::Char(key) });
            for line in draw(&mut model, NOW, paper) {
                prop_assert!(line.width() <= width, "{line:?}");
                // Of numbers and of sums no part is shown.
                let name = ["Workers", "Agents", "Sessions"].iter().any(|it| line.to_string().contains(it));
                prop_assert!(!name || !line.to_string().contains('…') || width < 24, "{line:?}");
            }
            model.hear(News::Cluster(Ok(cluster(3, 40, model.window()))));
        }
        prop_assert!(draw(&mut model, NOW, paper).len() <= height.max(HEAD_AND_FOOT), "too many lines");
    }
}

/// What a screen of less than these lines does not hold is cut off by the terminal.
const HEAD_AND_FOOT: usize = 6;

#[test]
fn without_colours_there_are_none_and_with_them_what_is_bad_is_red() {
    let coloured = |colours| {
        let buffer = buffer(&mut model(), 80, 24, colours);
        let plain = |cell: &&ratatui::buffer::Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
        buffer.content.iter().filter(plain).map(|cell| cell.symbol().to_owned()).collect::<String>()
    };
    assert_eq!(coloured(false), "");
    assert!(coloured(true).contains("i-node-01"), "the lost agent");
}

#[test]
fn what_is_away_is_said_and_comes_back() {
    let mut model = model();
    screen(&mut model, 80, 24);
    model.hear(News::Gateway(Instant::now(), Err("no gateway answers at 127.0.0.1:8081".to_owned())));
    model.hear(News::Cluster(Err("cannot reach PostgreSQL at db:5432".to_owned())));
    let paper = Paper { width: 80, height: 24, colours: false, live: true };
    let shown =
        |model: &mut Model| draw(model, NOW, paper).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let away = shown(&mut model);
    assert!(away.contains("no gateway answers") && away.contains("cannot reach PostgreSQL"), "{away}");
    assert!(!away.contains("4242") && !away.contains("job-000"), "nothing old is shown as if it were so: {away}");
    model.hear(News::Gateway(Instant::now(), Ok(report(vec![worker(0, 4242, 1, vec![1])], &["redis", "etcd"]))));
    let back = screen(&mut model, 80, 24).join("\n");
    assert!(
        back.contains("4242") && back.contains("stores missing: redis, etcd") && back.contains("job-000"),
        "{back}"
    );
}

#[test]
fn keys_scroll_the_pane_that_has_the_focus_and_not_beyond_its_end() {
    let mut model = model();
    screen(&mut model, 80, 24);
    press(&mut model, KeyCode::Char('j'));
    assert_eq!(model.skip, [0; 3], "both workers are there already");
    press(&mut model, KeyCode::BackTab);
    press(&mut model, KeyCode::Down);
    let shown = screen(&mut model, 80, 24).join("\n");
    assert!(shown.contains("▸Sessions 2-") && !shown.contains("job-000") && shown.contains("job-001"), "{shown}");
    press(&mut model, KeyCode::End);
    let shown = screen(&mut model, 80, 24).join("\n");
    assert!(shown.contains("of 40") && shown.contains("job-039") && shown.contains("-40 of 40"), "{shown}");
    // Where most have ended meanwhile, the last ones are shown.
    let window = Window { sessions: Span { skip: 0, count: 24 }, ..model.window() };
    model.hear(News::Cluster(Ok(cluster(3, 2, window))));
    let paper = Paper { width: 80, height: 24, colours: false, live: true };
    let shown: Vec<String> = draw(&mut model, NOW, paper).iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|line| line.starts_with("▸Sessions 2 ")) && model.skip == [0; 3], "{shown:?}");
}

#[test]
fn while_paused_nothing_changes_until_it_goes_on() {
    let mut model = model();
    screen(&mut model, 80, 24);
    press(&mut model, KeyCode::Char('p'));
    model.hear(News::Gateway(Instant::now(), Err("gone".to_owned())));
    assert!(screen(&mut model, 80, 24)[1].starts_with("PAUSED  stores: all up"));
    press(&mut model, KeyCode::Char('p'));
    assert!(screen(&mut model, 80, 24)[1].starts_with("gone"));
}

#[test]
fn s_sorts_the_focused_pane_by_something_else() {
    let mut model = model();
    let pids = |model: &Model| model.workers().iter().map(|it| it.now.pid).collect::<Vec<_>>();
    assert_eq!(pids(&model), [4242, 4243]);
    press(&mut model, KeyCode::Char('s'));
    press(&mut model, KeyCode::Char('s'));
    assert_eq!(pids(&model), [4243, 4242], "by p99");
    model.focus = SESSIONS;
    press(&mut model, KeyCode::Char('s'));
    assert_eq!((model.order, model.window().order), (Order::Name, Order::Name));
}

#[test]
fn q_escape_and_control_c_end_it_and_escape_leaves_the_help_first() {
    let mut model = model();
    assert_eq!(press(&mut model, KeyCode::Char('?')), Flow::Stay);
    assert!(screen(&mut model, 80, 24).join("\n").contains("go to the next pane"));
    assert_eq!(press(&mut model, KeyCode::Esc), Flow::Stay);
    assert!(!model.help);
    assert_eq!(press(&mut model, KeyCode::Esc), Flow::Quit);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Flow::Quit);
    assert_eq!(model.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Flow::Quit);
    assert_eq!(model.focus, WORKERS);
}

#[test]
fn an_interval_is_seconds_within_bounds() {
    assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
    for bad in ["0", "-1", "nan", "inf", "3601", "1s", ""] {
        assert!(interval(bad).is_err(), "{bad}");
    }
}
