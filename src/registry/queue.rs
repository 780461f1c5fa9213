//! One `execute` at a time for each kernel: old kernels break on a second one.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// The kernels that somebody executes in, or waits to.
#[derive(Default)]
pub struct Queues {
    kernels: Rc<RefCell<HashMap<Uuid, std::sync::Arc<Semaphore>>>>,
}

/// One's turn; the next in line has its turn when this is dropped.
pub struct Turn {
    kernels: Rc<RefCell<HashMap<Uuid, std::sync::Arc<Semaphore>>>>,
    kernel: Uuid,
    permit: Option<OwnedSemaphorePermit>,
}

impl Queues {
    /// Waits for one's turn, in the order of asking.
    pub async fn turn(&self, kernel: Uuid) -> Turn {
        let semaphore = self.kernels.borrow_mut().entry(kernel).or_insert_with(|| Semaphore::new(1).into()).clone();
        // Made first, so that one who gives up waiting leaves nothing behind either.
        let mut turn = Turn { kernels: self.kernels.clone(), kernel, permit: None };
        turn.permit = semaphore.acquire_owned().await.ok();
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.permit = None;
        let mut kernels = self.kernels.borrow_mut();
        // Whoever waits holds a clone of the semaphore besides the map's.
        if kernels.get(&self.kernel).is_some_and(|semaphore| std::sync::Arc::strong_count(semaphore) == 1) {
            kernels.remove(&self.kernel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;

    #[test]
    fn turns_come_in_order_and_leave_nothing_behind() {
        let (order, left) = engine::block_on(engine::Engine::Epoll, || async {
            let queues = Rc::new(Queues::default());
            let order = Rc::new(RefCell::new(Vec::new()));
            let kernel = Uuid::nil();
            let first = queues.turn(kernel).await;
            for place in 0..3 {
                let (queues, order) = (queues.clone(), order.clone());
                engine::spawn(async move {
                    let _turn = queues.turn(kernel).await;
                    order.borrow_mut().push(place);
                });
                engine::yield_now().await;
            }
            drop(first);
            while order.borrow().len() < 3 {
                engine::yield_now().await;
            }
            engine::yield_now().await;
            (order.take(), queues.kernels.borrow().len())
        })
        .unwrap();
        assert_eq!((order, left), (vec![0, 1, 2], 0));
    }
}
