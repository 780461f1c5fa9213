//! A descriptor that is read and written without blocking: of a pseudo-terminal or a pipe.

use std::{io, os::fd::OwnedFd};

use bytes::Bytes;
use tokio::io::{Interest, unix::AsyncFd};

/// Most bytes of one read.
pub const PIECE: usize = 8 << 10;
/// Most pieces that are taken of what a process left: others may go on writing for ever.
const LEFT_PIECES: usize = 32;

/// The descriptor.
#[derive(Debug)]
pub struct Fd(AsyncFd<OwnedFd>);

// === impl Fd ===

impl Fd {
    /// Makes it one that does not block.
    ///
    /// # Errors
    /// The system refuses.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, because of types that close what they own early: ours does not"
    )]
    pub fn new(fd: OwnedFd) -> io::Result<Fd> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Fd(AsyncFd::new(fd)?))
    }

    /// The descriptor itself.
    pub fn get(&self) -> &OwnedFd {
        self.0.get_ref()
    }

    /// The next piece; an empty one at the end. Nothing is lost when this is given up.
    ///
    /// # Errors
    /// The system's.
    pub async fn read(&self) -> io::Result<Bytes> {
        self.0.async_io(Interest::READABLE, read).await
    }

    /// What is there now.
    pub fn left(&self) -> Vec<Bytes> {
        let pieces = std::iter::from_fn(|| read(self.get()).ok().filter(|piece| !piece.is_empty()));
        pieces.take(LEFT_PIECES).collect()
    }

    /// Writes some of this, and says how much. Nothing is written when this is given up.
    ///
    /// # Errors
    /// The system's.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)).await
    }

    /// Writes this if there is room for it.
    pub fn try_write(&self, bytes: &[u8]) -> bool {
        rustix::io::write(self.get(), bytes).is_ok_and(|written| written == bytes.len())
    }
}

fn read(fd: &OwnedFd) -> io::Result<Bytes> {
    let mut buffer = [0; PIECE];
    let size = rustix::io::read(fd, &mut buffer)?;
    Ok(Bytes::copy_from_slice(buffer.get(..size).unwrap_or_default()))
}
