//! Buffers of a data thread, lent to connections only while these have bytes to hold: a connection that waits for its next request has none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lull;

/// Bytes of a buffer when it is new; what HAProxy calls `tune.bufsize`.
pub const BUFFER_SIZE: usize = 16 * 1024;
/// Buffers that a thread keeps for the next connection.
const SPARE: usize = 256;

thread_local! {
    static INPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn give_back(pool: &'static std::thread::LocalKey<RefCell<Vec<Vec<u8>>>>, bytes: &mut Vec<u8>) {
    if bytes.capacity() == 0 || bytes.capacity() > 4 * BUFFER_SIZE {
        return;
    }
    // While the thread ends its pool is gone; then the memory goes as well.
    let _ = pool.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < SPARE {
            pool.push(std::mem::take(bytes));
        }
    });
}

/// What was read and not yet used.
#[derive(Debug)]
pub struct Input {
    /// All of it is initialised; `start..end` is what was read.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl Input {
    /// An empty one; its memory is taken at the first read.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0 }
    }

    pub fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives the memory back if nothing is in it.
    pub fn release(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            give_back(&INPUTS, &mut self.bytes);
            self.bytes = Vec::new();
        }
    }

    /// Reads once. 0 = end of the stream. Where there is nothing to read and nothing is held, the memory is given back.
    ///
    /// # Errors
    /// Those of the stream, and `OutOfMemory` where `most` bytes are held already.
    pub fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.is_empty() {
            self.bytes = INPUTS.with_borrow_mut(Vec::pop).unwrap_or_default();
            if self.bytes.len() < BUFFER_SIZE {
                self.bytes.resize(BUFFER_SIZE, 0);
            }
        } else if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else if self.bytes.len() < most {
                self.bytes.resize((self.bytes.len() * 2).min(most), 0);
            } else {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
        }
        let mut space = ReadBuf::new(self.bytes.get_mut(self.end..).unwrap_or_default());
        match Pin::new(stream).poll_read(cx, &mut space) {
            Poll::Ready(Ok(())) => {
                let count = space.filled().len();
                self.end += count;
                lull::note_read();
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        give_back(&INPUTS, &mut self.bytes);
    }
}

/// What is to be written.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    sent: usize,
    /// Written, but perhaps still in the stream (TLS).
    unflushed: bool,
}

impl Output {
    /// Where to append.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = OUTPUTS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BUFFER_SIZE + 1024));
            self.bytes.clear();
        }
        &mut self.bytes
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so much waits that nothing should be added.
    pub fn is_full(&self) -> bool {
        self.len() >= BUFFER_SIZE
    }

    /// Writes and flushes all that waits, then gives the memory back.
    pub fn poll_write(&mut self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let count = ready!(Pin::new(&mut *stream).poll_write(cx, self.bytes.get(self.sent..).unwrap_or_default()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    /// Forgets what waits and gives the memory back.
    pub fn clear(&mut self) {
        self.sent = 0;
        if self.bytes.capacity() > 0 {
            self.bytes.clear();
            give_back(&OUTPUTS, &mut self.bytes);
            self.bytes = Vec::new();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        give_back(&OUTPUTS, &mut self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn input_grows_to_its_limit_and_no_further() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(&vec![b'x'; 50_000]).await.unwrap();
        let mut input = Input::new();
        let error = loop {
            match poll_fn(|cx| input.poll_read(&mut near, cx, 40_000)).await {
                Ok(count) => assert!(count > 0),
                Err(e) => break e,
            }
        };
        assert_eq!((error.kind(), input.data().len()), (io::ErrorKind::OutOfMemory, 40_000));
        input.consume(39_999);
        assert!(poll_fn(|cx| input.poll_read(&mut near, cx, 40_000)).await.unwrap() > 0);
        input.consume(usize::MAX);
        assert!(input.is_empty());
    }

    #[tokio::test]
    async fn waiting_holds_no_memory() {
        let (mut near, _far) = tokio::io::duplex(100);
        let mut input = Input::new();
        let waited = poll_fn(|cx| Poll::Ready(input.poll_read(&mut near, cx, 100).is_pending())).await;
        assert!(waited && input.bytes.capacity() == 0);
    }

    #[tokio::test]
    async fn output_is_written_whole() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"0123456789");
        let (written, read) = tokio::join!(poll_fn(|cx| output.poll_write(&mut near, cx)), async {
            let mut got = [0; 10];
            far.read_exact(&mut got).await.map(|_| got)
        });
        written.unwrap();
        assert_eq!(&read.unwrap(), b"0123456789");
        assert!(output.is_empty() && output.bytes.capacity() == 0);
    }
}
