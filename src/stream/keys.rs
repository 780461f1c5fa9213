//! Keys on their way to a kernel, and the restarts among them.
//!
//! Restarts are not in the queue of keys: a terminal that reads nothing has to be restarted without waiting for what
//! it does not read. Each key knows instead how many were ordered before it.

use std::cell::Cell;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify, mpsc};

/// Messages of keys that wait for the kernel.
const MOST: usize = 4;

/// What a client typed, for the kernel that it saw.
///
/// Keys that follow a restart wait for the kernel that comes; those that came before it and are still here were for
/// the kernel that went.
pub struct Keys {
    queue: mpsc::Sender<Key>,
    waiting: Mutex<Waiting>,
    ordered: Cell<u32>,
    carried_out: Cell<u32>,
    /// The number of the last that the kernel did.
    done: Cell<u32>,
    /// The way may still lead to the kernel before.
    unsettled: Cell<bool>,
    changed: Notify,
}

struct Key {
    bytes: Bytes,
    restarts_before: u32,
}

struct Waiting {
    queue: mpsc::Receiver<Key>,
    /// Taken out of the queue, and not given away yet.
    next: Option<Key>,
}

// === impl Keys ===

impl Keys {
    /// None typed.
    pub fn new() -> Self {
        let (queue, waiting) = mpsc::channel(MOST);
        Keys {
            queue,
            waiting: Mutex::new(Waiting { queue: waiting, next: None }),
            ordered: Cell::default(),
            carried_out: Cell::default(),
            done: Cell::default(),
            unsettled: Cell::default(),
            changed: Notify::new(),
        }
    }

    /// Takes keys of the client, as soon as there is room.
    pub async fn typed(&self, bytes: Bytes) {
        // The receiver lives as long as the sender.
        let _ = self.queue.send(Key { bytes, restarts_before: self.ordered.get() }).await;
    }

    /// The client orders a restart.
    pub fn restart_ordered(&self) {
        self.ordered.set(self.ordered.get().saturating_add(1));
    }

    /// The oldest restart that was ordered is carried out, or refused.
    pub fn restart_over(&self, done: bool) {
        self.carried_out.set(self.carried_out.get().saturating_add(1));
        if done {
            self.done.set(self.carried_out.get());
            self.unsettled.set(true);
        }
        self.changed.notify_one();
    }

    /// The way is known to lead to the kernel of now.
    pub fn settle(&self) {
        self.unsettled.set(false);
        self.changed.notify_one();
    }

    /// The next keys for the kernel of now. May be dropped and called again.
    pub async fn next(&self) -> Bytes {
        let mut waiting = self.waiting.lock().await;
        loop {
            if waiting.next.is_none() {
                waiting.next = waiting.queue.recv().await;
            }
            let after = waiting.next.as_ref().map_or(0, |key| key.restarts_before);
            while self.unsettled.get() || self.carried_out.get() < after {
                self.changed.notified().await;
            }
            if let Some(key) = waiting.next.take()
                && key.restarts_before >= self.done.get()
            {
                return key.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn type_in(keys: &Keys, typed: &'static str) {
        keys.typed(Bytes::from(typed)).now_or_never().unwrap();
    }

    fn next(keys: &Keys) -> Option<Bytes> {
        keys.next().now_or_never()
    }

    #[test]
    fn keys_pass_in_order() {
        let keys = Keys::new();
        type_in(&keys, "a");
        type_in(&keys, "b");
        assert_eq!((next(&keys).unwrap(), next(&keys).unwrap(), next(&keys)), ("a".into(), "b".into(), None));
    }

    #[test]
    fn keys_after_a_restart_wait_for_the_kernel_that_comes() {
        let keys = Keys::new();
        keys.restart_ordered();
        type_in(&keys, "after");
        assert_eq!(next(&keys), None);
        keys.restart_over(true);
        assert_eq!(next(&keys), None, "the way still leads to the kernel before");
        keys.settle();
        assert_eq!(next(&keys).unwrap(), "after");
    }

    #[test]
    fn keys_before_a_restart_go_with_the_kernel_that_they_were_for() {
        let keys = Keys::new();
        type_in(&keys, "before");
        keys.restart_ordered();
        type_in(&keys, "after");
        keys.restart_over(true);
        keys.settle();
        assert_eq!(next(&keys).unwrap(), "after");
    }

    #[test]
    fn a_restart_that_is_refused_loses_nothing() {
        let keys = Keys::new();
        type_in(&keys, "before");
        keys.restart_ordered();
        type_in(&keys, "after");
        keys.restart_over(false);
        assert_eq!((next(&keys).unwrap(), next(&keys).unwrap()), ("before".into(), "after".into()));
    }

    #[test]
    fn each_key_waits_for_the_restarts_before_it_alone() {
        let keys = Keys::new();
        keys.restart_ordered();
        type_in(&keys, "first");
        keys.restart_ordered();
        type_in(&keys, "second");
        keys.restart_over(true);
        keys.settle();
        assert_eq!((next(&keys).unwrap(), next(&keys)), ("first".into(), None));
        keys.restart_over(true);
        keys.settle();
        assert_eq!(next(&keys).unwrap(), "second");
    }
}
