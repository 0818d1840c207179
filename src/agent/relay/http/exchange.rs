//! Moves the bodies of one request and its response between client and server, both at once, with their timeouts.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::Method;
use tokio::time::Instant;

use super::head::ResponseHead;
use super::http1::framing::BodyLength;
use super::http1::{HeadLimits, Refusal, head_end, response};
use super::http2::convert;
use super::side::{Next, Side, SideError};
use crate::agent::relay::deadline::Deadline;

/// Which side an exchange failed on.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("client: {0}")]
    Client(SideError),
    #[error("server: {0}")]
    Server(SideError),
    #[error("the client was silent for {0:?}")]
    ClientTimeout(Duration),
    #[error("the server was silent for {0:?}")]
    ServerTimeout(Duration),
    #[error("the body of the request is larger than the limit")]
    RequestTooLarge,
}

/// Silence that is allowed while something is expected.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub client: Duration,
    pub server: Duration,
}

/// Changes a body on its way to the client.
pub trait Filter {
    /// Takes data and appends what is to be sent instead.
    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> std::io::Result<()>;
    /// The body pauses: makes what came so far readable.
    fn pause(&mut self, out: &mut Vec<u8>) -> std::io::Result<()>;
    /// The end of the body; appends what is still to be sent.
    fn end(&mut self, out: &mut Vec<u8>) -> std::io::Result<()>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Copying,
    Flushing,
    Done,
    /// The receiver takes no more; the sender's rest is not read.
    Broken,
}

/// One body on its way.
#[derive(Debug)]
struct Copy {
    phase: Phase,
    /// Bytes of data that were passed on.
    passed: u64,
    /// Bytes of data that may be.
    limit: u64,
    /// Data has come since the filter was last told of a pause.
    unpaused: bool,
}

enum CopyError {
    From(SideError),
    To(SideError),
    TooLarge,
}

impl Copy {
    fn new(limit: u64) -> Self {
        Self { phase: Phase::Copying, passed: 0, limit, unpaused: false }
    }

    /// Ready when the body has been sent whole.
    fn poll(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        mut filter: Option<&mut dyn Filter>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CopyError>> {
        let mut changed = Vec::new();
        while self.phase == Phase::Copying {
            if to.is_full() {
                ready!(to.poll_flush(cx)).map_err(CopyError::To)?;
            }
            match from.poll_piece(cx) {
                Poll::Ready(Ok(Next::Data)) => {
                    self.passed += from.data().len() as u64;
                    self.unpaused = true;
                    if self.passed > self.limit {
                        return Poll::Ready(Err(CopyError::TooLarge));
                    }
                    match &mut filter {
                        None => to.put(from.data()),
                        Some(filter) => {
                            changed.clear();
                            filter.data(from.data(), &mut changed).map_err(|e| CopyError::From(e.into()))?;
                            to.put(&changed);
                        }
                    }
                    from.consume();
                }
                Poll::Ready(Ok(Next::End)) => {
                    let trailers = ready!(from.poll_trailers(cx)).map_err(CopyError::From)?;
                    if let Some(filter) = &mut filter {
                        changed.clear();
                        filter.end(&mut changed).map_err(|e| CopyError::From(e.into()))?;
                        to.put(&changed);
                    }
                    to.finish(trailers.as_ref()).map_err(CopyError::From)?;
                    self.phase = Phase::Flushing;
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(CopyError::From(e))),
                Poll::Pending => {
                    if let Some(filter) = &mut filter
                        && std::mem::take(&mut self.unpaused)
                    {
                        changed.clear();
                        filter.pause(&mut changed).map_err(|e| CopyError::From(e.into()))?;
                        to.put(&changed);
                    }
                    if to.has_output() {
                        ready!(to.poll_flush(cx)).map_err(CopyError::To)?;
                    }
                    return Poll::Pending;
                }
            }
        }
        if self.phase == Phase::Flushing {
            ready!(to.poll_flush(cx)).map_err(CopyError::To)?;
            self.phase = Phase::Done;
        }
        Poll::Ready(Ok(()))
    }
}

/// What the head of a response says of what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseMeta {
    pub body: BodyLength,
    /// The server takes another request on this connection.
    pub keep_alive: bool,
    /// The protocol of a 101.
    pub upgrade: Option<String>,
}

/// The server's half of an exchange, after the head of the request was put into its output.
#[derive(Debug)]
pub struct ServerHalf {
    pub side: Side,
    /// The response of HTTP/2, until its head is there.
    pub response: Option<h2::client::ResponseFuture>,
    /// Where the search for the end of the head stopped.
    scanned: usize,
    /// Something of a response has come.
    pub answered: bool,
}

impl ServerHalf {
    pub fn new(side: Side, response: Option<h2::client::ResponseFuture>) -> Self {
        Self { side, response, scanned: 0, answered: false }
    }

    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        limits: &HeadLimits,
        head: &mut ResponseHead,
    ) -> Poll<Result<ResponseMeta, SideError>> {
        match &mut self.side {
            Side::H1(side) => loop {
                if let Some(end) = head_end(side.input.data(), &mut self.scanned)? {
                    if end > limits.size {
                        return Poll::Ready(Err(Refusal::HeadTooLarge.into()));
                    }
                    let bytes = side.input.data().get(..end).unwrap_or_default();
                    let framing = response::parse(bytes, method, limits, head)?;
                    side.input.consume(end);
                    side.reader = super::body::BodyReader::new(framing.body);
                    self.scanned = 0;
                    let (body, keep_alive) = (framing.body, framing.keep_alive);
                    return Poll::Ready(Ok(ResponseMeta { body, keep_alive, upgrade: framing.fields.upgrade }));
                }
                if side.input.data().len() >= limits.size {
                    return Poll::Ready(Err(Refusal::HeadTooLarge.into()));
                }
                if !ready!(side.poll_read(cx, limits.size.max(crate::agent::relay::buffer::BUFFER_SIZE)))? {
                    return Poll::Ready(Err(SideError::Truncated));
                }
                self.answered = true;
            },
            Side::H2(side) => {
                let Some(response) = &mut self.response else { return Poll::Ready(Err(SideError::Truncated)) };
                if let Poll::Ready(Some(informational)) = response.poll_informational(cx) {
                    convert::read_response(&informational?.into_parts().0, head);
                    return Poll::Ready(Ok(ResponseMeta { body: BodyLength::None, keep_alive: true, upgrade: None }));
                }
                let (parts, recv) = ready!(std::pin::Pin::new(response).poll(cx))?.into_parts();
                self.response = None;
                self.answered = true;
                convert::read_response(&parts, head);
                let length = head.headers.get("content-length").and_then(|l| std::str::from_utf8(l).ok()?.parse().ok());
                let body = match length {
                    _ if recv.is_end_stream() || response::is_without_body(head.status, method) => BodyLength::None,
                    Some(length) => BodyLength::Known(length),
                    None => BodyLength::Chunked,
                };
                side.recv = Some(recv);
                Poll::Ready(Ok(ResponseMeta { body, keep_alive: true, upgrade: None }))
            }
        }
    }
}

/// A request and its response, between their two sides.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub client: &'a mut Side,
    /// The stream of a client of HTTP/2, until the head of the response is sent: tells when the client has reset it.
    pub respond: Option<&'a mut h2::server::SendResponse<bytes::Bytes>>,
    pub server: ServerHalf,
    /// A client that has closed ends it.
    pub watched: bool,
    pub deadline: &'a mut Deadline,
    pub patience: Patience,
    request: Copy,
    response: Copy,
}

impl<'a> Exchange<'a> {
    /// `request_limit`: bytes that the request's body may have.
    pub fn new(
        client: &'a mut Side,
        server: ServerHalf,
        deadline: &'a mut Deadline,
        patience: Patience,
        request_limit: u64,
    ) -> Self {
        Self {
            client,
            respond: None,
            server,
            watched: false,
            deadline,
            patience,
            request: Copy::new(request_limit),
            response: Copy::new(u64::MAX),
        }
    }

    /// Bytes of the request's body that were passed on.
    pub fn request_bytes(&self) -> u64 {
        self.request.passed
    }

    /// Bytes of the response's body that came from the server.
    pub fn response_bytes(&self) -> u64 {
        self.response.passed
    }

    /// Whether the whole request has been sent to the server.
    pub fn request_is_sent(&self) -> bool {
        self.request.phase == Phase::Done
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        match self.request.phase {
            Phase::Done | Phase::Broken => Ok(()),
            Phase::Copying | Phase::Flushing => match self.request.poll(self.client, &mut self.server.side, None, cx) {
                Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
                Poll::Ready(Err(CopyError::From(e))) => Err(ExchangeError::Client(e)),
                Poll::Ready(Err(CopyError::TooLarge)) => Err(ExchangeError::RequestTooLarge),
                Poll::Ready(Err(CopyError::To(_))) => {
                    // The server may have answered before it closed: what it said is still to be read.
                    self.request.phase = Phase::Broken;
                    Ok(())
                }
            },
        }
    }

    /// Whether the client has gone away although it has not got its response.
    fn client_is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match self.client {
            Side::H1(side) if self.watched && self.request.phase == Phase::Done => side.poll_gone(cx).is_ready(),
            _ => false,
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, moved: bool, on_client: bool) -> Poll<ExchangeError> {
        let silence = if on_client { self.patience.client } else { self.patience.server };
        if moved {
            self.deadline.set(Instant::now(), silence);
        }
        ready!(self.deadline.poll_expired(cx));
        Poll::Ready(if on_client { ExchangeError::ClientTimeout(silence) } else { ExchangeError::ServerTimeout(silence) })
    }

    /// Sends the request and waits for the head of a response, which may be informational. The body of the request may still be on its
    /// way when the head is there.
    pub async fn head(
        &mut self,
        method: &Method,
        limits: &HeadLimits,
        head: &mut ResponseHead,
    ) -> Result<ResponseMeta, ExchangeError> {
        let mut moved = true;
        poll_fn(|cx| {
            let (before, phase) = (self.request.passed, self.request.phase);
            if let Err(e) = self.poll_request(cx) {
                return Poll::Ready(Err(e));
            }
            if let Poll::Ready(head) = self.server.poll_head(cx, method, limits, head) {
                return Poll::Ready(head.map_err(ExchangeError::Server));
            }
            if self.client_is_gone(cx) {
                return Poll::Ready(Err(ExchangeError::Client(SideError::Truncated)));
            }
            if let Some(respond) = &mut self.respond
                && let Poll::Ready(reset) = respond.poll_reset(cx)
            {
                return Poll::Ready(Err(ExchangeError::Client(
                    reset.map_or_else(SideError::from, |r| h2::Error::from(r).into()),
                )));
            }
            moved |= self.request.passed != before || self.request.phase != phase;
            let on_client = self.request.phase == Phase::Copying && !self.server.side.has_output();
            let expired = self.poll_deadline(cx, std::mem::take(&mut moved), on_client);
            expired.map(Err)
        })
        .await
    }

    /// Passes the response's body on, and what is left of the request's. Returns when the response has been sent whole.
    pub async fn bodies(&mut self, mut filter: Option<&mut dyn Filter>) -> Result<(), ExchangeError> {
        let mut moved = true;
        poll_fn(|cx| {
            let before = (self.request.passed, self.response.passed);
            match self.response.poll(&mut self.server.side, self.client, filter.as_deref_mut().map(|f| f as &mut dyn Filter), cx)
            {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(CopyError::From(e))) => return Poll::Ready(Err(ExchangeError::Server(e))),
                Poll::Ready(Err(CopyError::To(e))) => return Poll::Ready(Err(ExchangeError::Client(e))),
                // The response has no limit.
                Poll::Ready(Err(CopyError::TooLarge)) | Poll::Pending => {}
            }
            if let Err(e) = self.poll_request(cx) {
                return Poll::Ready(Err(e));
            }
            if self.client_is_gone(cx) {
                return Poll::Ready(Err(ExchangeError::Client(SideError::Truncated)));
            }
            moved |= (self.request.passed, self.response.passed) != before;
            let on_client = self.client.has_output();
            let expired = self.poll_deadline(cx, std::mem::take(&mut moved), on_client);
            expired.map(Err)
        })
        .await
    }
}
