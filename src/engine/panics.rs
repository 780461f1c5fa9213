//! Panics, which are broken invariants, end what they happen in and nothing else.
//!
//! The engines differ: tokio drops the panic of a task that nobody joins, glommio lets it end the executor and so the
//! worker, with all its requests. Here it ends the task on both, and is logged. What a worker cannot do without is
//! begun anew.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

use super::{sleep, start};

/// How long it takes until a lasting task that panicked is begun anew.
const ANEW_AFTER: Duration = Duration::from_secs(1);

/// The future's output, or, as an error, what it panicked with.
///
/// What the future shares with others may be half changed; nothing here holds a borrow across an await. It is as large
/// as the future: an `async fn` would have room for it twice, as what it is given and as what it waits for.
pub fn caught<F: Future>(future: F) -> impl Future<Output = Result<F::Output, String>> {
    AssertUnwindSafe(future).catch_unwind().map(|caught| caught.map_err(|panic| text(&*panic)))
}

/// Starts a task of its own on this thread's engine. It may run before this returns (glommio polls it at once): no
/// `RefCell` that it needs may be borrowed here.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    // In a box: a future that holds another by value has room for it twice, where it comes from and where it runs.
    let future = Box::pin(future);
    start(async {
        if let Err(panic) = caught(future).await {
            tracing::error!(%panic, "a task is given up");
        }
    });
}

/// Starts a task that goes on for as long as the worker does, or until it returns: where it panics, it is made anew.
pub fn spawn_lasting<F: Future<Output = ()>>(make: impl Fn() -> F + 'static) {
    start(async move {
        while let Err(panic) = caught(make()).await {
            tracing::error!(%panic, "a lasting task is begun anew");
            sleep(ANEW_AFTER).await;
        }
    });
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::engine::{Engine, block_on, yield_now};

    #[test]
    fn a_task_that_panics_ends_alone_and_a_lasting_one_is_made_anew() {
        for engine in [Engine::IoUring, Engine::Epoll] {
            let seen = block_on(engine, || async {
                let (made, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
                spawn(async { panic!("at once") });
                spawn(async {
                    yield_now().await;
                    panic!("later: {}", 7);
                });
                let (count, flag) = (made.clone(), ended.clone());
                spawn_lasting(move || {
                    let (count, flag) = (count.clone(), flag.clone());
                    async move {
                        count.set(count.get() + 1);
                        assert!(count.get() > 1, "the first time");
                        flag.set(true);
                    }
                });
                while !ended.get() {
                    sleep(Duration::from_millis(5)).await;
                }
                (made.get(), caught(async { panic!("{}", "words") }).await, caught(async { 7 }).await)
            });
            let told: Result<(), _> = Err("words".to_owned());
            assert_eq!(seen.unwrap(), (2, told, Ok(7)), "{engine}");
        }
    }
}
