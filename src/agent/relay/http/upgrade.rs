//! After a 101 both connections carry another protocol (WebSocket): bytes are copied both ways until both sides have ended.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::side::H1Side;
use crate::agent::relay::buffer::BUFFER_SIZE;
use crate::agent::relay::deadline::Deadline;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both sides closed.
    Closed,
    /// Nothing came from either side for too long.
    Silent,
    /// One of the connections failed.
    Failed,
}

#[derive(Debug, Default)]
struct Way {
    passed: u64,
    /// Written, but perhaps still in the stream (TLS).
    unflushed: bool,
    /// The sender has closed and the receiver knows.
    ended: bool,
}

impl Way {
    fn poll(&mut self, from: &mut H1Side, to: &mut H1Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended {
            // What was put there before the tunnel began: the head of the 101.
            ready!(to.output.poll_write(&mut to.stream, cx))?;
            while !from.input.is_empty() {
                let count = ready!(Pin::new(&mut to.stream).poll_write(cx, from.input.data()))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.passed += count as u64;
                self.unflushed = true;
                from.input.consume(count);
            }
            if self.unflushed {
                ready!(Pin::new(&mut to.stream).poll_flush(cx))?;
                self.unflushed = false;
            }
            if from.closed {
                ready!(Pin::new(&mut to.stream).poll_shutdown(cx))?;
                self.ended = true;
            } else {
                ready!(from.poll_read(cx, BUFFER_SIZE))?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Copies both ways; returns bytes from the client and to the client as well.
pub async fn tunnel(
    client: &mut H1Side,
    server: &mut H1Side,
    deadline: &mut Deadline,
    silence: Duration,
) -> (TunnelEnd, u64, u64) {
    let (mut up, mut down) = (Way::default(), Way::default());
    let mut moved = true;
    let end = poll_fn(|cx| {
        let before = (up.passed, down.passed);
        let (sent, received) = (up.poll(client, server, cx), down.poll(server, client, cx));
        match (sent, received) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(TunnelEnd::Failed),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(TunnelEnd::Closed),
            (Poll::Pending, _) | (_, Poll::Pending) => {}
        }
        if std::mem::take(&mut moved) || before != (up.passed, down.passed) {
            deadline.set(Instant::now(), silence);
        }
        deadline.poll_expired(cx).map(|()| TunnelEnd::Silent)
    })
    .await;
    (end, up.passed, down.passed)
}
