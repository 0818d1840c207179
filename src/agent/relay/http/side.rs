//! One message stream of an exchange: the client's or the server's, HTTP/1.1 or HTTP/2. Bodies are copied from one side to the other
//! without either knowing what the other speaks.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use ::http::HeaderMap;
use bytes::Bytes;

use super::body::{BodyReader, BodyWriter, Piece};
use super::head::Headers;
use super::http1::Refusal;
use super::http1::framing::{BodyLength, is_trailer};
use crate::agent::relay::buffer::{BUFFER_SIZE, Input, Output};
use crate::agent::relay::stream::Stream;

/// Why a side cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("the stream failed: {0}")]
    H2(#[from] h2::Error),
    /// The peer closed before a message was whole.
    #[error("closed before the message was whole")]
    Truncated,
    #[error("the body is not as long as its head said")]
    WrongLength,
}

/// What [`Side::poll_piece`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// [`Side::data`] has something.
    Data,
    End,
}

/// A connection of HTTP/1.1 with the body that is read from it and the one that is written to it.
#[derive(Debug)]
pub struct H1Side {
    pub stream: Stream,
    pub input: Input,
    pub output: Output,
    pub reader: BodyReader,
    pub writer: BodyWriter,
    /// Bytes at the front of `input` that [`Side::data`] gives.
    available: usize,
    /// Nothing more will be read.
    pub closed: bool,
}

impl H1Side {
    pub fn new(stream: Stream, input: Input) -> Self {
        Self {
            stream,
            input,
            output: Output::default(),
            reader: BodyReader::Ended,
            writer: BodyWriter::new(BodyLength::None),
            available: 0,
            closed: false,
        }
    }

    /// Ready when the peer has closed or its connection has failed. What it sends meanwhile is kept for later; nothing is seen behind that.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.closed && self.input.is_empty() {
            match ready!(self.poll_read(cx, BUFFER_SIZE)) {
                Ok(true) => return Poll::Pending,
                Ok(false) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        if self.closed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reads once into the input; false at the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<bool>> {
        let count = ready!(self.input.poll_read(&mut self.stream, cx, most))?;
        self.closed |= count == 0;
        Poll::Ready(Ok(count > 0))
    }
}

/// A stream of HTTP/2 with both its bodies.
#[derive(Debug)]
pub struct H2Side {
    /// The peer's body; `None` where it has none or its head is still to come.
    pub recv: Option<h2::RecvStream>,
    /// Our body; `None` before our head was sent, or where that ended the stream.
    pub send: Option<h2::SendStream<Bytes>>,
    current: Bytes,
    /// Ours, still to be sent.
    pending: Vec<u8>,
    /// Our body ends with this.
    ending: Option<Option<HeaderMap>>,
}

impl H2Side {
    pub fn new(recv: Option<h2::RecvStream>) -> Self {
        Self { recv, send: None, current: Bytes::new(), pending: Vec::new(), ending: None }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, SideError>> {
        while self.current.is_empty() {
            let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(Next::End)) };
            match ready!(recv.poll_data(cx)) {
                Some(data) => self.current = data?,
                None => return Poll::Ready(Ok(Next::End)),
            }
        }
        Poll::Ready(Ok(Next::Data))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SideError>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Ok(())) };
        while !self.pending.is_empty() {
            send.reserve_capacity(self.pending.len());
            let mut room = send.capacity();
            if room == 0 {
                match ready!(send.poll_capacity(cx)) {
                    Some(capacity) => room = capacity?,
                    // The stream is gone: reset, or its connection closed.
                    None => return Poll::Ready(Err(SideError::Truncated)),
                }
            }
            if room == 0 {
                continue;
            }
            let rest = self.pending.split_off(room.min(self.pending.len()));
            let data = Bytes::from(std::mem::replace(&mut self.pending, rest));
            let last = self.pending.is_empty() && matches!(self.ending, Some(None));
            send.send_data(data, last)?;
            if last {
                self.ending = None;
                self.send = None;
                return Poll::Ready(Ok(()));
            }
        }
        match self.ending.take() {
            Some(Some(trailers)) => send.send_trailers(trailers)?,
            Some(None) => send.send_data(Bytes::new(), true)?,
            None => return Poll::Ready(Ok(())),
        }
        self.send = None;
        Poll::Ready(Ok(()))
    }
}

/// See the module.
#[derive(Debug)]
pub enum Side {
    H1(H1Side),
    H2(H2Side),
}

impl Side {
    /// Waits for data of the peer's body, or its end.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, SideError>> {
        match self {
            Self::H2(side) => side.poll_piece(cx),
            Self::H1(side) => loop {
                match side.reader.look(&mut side.input)? {
                    Piece::Data(count) => {
                        side.available = count;
                        return Poll::Ready(Ok(Next::Data));
                    }
                    Piece::End => return Poll::Ready(Ok(Next::End)),
                    Piece::More if side.closed && side.reader.may_close() => return Poll::Ready(Ok(Next::End)),
                    Piece::More if side.closed => return Poll::Ready(Err(SideError::Truncated)),
                    Piece::More => {
                        ready!(side.poll_read(cx, BUFFER_SIZE))?;
                    }
                }
            },
        }
    }

    /// What [`Next::Data`] announced.
    pub fn data(&self) -> &[u8] {
        match self {
            Self::H1(side) => side.input.data().get(..side.available).unwrap_or_default(),
            Self::H2(side) => &side.current,
        }
    }

    /// Uses up what [`Side::data`] gave.
    pub fn consume(&mut self) {
        match self {
            Self::H1(side) => {
                let count = std::mem::take(&mut side.available);
                side.reader.took(&mut side.input, count);
            }
            Self::H2(side) => {
                let count = std::mem::take(&mut side.current).len();
                if let Some(recv) = &mut side.recv {
                    // Only fails for more than was received.
                    let _ = recv.flow_control().release_capacity(count);
                }
            }
        }
    }

    /// Trailers of the peer, after [`Next::End`].
    pub fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Headers>, SideError>> {
        match self {
            Self::H1(side) => {
                let trailers = side.reader.trailers()?;
                side.reader = BodyReader::Ended;
                Poll::Ready(Ok(trailers))
            }
            Self::H2(side) => {
                let Some(recv) = &mut side.recv else { return Poll::Ready(Ok(None)) };
                let trailers = ready!(recv.poll_trailers(cx))?;
                Poll::Ready(Ok(trailers.map(|map| {
                    let mut headers = Headers::new();
                    for (name, value) in map.iter().filter(|(name, _)| is_trailer(name.as_str().as_bytes())) {
                        headers.add(name.as_str(), value.as_bytes());
                    }
                    headers
                })))
            }
        }
    }

    /// Whether the peer's message is whole and nothing of it is left.
    pub fn is_read(&self) -> bool {
        match self {
            Self::H1(side) => matches!(side.reader, BodyReader::Ended),
            Self::H2(side) => side.current.is_empty() && side.recv.as_ref().is_none_or(h2::RecvStream::is_end_stream),
        }
    }

    /// Whether so much waits to be sent that nothing should be added before [`Side::poll_flush`].
    pub fn is_full(&self) -> bool {
        match self {
            Self::H1(side) => side.output.is_full(),
            Self::H2(side) => side.pending.len() >= BUFFER_SIZE,
        }
    }

    /// Whether anything waits to be sent.
    pub fn has_output(&self) -> bool {
        match self {
            Self::H1(side) => !side.output.is_empty(),
            Self::H2(side) => !side.pending.is_empty() || side.ending.is_some(),
        }
    }

    /// Adds data to our body.
    pub fn put(&mut self, data: &[u8]) {
        match self {
            Self::H1(side) => side.writer.put(side.output.bytes(), data),
            Self::H2(side) => side.pending.extend_from_slice(data),
        }
    }

    /// Ends our body; [`Side::poll_flush`] sends it.
    pub fn finish(&mut self, trailers: Option<&Headers>) -> Result<(), SideError> {
        match self {
            Self::H1(side) => {
                let whole = side.writer.finish(side.output.bytes(), trailers);
                if whole { Ok(()) } else { Err(SideError::WrongLength) }
            }
            Self::H2(side) => {
                side.ending = Some(trailers.map(super::http2::convert::to_map));
                Ok(())
            }
        }
    }

    /// Sends all that waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SideError>> {
        match self {
            Self::H1(side) => side.output.poll_write(&mut side.stream, cx).map_err(SideError::from),
            Self::H2(side) => side.poll_flush(cx),
        }
    }

    pub async fn flush(&mut self) -> Result<(), SideError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Makes sure that the peer does not take what it got for whole.
    pub fn abort(&mut self, reason: h2::Reason) {
        match self {
            Self::H1(side) => {
                side.output.clear();
                if !side.writer.shows_truncation() {
                    side.stream.socket().reset_on_close();
                }
            }
            Self::H2(side) => {
                if let Some(send) = &mut side.send {
                    send.send_reset(reason);
                }
            }
        }
    }
}
