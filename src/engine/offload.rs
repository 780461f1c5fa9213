//! Blocking file work, off the worker's thread.
//!
//! A worker serves thousands of connections on one thread, and a read from a slow disk would stall them all.
//! Neither runtime's own file API fits: glommio's wants direct I/O and io_uring, tokio's is not there under
//! glommio. So a few threads take the blocking calls, the same under both engines. They are made on first use,
//! hence after the worker was forked, and stay.

use std::{
    any::Any,
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::oneshot;

/// Threads of a process: enough that one slow volume does not hold up the others at once.
const THREADS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// What a job gave, or what it panicked with.
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// Runs blocking work on another thread. It begins at once, whether or not the future is polled, and is not
/// stopped by dropping the future; then its result is dropped on that other thread. A panic goes on where the
/// future is awaited.
pub fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
    let (sender, receiver) = oneshot::channel::<Outcome<T>>();
    let job = move || drop(sender.send(catch_unwind(AssertUnwindSafe(work))));
    POOL.get_or_init(Arc::default).submit(Box::new(job));
    async move {
        match receiver.await {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => unreachable!("the pool is never dropped, and every job sends"),
        }
    }
}

// === impl Pool ===

impl Pool {
    fn submit(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.threads < THREADS && self.start_thread() {
            state.threads += 1;
        }
        // Without any thread the work is done here: late for others, but done.
        let here = if state.threads == 0 { state.jobs.pop_front() } else { None };
        drop(state);
        match here {
            Some(job) => job(),
            None => self.work.notify_one(),
        }
    }

    /// Whether the system gave one.
    fn start_thread(self: &Arc<Self>) -> bool {
        let pool = self.clone();
        let started = std::thread::Builder::new().name("files".into()).spawn(move || pool.serve());
        started.inspect_err(|error| tracing::warn!(%error, "no thread for file work")).is_ok()
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
            } else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No job runs under the lock, so a panic cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        rc::Rc,
        sync::{Barrier, mpsc},
        thread,
    };

    use super::*;
    use crate::engine::{Engine, block_on, spawn};

    const BOTH: [Engine; 2] = [Engine::IoUring, Engine::Epoll];

    #[test]
    fn work_is_done_elsewhere_and_comes_back_on_both_engines() {
        for engine in BOTH {
            let here = thread::current().id();
            let there = block_on(engine, || offload(|| thread::current().id())).unwrap();
            assert_ne!(here, there, "{engine}");
        }
    }

    #[test]
    fn the_worker_goes_on_while_every_thread_of_the_pool_is_blocked() {
        for engine in BOTH {
            let seen = block_on(engine, || async {
                let gate = Arc::new(Barrier::new(THREADS + 1));
                let done = Rc::new(std::cell::Cell::new(0));
                for _ in 0..THREADS {
                    let (gate, done) = (gate.clone(), done.clone());
                    spawn(async move {
                        offload(move || gate.wait()).await;
                        done.set(done.get() + 1);
                    });
                }
                let queued = offload(|| 7);
                let before = done.get();
                // Nobody passes the gate before this: the thread that runs all tasks was not blocked.
                thread::spawn(move || gate.wait());
                (before, queued.await)
            });
            assert_eq!(seen.unwrap(), (0, 7), "{engine}");
        }
    }

    #[test]
    fn a_dropped_future_does_not_stop_the_work() {
        let (sender, receiver) = mpsc::channel();
        drop(offload(move || sender.send(thread::current().name().map(str::to_owned))));
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("files"));
    }

    #[test]
    fn a_panic_is_the_waiters_and_the_pool_lives_on() {
        for engine in BOTH {
            for _ in 0..=THREADS {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    block_on(engine, || offload(|| -> u8 { panic!("of the job") })).unwrap()
                }));
                assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "of the job");
            }
            assert_eq!(block_on(engine, || offload(|| 7)).unwrap(), 7);
        }
    }
}
