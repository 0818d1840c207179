//! Bulk data from one TCP connection to another without a copy through this process: splice(2) through a pipe.
//!
//! It pays for bulk alone: each move costs two system calls as a read and a write do, but pages change hands instead of being copied, and a pipe
//! takes more at once than a buffer. What was measured is in docs/benchmarks.md.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that a pipe is asked to hold. A user may have 16 MiB of them in all (`pipe-user-pages-soft`); pipes beyond that stay as small as the
/// kernel makes them.
const SIZE: usize = 256 << 10;
/// Pipes that a thread keeps for the next bulk.
const SPARE: usize = 16;

thread_local! {
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that all threads have moved.
static MOVED: AtomicU64 = AtomicU64::new(0);

/// Bytes that were moved without a copy, since the process began.
pub fn moved() -> u64 {
    MOVED.load(Ordering::Relaxed)
}

/// A pipe with what is on its way. Empty ones are used again.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    /// # Errors
    /// The system's, where it has no more descriptors.
    pub fn take() -> io::Result<Self> {
        if let Some(pipe) = PIPES.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // A smaller one does as well.
        let _ = fcntl_setpipe_size(&writer, SIZE);
        Ok(Self { reader, writer, held: 0 })
    }

    /// Keeps it for the next one, if nothing is in it.
    pub fn give_back(self) {
        // While the thread ends its store is gone; then the pipe goes as well.
        let _ = PIPES.try_with(|pipes| {
            let mut pipes = pipes.borrow_mut();
            if self.held == 0 && pipes.len() < SPARE {
                pipes.push(self);
            }
        });
    }

    /// Whether all that came in has gone out.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes in what has come, into an empty pipe; 0 = the peer has closed.
    pub fn poll_in(&mut self, from: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let moved = loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || go(from, &self.writer, SIZE)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                moved => break moved?,
            }
        };
        self.held += moved;
        Poll::Ready(Ok(moved))
    }

    /// Sends what is held; how much went.
    pub fn poll_out(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let moved = loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || go(&self.reader, to, self.held)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                moved => break moved?,
            }
        };
        self.held = self.held.saturating_sub(moved);
        MOVED.fetch_add(moved as u64, Ordering::Relaxed);
        Poll::Ready(Ok(moved))
    }
}

fn go(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as Std};

    use super::*;

    /// Both ends of a connection, ours for tokio.
    fn pair() -> (TcpStream, Std) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = Std::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (TcpStream::from_std(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn what_comes_in_goes_out_in_order_and_an_end_is_an_end() {
        let ((from, mut sender), (to, mut receiver)) = (pair(), pair());
        let sent: Vec<u8> = (0..1_000_003u32).map(|n| (n % 251) as u8).collect();
        let bytes = sent.clone();
        let sending = std::thread::spawn(move || sender.write_all(&bytes).unwrap());
        let receiving = std::thread::spawn(move || {
            let mut all = Vec::new();
            receiver.read_to_end(&mut all).unwrap();
            all
        });
        let before = moved();
        let mut pipe = Pipe::take().unwrap();
        while poll_fn(|cx| pipe.poll_in(&from, cx)).await.unwrap() > 0 {
            while !pipe.is_empty() {
                poll_fn(|cx| pipe.poll_out(&to, cx)).await.unwrap();
            }
        }
        drop(to);
        pipe.give_back();
        sending.join().unwrap();
        assert!(receiving.join().unwrap() == sent && moved() - before >= sent.len() as u64);
    }

    #[tokio::test]
    async fn a_pipe_that_holds_something_is_not_used_again() {
        let (from, mut sender) = pair();
        sender.write_all(b"somebody's").unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_in(&from, cx)).await.unwrap(), 10);
        pipe.give_back();
        assert!(PIPES.with_borrow(|pipes| pipes.iter().all(Pipe::is_empty)));
    }
}
