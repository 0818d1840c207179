//! The runtime API over a stream: one connection for a line of commands, or one conversation for several that depend on
//! each other. Everything has a deadline and a limit, because a node can answer with anything, or with nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::engine::EngineError;
use crate::transport::{BoxStream, Endpoint, Transport, TransportError};

/// Largest buffer that is reserved because the last reply was as long.
const MAX_RESERVE: usize = 8 << 20;

/// Room in a buffer below which it grows before the next read.
const LEAST_ROOM: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Socket {
    /// None: a TCP socket that is reached from here.
    transport: Option<Arc<dyn Transport>>,
    endpoint: Endpoint,
    /// Bytes of a reply at most.
    max_reply: usize,
    /// Length of the last reply: the next is likely as long.
    expect: AtomicUsize,
}

/// Time that is left of a deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    ends: Instant,
    whole: Duration,
}

impl Deadline {
    pub(super) fn within(whole: Duration) -> Self {
        // A caller that means "for ever" gets a day, which keeps the clock's arithmetic sound.
        let whole = whole.min(Duration::from_secs(86_400));
        Self { ends: Instant::now() + whole, whole }
    }
    /// Ends when half of what is left is over.
    pub(super) fn half(self) -> Self {
        Self { ends: Instant::now() + self.left() / 2, whole: self.left() / 2 }
    }
    pub(super) fn left(self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

impl Socket {
    pub(super) fn new(transport: Option<Arc<dyn Transport>>, endpoint: Endpoint, max_reply: usize) -> Self {
        Self { transport, endpoint, max_reply, expect: AtomicUsize::new(16 << 10) }
    }

    /// For people: `ssh ops@lb1 streamlocal /run/haproxy/admin.sock`.
    pub(super) fn describe(&self) -> String {
        let Some(transport) = &self.transport else { return format!("tcp {}", self.endpoint) };
        let (via, way) = (transport.describe(), transport.way(&self.endpoint));
        if way.is_empty() || way == via { format!("{via} {}", self.endpoint) } else { format!("{via} {way} {}", self.endpoint) }
    }

    /// Sends one line (commands joined by `;`) on a connection of its own and reads until the engine closes it.
    pub(super) async fn ask(&self, line: &str, deadline: Deadline) -> Result<Vec<u8>, EngineError> {
        let work = async {
            let mut stream = self.open(deadline).await?;
            self.write(&mut stream, format!("{line}\n").as_bytes()).await?;
            let mut reply = Vec::with_capacity(self.expect.load(Ordering::Relaxed).min(MAX_RESERVE));
            while self.read(&mut stream, &mut reply, line).await? {}
            if reply.is_empty() {
                return Err(self.closed("the connection was closed without an answer"));
            }
            self.expect.store(reply.len() + (reply.len() >> 4) + LEAST_ROOM, Ordering::Relaxed);
            Ok(reply)
        };
        self.timed(deadline, line, work).await
    }

    /// Opens an interactive connection.
    pub(super) async fn converse(&self, deadline: Deadline) -> Result<Conversation<'_>, EngineError> {
        let work = async {
            let stream = self.open(deadline).await?;
            let mut talk = Conversation { socket: self, stream, deadline };
            talk.exchange("prompt").await?;
            Ok(talk)
        };
        self.timed(deadline, "prompt", work).await
    }

    async fn open(&self, deadline: Deadline) -> Result<BoxStream, TransportError> {
        match (&self.transport, &self.endpoint) {
            (Some(transport), endpoint) => transport.open(endpoint, deadline.left()).await,
            (None, Endpoint::Tcp(address)) => match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(e) => Err(TransportError::Unreachable { at: self.describe(), what: e.to_string() }),
            },
            (None, Endpoint::Unix(path)) => {
                let what = format!("{} is on the node, and nothing says how to reach it", path.display());
                Err(TransportError::Unsupported { at: self.describe(), what })
            }
        }
    }

    async fn timed<T>(
        &self,
        deadline: Deadline,
        doing: &str,
        work: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(deadline.left(), work).await {
            Ok(done) => Ok(done?),
            Err(_) => {
                let timeout = TransportError::Timeout { at: self.describe(), doing: doing.to_owned(), after: deadline.whole };
                Err(timeout.into())
            }
        }
    }

    fn closed(&self, what: &str) -> TransportError {
        TransportError::Unreachable { at: self.describe(), what: what.to_owned() }
    }

    async fn write(&self, stream: &mut BoxStream, bytes: &[u8]) -> Result<(), TransportError> {
        let sent = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        sent.await.map_err(|e| self.closed(&format!("sending: {e}")))
    }

    /// Appends what has arrived; false at the end.
    async fn read(&self, stream: &mut BoxStream, into: &mut Vec<u8>, doing: &str) -> Result<bool, TransportError> {
        // A reply of the expected length must not be moved only to see its end.
        if into.capacity() - into.len() < LEAST_ROOM {
            into.reserve(64 << 10);
        }
        let n = stream.read_buf(into).await.map_err(|e| self.closed(&format!("reading: {e}")))?;
        if into.len() > self.max_reply {
            return Err(TransportError::TooLarge { at: self.describe(), doing: doing.to_owned(), limit: self.max_reply });
        }
        Ok(n > 0)
    }
}

/// Commands one after the other on one connection, each answered before the next is sent.
pub(super) struct Conversation<'s> {
    socket: &'s Socket,
    stream: BoxStream,
    deadline: Deadline,
}

/// What the engine prints when it is ready for the next command.
const PROMPT: &[u8] = b"\n> ";

impl Conversation<'_> {
    pub(super) async fn ask(&mut self, line: &str) -> Result<String, EngineError> {
        let (socket, deadline) = (self.socket, self.deadline);
        socket.timed(deadline, line, self.exchange(line)).await
    }

    async fn exchange(&mut self, line: &str) -> Result<String, TransportError> {
        self.socket.write(&mut self.stream, format!("{line}\n").as_bytes()).await?;
        let mut reply = Vec::new();
        while !reply.ends_with(PROMPT) {
            if !self.socket.read(&mut self.stream, &mut reply, line).await? {
                return Err(self.socket.closed(&format!("the connection was closed in the answer to '{line}'")));
            }
        }
        reply.truncate(reply.len() - PROMPT.len());
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}
