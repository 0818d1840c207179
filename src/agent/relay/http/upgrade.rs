//! After a 101 both connections carry another protocol (WebSocket): bytes are copied both ways until both sides have ended.

use std::future::poll_fn;
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
    /// The connection to the client failed.
    ClientFailed,
    /// The connection to the server failed.
    ServerFailed,
}

/// Which of the two connections of a way failed.
enum Broke {
    From,
    To,
}

/// Bytes that were passed on so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// From the client to the server.
    pub sent: u64,
    /// From the server to the client.
    pub received: u64,
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
    fn poll(&mut self, from: &mut H1Side, to: &mut H1Side, cx: &mut Context<'_>) -> Poll<Result<(), Broke>> {
        while !self.ended {
            // What was put there before the tunnel began: the head of the 101.
            ready!(to.output.poll_write(&mut to.stream, cx)).map_err(|_| Broke::To)?;
            while !from.input.is_empty() {
                let count = ready!(Pin::new(&mut to.stream).poll_write(cx, from.input.data())).map_err(|_| Broke::To)?;
                if count == 0 {
                    return Poll::Ready(Err(Broke::To));
                }
                self.passed += count as u64;
                self.unflushed = true;
                from.input.consume(count);
            }
            if self.unflushed {
                ready!(Pin::new(&mut to.stream).poll_flush(cx)).map_err(|_| Broke::To)?;
                self.unflushed = false;
            }
            if from.closed {
                ready!(Pin::new(&mut to.stream).poll_shutdown(cx)).map_err(|_| Broke::To)?;
                self.ended = true;
            } else {
                ready!(from.poll_read(cx, BUFFER_SIZE)).map_err(|_| Broke::From)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Copies both ways. `passed` is true at every moment: a session may be ended from outside.
pub async fn tunnel(
    client: &mut H1Side,
    server: &mut H1Side,
    deadline: &mut Deadline,
    silence: Duration,
    passed: &mut Passed,
) -> TunnelEnd {
    let (mut up, mut down) = (Way::default(), Way::default());
    let mut moved = true;
    poll_fn(|cx| {
        let (sent, received) = (up.poll(client, server, cx), down.poll(server, client, cx));
        let before = std::mem::replace(passed, Passed { sent: up.passed, received: down.passed });
        match (sent, received) {
            (Poll::Ready(Err(Broke::From)), _) | (_, Poll::Ready(Err(Broke::To))) => return Poll::Ready(TunnelEnd::ClientFailed),
            (Poll::Ready(Err(Broke::To)), _) | (_, Poll::Ready(Err(Broke::From))) => return Poll::Ready(TunnelEnd::ServerFailed),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(TunnelEnd::Closed),
            (Poll::Pending, _) | (_, Poll::Pending) => {}
        }
        if std::mem::take(&mut moved) || before != *passed {
            deadline.set(Instant::now(), silence);
        }
        deadline.poll_expired(cx).map(|()| TunnelEnd::Silent)
    })
    .await
}
