//! Work that must not happen on the worker's thread, or not end with its request.

use tokio::sync::oneshot;

use super::Error;
use crate::engine;

/// Something whose end is blocking work, as the removal of a temporary file: it ends on another thread.
#[derive(Debug)]
pub(super) struct Aside<T: Send + 'static>(Option<T>);

// === impl Aside ===

impl<T: Send + 'static> Aside<T> {
    pub fn new(value: T) -> Self {
        Aside(Some(value))
    }

    pub fn get(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("it is taken by value only"),
        }
    }

    pub fn get_mut(&mut self) -> &mut T {
        match &mut self.0 {
            Some(value) => value,
            None => unreachable!("it is taken by value only"),
        }
    }

    pub fn into_inner(mut self) -> T {
        match self.0.take() {
            Some(value) => value,
            None => unreachable!("it is taken by value only"),
        }
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            drop(engine::offload(move || drop(value)));
        }
    }
}

/// Does work to its end even if the request that waits for it goes away.
pub(super) async fn to_the_end<T: 'static>(work: impl Future<Output = Result<T, Error>> + 'static) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    engine::spawn(async move { drop(sender.send(work.await)) });
    receiver.await.unwrap_or(Err(Error::Ending))
}
