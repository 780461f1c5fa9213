//! A ZMTP session over a stream, for one task that reads and writes in turn.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::wire::zmtp::{Event, Session, ZmtpError};

/// A session and the stream that carries it.
#[derive(Debug)]
pub struct Link<S> {
    stream: S,
    session: Session,
    finished: bool,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer does not speak what we do, or went over a limit.
    #[error(transparent)]
    Zmtp(#[from] ZmtpError),
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
}

// === impl Link ===

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Shakes hands. The caller sets the time limit.
    ///
    /// # Errors
    /// The connection failed, or the peer is not what we want.
    pub async fn handshake(stream: S, session: Session) -> Result<Link<S>, LinkError> {
        let mut link = Link { stream, session, finished: false };
        while !link.session.is_ready() {
            link.next().await?;
        }
        link.flush().await?;
        Ok(link)
    }

    /// The next event. What waits to be sent is sent before anything is waited for. May be dropped and
    /// called again.
    ///
    /// # Errors
    /// The link is at its end.
    pub async fn next(&mut self) -> Result<Event, LinkError> {
        loop {
            if let Some(event) = self.session.next_event()? {
                return Ok(event);
            }
            self.flush().await?;
            if self.stream.read_buf(self.session.input()).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    /// Sends a message, and waits until the kernel has all of it.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn send<F: AsRef<[u8]>>(&mut self, frames: &[F]) -> Result<(), LinkError> {
        self.session.send(frames);
        self.flush().await
    }

    /// Sends what waits. May be dropped and called again.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        if self.finished {
            self.session.output().clear();
        }
        while !self.session.output().is_empty() {
            if self.stream.write_buf(self.session.output()).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
        Ok(())
    }

    /// Sends what waits and then the end: the peer is read from as before, and hears nothing more.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn finish(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        self.finished = true;
        Ok(self.stream.shutdown().await?)
    }

    /// The session, to queue messages or subscriptions that the next call of this link sends.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The stream and the session, for whoever goes on in another way.
    pub fn into_parts(self) -> (S, Session) {
        (self.stream, self.session)
    }
}
