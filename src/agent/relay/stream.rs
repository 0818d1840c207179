//! A connection as the relay sees it: TCP or a unix socket, plain or in TLS, from a client or to a server.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A socket.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Makes the next close a reset, so that the peer cannot take what it got for the whole (HTTP/1.0 bodies end by closing).
    pub fn reset_on_close(&self) {
        if let Self::Tcp(tcp) = self {
            // An error means that the connection is gone already.
            let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

/// A socket, perhaps in TLS.
#[derive(Debug)]
pub enum Stream {
    Plain(Socket),
    /// The relay is the server.
    TlsIn(Box<tokio_rustls::server::TlsStream<Socket>>),
    /// The relay is the client.
    TlsOut(Box<tokio_rustls::client::TlsStream<Socket>>),
}

impl Stream {
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::TlsIn(tls) => tls.get_ref().0,
            Self::TlsOut(tls) => tls.get_ref().0,
        }
    }

    /// The connection itself where its bytes are its peer's as they are: TCP without TLS.
    pub fn plain_tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(Socket::Tcp(tcp)) => Some(tcp),
            _ => None,
        }
    }

    pub fn is_tls(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// What ALPN agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::TlsIn(tls) => tls.get_ref().1.alpn_protocol(),
            Self::TlsOut(tls) => tls.get_ref().1.alpn_protocol(),
        }
    }
}

/// Calls a method of whatever the stream is.
macro_rules! on {
    ($self:ident, $kind:ident, $($variant:ident),+; $stream:ident => $call:expr) => {
        match $self.get_mut() { $($kind::$variant($stream) => { let $stream = Pin::new($stream); $call })+ }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on!(self, Socket, Tcp, Unix; s => s.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on!(self, Socket, Tcp, Unix; s => s.poll_write(cx, buf))
    }
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        on!(self, Socket, Tcp, Unix; s => s.poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, Socket, Tcp, Unix; s => s.poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, Socket, Tcp, Unix; s => s.poll_shutdown(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on!(self, Stream, Plain, TlsIn, TlsOut; s => s.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on!(self, Stream, Plain, TlsIn, TlsOut; s => s.poll_write(cx, buf))
    }
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        on!(self, Stream, Plain, TlsIn, TlsOut; s => s.poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, Stream, Plain, TlsIn, TlsOut; s => s.poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, Stream, Plain, TlsIn, TlsOut; s => s.poll_shutdown(cx))
    }
}
