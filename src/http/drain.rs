//! The flag that says: finish what is under way, take nothing new.

use std::rc::Rc;

use tokio::sync::watch;

/// Shared by everything in a worker that has to end in good order.
#[derive(Clone, Debug)]
pub struct Drain(Rc<watch::Sender<bool>>);

impl Drain {
    /// A flag that is not up yet.
    pub fn new() -> Self {
        Drain(Rc::new(watch::Sender::new(false)))
    }

    /// Raises the flag.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether the flag is up.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the flag.
    pub async fn begun(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}
