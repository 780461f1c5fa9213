//! Events on their way to a gateway: any that lives, the one that etcd names for all first. They wait
//! while none does; one whose connection breaks while it is sent is sent again to the next.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, time::Duration};

use backendai::{
    config::HostPort,
    wire::{
        event::{Event, EventKind},
        zmtp::{Limits, Session, SocketType},
    },
};
use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
};

use crate::{etcd::Targets, rpc::shake_hands};

/// Most events that wait; beyond, the oldest go.
const WAITING_LIMIT: usize = 4096;
/// How long connecting and shaking hands may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The shortest and longest pause after no gateway could be reached.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where events are put; clones are the same queue.
#[derive(Clone)]
pub struct Events {
    queue: Rc<Queue>,
}

struct Queue {
    agent: String,
    waiting: RefCell<VecDeque<[Vec<u8>; 3]>>,
    changed: Notify,
}

// === impl Events ===

impl Events {
    /// A queue of this agent's events.
    pub fn new(agent: &str) -> Events {
        let queue = Queue { agent: agent.to_owned(), waiting: RefCell::default(), changed: Notify::new() };
        Events { queue: Rc::new(queue) }
    }

    /// Queues an event.
    pub fn send(&self, kind: EventKind) {
        let event = Event { agent: self.queue.agent.clone(), kind };
        let mut waiting = self.queue.waiting.borrow_mut();
        if waiting.len() >= WAITING_LIMIT {
            waiting.pop_front();
        }
        waiting.push_back(event.frames());
        self.queue.changed.notify_waiters();
    }

    /// Waits until all was handed to a connection.
    pub async fn flushed(&self) {
        loop {
            let changed = self.queue.changed.notified();
            if self.queue.waiting.borrow().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Sends what is queued, for ever.
    pub async fn run(self, mut targets: watch::Receiver<Targets>) {
        let mut pause = PAUSES.0;
        loop {
            let order = in_order(&targets.borrow_and_update());
            for target in order {
                match self.serve(&target, &mut targets).await {
                    Ok(()) => pause = PAUSES.0,
                    Err(error) => tracing::debug!(gateway = %target, %error, "events cannot be sent there"),
                }
            }
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            pause = (pause * 2).min(PAUSES.1);
            let _ = tokio::time::timeout(jittered, targets.changed()).await; // a new gateway cuts it short
        }
    }

    /// Sends to one gateway until that fails or etcd no longer names it. An error: it was not reached.
    async fn serve(&self, target: &HostPort, targets: &mut watch::Receiver<Targets>) -> io::Result<()> {
        let connecting = connect(target);
        let (mut stream, mut session) = tokio::time::timeout(CONNECT_WITHIN, connecting).await??;
        tracing::info!(gateway = %target, "events go there");
        while targets.borrow().values().any(|known| known == target) {
            let changed = self.queue.changed.notified();
            let next = self.queue.waiting.borrow().front().cloned();
            if let Some(frames) = next {
                session.send(&frames);
                if stream.write_all_buf(session.output()).await.is_err() {
                    return Ok(());
                }
                self.queue.waiting.borrow_mut().pop_front();
                self.queue.changed.notify_waiters();
                continue;
            }
            tokio::select! {
                () = changed => {}
                _ = targets.changed() => {}
                read = stream.read_buf(session.input()) => {
                    let alive = read.is_ok_and(|read| read > 0) && drain(&mut session);
                    if !alive || stream.write_all_buf(session.output()).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Takes what the gateway sent: PINGs, which the session answers. False if it makes no sense.
fn drain(session: &mut Session) -> bool {
    loop {
        match session.next_event() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

async fn connect(target: &HostPort) -> io::Result<(TcpStream, Session)> {
    let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    let mut session = Session::new(SocketType::Push, b"", Limits::EVENTS);
    shake_hands(&mut session, &mut stream).await?;
    Ok((stream, session))
}

/// The address that is everyone's first, then the gateways' own, each once.
fn in_order(targets: &Targets) -> Vec<HostPort> {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for (name, address) in targets {
        if name.starts_with("nodes/gateways/") { &mut own } else { &mut shared }.push(address.clone());
    }
    for address in own {
        if !shared.contains(&address) {
            shared.push(address);
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_address_is_tried_first_and_none_twice() {
        let address = |port: u16| HostPort { host: "h".into(), port };
        let targets = Targets::from([
            ("nodes/gateways/a".to_owned(), address(2)),
            ("nodes/gateways/b".to_owned(), address(1)),
            ("nodes/manager/event_addr".to_owned(), address(1)),
        ]);
        assert_eq!(in_order(&targets), [address(1), address(2)]);
    }
}
