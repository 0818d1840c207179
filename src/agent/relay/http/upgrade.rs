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
use crate::agent::relay::splice::Pipe;

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
    bulk: Bulk,
}

/// So many full buffers in a row are bulk ([`BUFFER_SIZE`] each: 64 KiB).
const BULK_AFTER: u32 = 4;
/// So many small pieces in a row are none any more.
const BULK_UNTIL: u32 = 4;
/// Bytes of a small piece.
const SMALL: usize = BUFFER_SIZE;

/// Whether a way carries so much that it is worth a pipe.
#[derive(Debug, Default)]
enum Bulk {
    /// Copied; so many full buffers came in a row.
    #[default]
    No,
    Perhaps(u32),
    /// Spliced; so many small pieces came in a row.
    Yes {
        small: u32,
        pipe: Option<Pipe>,
    },
    /// There was no pipe to be had.
    Never,
}

impl Bulk {
    /// So many bytes were read into a buffer.
    fn note_read(&mut self, count: usize, possible: bool) {
        *self = match self {
            Self::No | Self::Perhaps(_) if count < BUFFER_SIZE || !possible => Self::No,
            Self::No => Self::Perhaps(1),
            Self::Perhaps(times) if *times + 1 < BULK_AFTER => Self::Perhaps(*times + 1),
            Self::Perhaps(_) => Self::Yes { small: 0, pipe: None },
            Self::Yes { .. } | Self::Never => return,
        };
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        if let Self::Yes { pipe, .. } = self {
            pipe.take().into_iter().for_each(Pipe::give_back);
        }
    }
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
            if let Some(spliced) = self.poll_splice(from, to, cx) {
                ready!(spliced)?;
                continue;
            }
            if from.closed {
                ready!(Pin::new(&mut to.stream).poll_shutdown(cx)).map_err(|_| Broke::To)?;
                self.ended = true;
            } else {
                ready!(from.poll_read(cx, BUFFER_SIZE)).map_err(|_| Broke::From)?;
                let possible = from.stream.plain_tcp().is_some() && to.stream.plain_tcp().is_some();
                self.bulk.note_read(from.input.data().len(), possible);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Way {
    /// Moves on what has come, where this way is bulk; None where it is to be copied.
    fn poll_splice(&mut self, from: &mut H1Side, to: &H1Side, cx: &mut Context<'_>) -> Option<Poll<Result<(), Broke>>> {
        let Bulk::Yes { small, pipe: kept } = &mut self.bulk else { return None };
        if from.closed && kept.is_none() {
            return None;
        }
        let (sender, receiver) = (from.stream.plain_tcp()?, to.stream.plain_tcp()?);
        let mut pipe = match kept.take().map_or_else(Pipe::take, Ok) {
            Ok(pipe) => pipe,
            Err(_) => {
                self.bulk = Bulk::Never;
                return None;
            }
        };
        while !pipe.is_empty() {
            match pipe.poll_out(receiver, cx) {
                Poll::Ready(Ok(count)) => self.passed += count as u64,
                Poll::Ready(Err(_)) => return Some(Poll::Ready(Err(Broke::To))),
                Poll::Pending => {
                    *kept = Some(pipe);
                    return Some(Poll::Pending);
                }
            }
        }
        if *small >= BULK_UNTIL {
            pipe.give_back();
            self.bulk = Bulk::No;
            return None;
        }
        let came = pipe.poll_in(sender, cx);
        if pipe.is_empty() {
            pipe.give_back();
        } else {
            *kept = Some(pipe);
        }
        match came {
            Poll::Pending => Some(Poll::Pending),
            Poll::Ready(Err(_)) => Some(Poll::Ready(Err(Broke::From))),
            Poll::Ready(Ok(0)) => {
                from.closed = true;
                Some(Poll::Ready(Ok(())))
            }
            Poll::Ready(Ok(count)) => {
                *small = if count < SMALL { *small + 1 } else { 0 };
                Some(Poll::Ready(Ok(())))
            }
        }
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
