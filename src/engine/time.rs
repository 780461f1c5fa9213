//! Sleeping and time-outs, for us and for hyper.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use send_wrapper::SendWrapper;

use super::{Engine, current};

/// Ends after the time that it was made with.
pub enum Sleep {
    /// Of glommio; `SendWrapper` because hyper asks for `Send`, which a single-threaded worker never uses.
    IoUring(SendWrapper<glommio::timer::Timer>),
    /// Of tokio.
    Epoll(Pin<Box<tokio::time::Sleep>>),
}

/// Waits.
pub fn sleep(duration: Duration) -> Sleep {
    match current() {
        Engine::IoUring => Sleep::IoUring(SendWrapper::new(glommio::timer::Timer::new(duration))),
        Engine::Epoll => Sleep::Epoll(Box::pin(tokio::time::sleep(duration))),
    }
}

/// The future's output, or `None` if it takes longer than that; it is dropped then.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    futures_lite::future::or(async { Some(future.await) }, async {
        sleep(limit).await;
        None
    })
    .await
}

// === impl Sleep ===

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Sleep::IoUring(timer) => Pin::new(&mut **timer).poll(cx).map(drop),
            Sleep::Epoll(timer) => timer.as_mut().poll(cx),
        }
    }
}

impl hyper::rt::Sleep for Sleep {}
