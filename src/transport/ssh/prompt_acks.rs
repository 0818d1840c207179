//! A TCP stream that acknowledges what it reads at once.
//!
//! sshd leaves Nagle's algorithm on while it logs a client on, and sends two short packets in a row more than once: the second
//! waits for the acknowledgement of the first, which the kernel holds back for 40 ms because we have nothing to say yet. A new
//! connection costs two or three of these waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct PromptAcks(TcpStream);

impl PromptAcks {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Without either the connection is slower, not wrong.
        let _ = stream.set_nodelay(true);
        Self(stream)
    }

    /// The kernel forgets it with the next packet: it is said again after each read.
    fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.0.set_quickack(true);
    }
}

impl AsyncRead for PromptAcks {
    fn poll_read(mut self: Pin<&mut Self>, poller: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.0).poll_read(poller, buffer))?;
        self.acknowledge();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PromptAcks {
    fn poll_write(mut self: Pin<&mut Self>, poller: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(poller, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, poller: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(poller)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, poller: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(poller)
    }
}
