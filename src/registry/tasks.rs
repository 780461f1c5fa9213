//! Work that a client's going away must not break off.
//!
//! hyper drops a handler when its client hangs up. A session that is being made or ended then would be left half
//! done, so this work runs as a task of its own, of which the handler is but a listener.

use std::{cell::Cell, future::Future, rc::Rc, time::Duration};

use tokio::sync::oneshot;

use crate::engine;

/// Counts what runs, so that a draining worker can wait for it.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Rc<Cell<usize>>);

struct Running(Rc<Cell<usize>>);

impl Tasks {
    /// Runs the future to its end, whether or not anybody waits for it; gives its output.
    pub async fn detach<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.set(self.0.get() + 1);
        let running = Running(self.0.clone());
        engine::spawn(async move {
            let output = future.await;
            drop(running);
            // Nobody listens if the client is gone.
            let _ = sender.send(output);
        });
        receiver.await.ok()
    }

    /// Waits until nothing runs.
    pub async fn settled(&self) {
        while self.0.get() > 0 {
            engine::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_when_nobody_waits_any_more() {
        let done = engine::block_on(engine::Engine::Epoll, || async {
            let tasks = Tasks::default();
            let done = Rc::new(Cell::new(false));
            let flag = done.clone();
            let work = tasks.detach(async move {
                engine::sleep(Duration::from_millis(20)).await;
                flag.set(true);
            });
            assert!(engine::timeout(Duration::from_millis(1), work).await.is_none());
            tasks.settled().await;
            done.get()
        });
        assert!(done.unwrap());
    }
}
