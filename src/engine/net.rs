//! Listeners and streams.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_lite::io::{AsyncRead as GlommioRead, AsyncWrite as GlommioWrite};
use nix::{
    errno::Errno,
    sys::socket::{SockFlag, accept4},
};
use send_wrapper::SendWrapper;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Engine, current};
use crate::config::HostPort;

/// Bytes of a connection that wait in its socket to be sent, from which on it takes no more (tcp(7), but for its
/// TCP_NOTSENT_LOWAT). Without it a socket of 4 MiB tells that it takes more only when its client has taken 1.4 MB (as
/// measured), so that a slow client could not be told from one that takes nothing.
const UNSENT: u32 = 128 << 10;

/// A listening TCP socket.
pub enum Listener {
    /// Of glommio, with its descriptor, which glommio does not tell.
    IoUring(glommio::net::TcpListener, RawFd),
    /// Of tokio.
    Epoll(tokio::net::TcpListener),
}

/// A TCP connection, with Nagle's algorithm off.
///
/// Reads and writes by tokio's traits; `hyper_util::rt::TokioIo` makes it hyper's. `SendWrapper` because hyper
/// asks for `Send` where a connection may be upgraded; a worker has one thread.
pub enum Stream {
    /// Of glommio.
    IoUring(SendWrapper<glommio::net::TcpStream>),
    /// Of tokio.
    Epoll(tokio::net::TcpStream),
}

/// The first address of a host; a name is looked up by the system's resolver on a thread of its own.
///
/// # Errors
/// The name is unknown, or has no address.
pub async fn resolve(addr: &HostPort) -> io::Result<SocketAddr> {
    if let Ok(ip) = addr.host.parse() {
        return Ok(SocketAddr::new(ip, addr.port));
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let wanted = (addr.host.clone(), addr.port);
    std::thread::Builder::new().name("resolve".into()).spawn(move || {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&wanted).map(|mut all| all.next());
        // The receiver is gone only if nobody waits any more.
        let _ = sender.send(found);
    })?;
    let nothing = || io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", addr.host));
    receiver.await.map_err(|_| nothing())??.ok_or_else(nothing)
}

// === impl Listener ===

impl Listener {
    /// Takes over a socket that listens already and does not block.
    ///
    /// # Errors
    /// The runtime refuses it.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        // Connections inherit it.
        SockRef::from(&fd).set_tcp_notsent_lowat(UNSENT)?;
        Ok(match current() {
            Engine::IoUring => {
                let fd = fd.into_raw_fd();
                // SAFETY: the descriptor was owned, and is given away here; its number is used while the owner lives.
                Listener::IoUring(unsafe { glommio::net::TcpListener::from_raw_fd(fd) }, fd)
            }
            Engine::Epoll => Listener::Epoll(tokio::net::TcpListener::from_std(fd.into())?),
        })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Those of accept(2): of the connection that just failed, or for want of descriptors.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Listener::IoUring(listener, _) => of_glommio(listener.accept().await.map_err(io::Error::from)?),
            Listener::Epoll(listener) => of_tokio(listener.accept().await?),
        }
    }

    /// Takes a connection that waits already, if there is one.
    ///
    /// Unlike [`Listener::accept`] it leaves no request with the kernel. On io_uring, a request that is given up may
    /// still take the next connection, which is lost then: so a worker that is about to end takes the last ones
    /// this way.
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub fn accept_waiting(&self) -> io::Result<Option<(Stream, SocketAddr)>> {
        match self {
            Listener::IoUring(_, fd) => match accept4(*fd, SockFlag::SOCK_CLOEXEC) {
                // SAFETY: the descriptor was just made, and nobody else has it.
                Ok(fd) => of_glommio(unsafe { glommio::net::TcpStream::from_raw_fd(fd) }).map(Some),
                Err(Errno::EAGAIN) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Listener::Epoll(listener) => match listener.poll_accept(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(accepted) => of_tokio(accepted?).map(Some),
                Poll::Pending => Ok(None),
            },
        }
    }
}

fn of_glommio(stream: glommio::net::TcpStream) -> io::Result<(Stream, SocketAddr)> {
    let peer = stream.peer_addr().map_err(io::Error::from)?;
    stream.set_nodelay(true).map_err(io::Error::from)?;
    Ok((Stream::IoUring(SendWrapper::new(stream)), peer))
}

fn of_tokio((stream, peer): (tokio::net::TcpStream, SocketAddr)) -> io::Result<(Stream, SocketAddr)> {
    stream.set_nodelay(true)?;
    Ok((Stream::Epoll(stream), peer))
}

// === impl Stream ===

impl Stream {
    /// Connects; the caller sets the time limit.
    ///
    /// # Errors
    /// Those of connect(2).
    pub async fn connect_tcp(addr: SocketAddr) -> io::Result<Self> {
        match current() {
            Engine::IoUring => {
                let stream = glommio::net::TcpStream::connect(addr).await.map_err(io::Error::from)?;
                stream.set_nodelay(true).map_err(io::Error::from)?;
                Ok(Stream::IoUring(SendWrapper::new(stream)))
            }
            Engine::Epoll => {
                let stream = tokio::net::TcpStream::connect(addr).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Epoll(stream))
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            // SAFETY: the stream owns the descriptor, and outlives the borrow.
            Stream::IoUring(stream) => unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) },
            Stream::Epoll(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::IoUring(stream) => {
                // SAFETY: glommio's stream hands the slice to recv(2) alone, which writes and never reads it, so
                // that it need not be cleared for each read; `assume_init` covers just what recv wrote.
                unsafe {
                    let unfilled: *mut [std::mem::MaybeUninit<u8>] = buf.unfilled_mut();
                    let count = ready!(Pin::new(&mut **stream).poll_read(cx, &mut *(unfilled as *mut [u8])))?;
                    buf.assume_init(count);
                    buf.advance(count);
                }
                Poll::Ready(Ok(()))
            }
            Stream::Epoll(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::IoUring(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
            Stream::Epoll(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::IoUring(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
            Stream::Epoll(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Stream::Epoll(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::IoUring(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Stream::Epoll(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::IoUring(stream) => Pin::new(&mut **stream).poll_close(cx),
            Stream::Epoll(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
