//! `top`: workers, agents and sessions, live in the terminal.
//!
//! Two pollers bring news, the [`model`] takes news and keys, the [`view`] makes lines of it, and only this file and
//! [`terminal`] know that there is a terminal. Everything runs in one task, so that a panic anywhere ends the view
//! and gives the terminal back.

mod cluster;
mod columns;
mod layout;
mod model;
mod panes;
mod poll;
mod rates;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use jiff::Timestamp;
use ratatui::widgets::Paragraph;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::sleep,
};

use self::{
    cluster::{Span, Window},
    model::{Flow, Model, News},
    view::{Paper, draw},
};
use super::{CliError, Out, gateway::Gateway, screen::styled};
use crate::config::Connections;

/// The width of a frame that goes to no terminal.
const TEXT_WIDTH: usize = 120;

/// How many agents and how many sessions it has at most.
const TEXT_ROWS: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gateway: Gateway,
    /// How often to look, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Print one frame as text and end
    #[arg(long)]
    once: bool,
}

pub async fn run(args: &Args, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let model = Model::new(to.namespace.clone(), args.gateway.addr().to_string());
    match args.once {
        true => once(args, to, model, out).await,
        false if out.screen().is_none() => Err(CliError::NoTerminal),
        false => live(args, to, model).await,
    }
}

/// One frame: two looks at the workers, since one tells no rates.
async fn once(args: &Args, to: &Connections, mut model: Model, out: Out<'_>) -> Result<(), CliError> {
    let first = args.gateway.report().await.map_err(|it| it.to_string());
    model.hear(News::Gateway(Instant::now(), first));
    sleep(args.interval).await;
    let second = args.gateway.report().await.map_err(|it| it.to_string());
    model.hear(News::Gateway(Instant::now(), second));
    let rows = Span { skip: 0, count: TEXT_ROWS };
    let window = Window { agents: rows, sessions: rows, ..Window::default() };
    let cluster = poll::within(to, poll::look(to, &mut None, window)).await;
    model.hear(News::Cluster(cluster.map_err(|it| it.to_string())));
    let width = out.screen().and_then(|it| it.width).unwrap_or(TEXT_WIDTH);
    let paper = Paper { width, height: TEXT_ROWS, colours: false, live: false };
    for line in draw(&mut model, Timestamp::now(), paper) {
        writeln!(out, "{}", line.to_string().trim_end())?;
    }
    Ok(())
}

async fn live(args: &Args, to: &Connections, model: Model) -> Result<(), CliError> {
    let (sender, news) = mpsc::channel(8);
    let (window, wanted) = watch::channel(Window::default());
    let gateway = poll::gateway(args.gateway, args.interval, sender.clone());
    let database = poll::database(to.clone(), args.interval, wanted, sender);
    let show = show(model, news, window);
    tokio::pin!(show);
    tokio::select! {
        ended = &mut show => ended,
        // They end only when nobody listens.
        _ = async { tokio::join!(gateway, database) } => show.await,
    }
}

/// Draws after each news and key until it is told to end.
async fn show(mut model: Model, mut news: mpsc::Receiver<News>, window: watch::Sender<Window>) -> Result<(), CliError> {
    let (mut term, mut hangup, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::hangup())?, on(SignalKind::interrupt())?);
    let colours = styled();
    let mut screen = terminal::Screen::take()?;
    let mut keys = EventStream::new();
    loop {
        screen.terminal.draw(|frame| {
            let area = frame.area();
            let paper = Paper { width: area.width.into(), height: area.height.into(), colours, live: true };
            let lines = draw(&mut model, Timestamp::now(), paper);
            frame.render_widget(Paragraph::new(lines), area);
        })?;
        let wanted = model.window();
        window.send_if_modified(|window| std::mem::replace(window, wanted) != wanted);
        tokio::select! {
            Some(news) = news.recv() => model.hear(news),
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if model.press(key) == Flow::Quit {
                        return Ok(());
                    }
                }
                // A new size is drawn at once; other events change nothing.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            _ = term.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

fn on(kind: SignalKind) -> Result<Signal, CliError> {
    Ok(signal(kind)?)
}

/// Seconds, from a tenth to an hour.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|it| (0.1..=3600.0).contains(it));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "not a number of seconds from 0.1 to 3600".to_owned())
}
