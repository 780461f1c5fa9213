//! The runner's end of the Unix socket to the agent: one connection at a time, told first where the
//! kernel stands. What was not sent when a connection ends waits for the next one.

use std::{io, rc::Rc};

use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use super::runner::Runner;
use crate::kernel::frames::{self, FromRunner};

/// Serves agents: with `keep` one after the other, else until the first is gone.
///
/// # Errors
/// Connections cannot be accepted.
pub async fn serve(
    listener: UnixListener,
    ports: [u16; 2],
    runner: &Rc<Runner>,
    mut outbox: mpsc::Receiver<FromRunner>,
    keep: bool,
) -> io::Result<()> {
    let mut unsent = None;
    loop {
        let (stream, _) = listener.accept().await?;
        let (read, mut write) = stream.into_split();
        if write.write_all(&frames::encode(&runner.hello(ports))).await.is_ok() {
            tokio::select! {
                () = receive(read, runner) => {}
                () = send(write, &mut outbox, &mut unsent) => {}
            }
        }
        if !keep {
            return Ok(());
        }
    }
}

async fn receive(mut link: OwnedReadHalf, runner: &Rc<Runner>) {
    while let Ok(frame) = frames::read(&mut link).await {
        runner.on_frame(frame);
    }
}

/// Sends until the connection ends; the frame that it ended in is left in `unsent`.
async fn send(mut link: OwnedWriteHalf, outbox: &mut mpsc::Receiver<FromRunner>, unsent: &mut Option<FromRunner>) {
    loop {
        if unsent.is_none() {
            *unsent = outbox.recv().await;
        }
        let Some(frame) = unsent else { return };
        if link.write_all(&frames::encode(frame)).await.is_err() {
            return;
        }
        *unsent = None;
    }
}
