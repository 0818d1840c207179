//! A client's connection of HTTP/2 under the `h2` crate. What the crate writes is gathered, so that the answers of many streams leave
//! with one system call and in one record of TLS.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::agent::relay::buffer::{Input, Output};
use crate::agent::relay::lull;
use crate::agent::relay::stream::Stream;

#[derive(Debug)]
struct Line {
    /// What was read before it was known that this is HTTP/2.
    first: Input,
    stream: Stream,
    output: Output,
    /// Flushing does nothing: [`Cork::poll_send`] sends.
    gathers: bool,
}

impl Line {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_write(&mut self.stream, cx)
    }

    fn poll_gather<'b>(&mut self, cx: &mut Context<'_>, bufs: impl Iterator<Item = &'b [u8]>) -> Poll<io::Result<usize>> {
        if self.output.is_full() {
            ready!(self.poll_send(cx))?;
        }
        let out = self.output.bytes();
        let before = out.len();
        bufs.for_each(|buf| out.extend_from_slice(buf));
        Poll::Ready(Ok(out.len() - before))
    }
}

/// The connection as `h2` has it; its copies are the same connection.
#[derive(Clone, Debug)]
pub struct Cork(Rc<RefCell<Line>>);

impl Cork {
    /// `first`: what was read already. Nothing is gathered before [`Cork::gather`].
    pub fn new(first: Input, stream: Stream) -> Self {
        Self(Rc::new(RefCell::new(Line { first, stream, output: Output::default(), gathers: false })))
    }

    /// From now on what is written waits for [`Cork::poll_send`], or until there is as much of it as a buffer holds.
    pub fn gather(&self) {
        self.0.borrow_mut().gathers = true;
    }

    pub fn has_output(&self) -> bool {
        !self.0.borrow().output.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.0.borrow().output.is_full()
    }

    /// Sends all that was gathered.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(cx)
    }
}

impl AsyncRead for Cork {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.borrow_mut();
        if line.first.is_empty() {
            let before = buf.filled().len();
            let read = Pin::new(&mut line.stream).poll_read(cx, buf);
            if buf.filled().len() > before {
                lull::note_read();
            }
            return read;
        }
        let count = line.first.data().len().min(buf.remaining());
        buf.put_slice(line.first.data().get(..count).unwrap_or_default());
        line.first.consume(count);
        line.first.release();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cork {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(cx, std::iter::once(buf))
    }
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(cx, bufs.iter().map(|b| &**b))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.borrow_mut();
        if line.gathers { Poll::Ready(Ok(())) } else { line.poll_send(cx) }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.borrow_mut();
        ready!(line.poll_send(cx))?;
        Pin::new(&mut line.stream).poll_shutdown(cx)
    }
}

/// When what was gathered is sent: once no stream has an answer to come, a buffer is full, or the thread has nothing else to do.
#[derive(Debug, Default)]
pub struct Hold {
    reached: Option<Rc<Cell<bool>>>,
    /// The client did not take all of it yet.
    sending: bool,
}

impl Hold {
    /// Sends if it is time, else has the task woken when it is. `more`: answers are still to come.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll(&mut self, cork: &Cork, more: bool, cx: &mut Context<'_>) -> io::Result<()> {
        let lull = self.reached.take_if(|reached| reached.get()).is_some();
        if !cork.has_output() && !self.sending {
            return Ok(());
        }
        if more && !lull && !self.sending && !cork.is_full() {
            if self.reached.is_none() {
                let reached = Rc::default();
                lull::wait(&reached, cx);
                self.reached = Some(reached);
            }
            return Ok(());
        }
        self.sending = match cork.poll_send(cx) {
            Poll::Ready(sent) => sent.map(|()| false)?,
            Poll::Pending => true,
        };
        Ok(())
    }
}
