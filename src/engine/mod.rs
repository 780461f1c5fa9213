//! The seam between the worker and the runtime that drives it.
//!
//! A worker runs on glommio (io_uring) or, where io_uring is refused (the default seccomp profiles of
//! Docker and containerd do), on tokio's current-thread runtime (epoll). Which one is chosen once, before
//! anything else runs; everything above sees this module only. Both runtimes are single-threaded here:
//! futures need not be `Send`, and state is shared by `Rc`.
//!
//! An `enum` per thing rather than a trait: the choice is made per process, so a predictable branch
//! replaces generics that would run through every type of the worker.
#![allow(unsafe_code)]

mod net;
mod offload;
mod panics;
mod probe;
mod time;

use std::{cell::Cell, fmt, future::Future, str::FromStr, time::Duration};

pub use net::{Listener, Stream, resolve};
pub use offload::offload;
pub use panics::{caught, spawn, spawn_lasting};
pub use probe::probe_io_uring;
pub use time::{Sleep, sleep, timeout};

/// The runtime that drives this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// glommio over io_uring.
    IoUring,
    /// tokio's current-thread runtime over epoll.
    Epoll,
}

/// What an operator asks for by `--engine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// io_uring where the kernel lets us, else epoll.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
#[error("the {engine} engine does not start: {reason}")]
pub struct StartError {
    engine: Engine,
    reason: String,
}

/// Bytes that glommio registers for its own I/O; its default pins 30 MiB of locked memory per worker.
const IO_MEMORY: usize = 64 << 10;
/// Entries of the submission queues.
const RING_DEPTH: usize = 128;
/// Longest time that a wake from another thread may wait behind ready tasks (glommio's default: 100 ms).
const PREEMPT_AFTER: Duration = Duration::from_millis(1);
/// Timers that keep the executor from sleeping upon ready tasks, and how often each comes. glommio 0.9.0 takes
/// its queue of tasks for empty if the preemption timer fires before it looks there, as happens to a thread that
/// is off its core for that long; then it sleeps until something else happens, be it minutes. A timer is
/// something else. Its own wake may be missed in the same way, so there are several, one after another.
const TICKERS: u32 = 4;
const TICK: Duration = Duration::from_millis(40);

thread_local!(static CURRENT: Cell<Engine> = const { Cell::new(Engine::Epoll) });

/// The engine that drives this thread.
pub fn current() -> Engine {
    CURRENT.get()
}

/// Runs a future, and all that it spawns, to its end on this thread.
///
/// # Errors
/// The runtime could not be set up (locked memory, descriptors, io_uring refused).
pub fn block_on<F>(engine: Engine, make: impl FnOnce() -> F) -> Result<F::Output, StartError>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let failed = |reason: String| StartError { engine, reason };
    CURRENT.set(engine);
    match engine {
        Engine::IoUring => run_io_uring(PREEMPT_AFTER, make).map_err(failed),
        Engine::Epoll => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| failed(error.to_string()))?;
            Ok(tokio::task::LocalSet::new().block_on(&runtime, make()))
        }
    }
}

fn run_io_uring<F>(preempt_after: Duration, make: impl FnOnce() -> F) -> Result<F::Output, String>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // glommio panics where the kernel refuses io_uring, so it is asked first.
    probe_io_uring().map_err(|error| error.to_string())?;
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .preempt_timer(preempt_after)
        .record_io_latencies(false)
        .make()
        .map_err(|error| error.to_string())?;
    let future = make();
    Ok(executor.run(async {
        (0..TICKERS).for_each(|nth| drop(glommio::spawn_local(tick(nth)).detach()));
        future.await
    }))
}

async fn tick(nth: u32) {
    glommio::timer::Timer::new(TICK * nth / TICKERS).await;
    loop {
        glommio::timer::Timer::new(TICK).await;
    }
}

/// Starts a task, which must not panic.
fn start(future: impl Future<Output = ()> + 'static) {
    match current() {
        Engine::IoUring => drop(glommio::spawn_local(future).detach()),
        Engine::Epoll => drop(tokio::task::spawn_local(future)),
    };
}

/// Lets the other ready tasks run before this one goes on.
pub async fn yield_now() {
    match current() {
        Engine::IoUring => glommio::executor().yield_task_queue_now().await,
        Engine::Epoll => tokio::task::yield_now().await,
    }
}

// === impl Engine ===

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::IoUring => "io-uring",
            Engine::Epoll => "epoll",
        })
    }
}

// === impl EngineChoice ===

impl EngineChoice {
    /// The engine to use on this machine.
    ///
    /// # Errors
    /// io_uring was asked for by name and the kernel refuses it.
    pub fn resolve(self) -> Result<Engine, StartError> {
        match (self, probe_io_uring()) {
            (EngineChoice::Epoll, _) | (EngineChoice::Auto, Err(_)) => Ok(Engine::Epoll),
            (_, Ok(())) => Ok(Engine::IoUring),
            (EngineChoice::IoUring, Err(error)) => {
                Err(StartError { engine: Engine::IoUring, reason: error.to_string() })
            }
        }
    }
}

impl FromStr for EngineChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(EngineChoice::Auto),
            "io-uring" => Ok(EngineChoice::IoUring),
            "epoll" => Ok(EngineChoice::Epoll),
            _ => Err("the engine is one of auto, io-uring, epoll"),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineChoice::Auto => "auto",
            EngineChoice::IoUring => "io-uring",
            EngineChoice::Epoll => "epoll",
        })
    }
}

#[cfg(test)]
mod tests;
