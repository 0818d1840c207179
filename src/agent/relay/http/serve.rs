//! A client connection from its first byte to its last: reads heads, has requests served one after the other, closes as it should.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ::http::{Method, StatusCode};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::backend::Backend;
use super::body::BodyReader;
use super::client::{ClientStream, ToClient};
use super::forward::{After, Connection, Request, serve};
use super::head::{RequestHead, ResponseHead};
use super::http1::{Refusal, head_end, request};
use super::http2::{self, PREFACE};
use super::side::{H1Side, Side};
use super::site::{Began, Site};
use super::story::{Ended, Told};
use crate::agent::relay::buffer::{BUFFER_SIZE, Input};
use crate::agent::relay::deadline::Deadline;
use crate::agent::relay::stream::Stream;

/// After the last response: how long a client may go on sending before the connection is gone. Closing at once would destroy the
/// response with a reset (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(2);
/// Bytes that are thrown away meanwhile.
const LINGER_BYTES: usize = 1 << 20;
/// Heads that a thread keeps for the next request.
const SPARE_HEADS: usize = 64;

/// Both heads of an exchange, with the memory that they have grown to.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub request: RequestHead,
    pub response: ResponseHead,
}

thread_local! {
    static HEADS: RefCell<Vec<Heads>> = const { RefCell::new(Vec::new()) };
}

/// Heads that are lent for one request.
#[derive(Debug)]
pub(super) struct LentHeads(Option<Heads>);

impl LentHeads {
    pub fn take() -> Self {
        Self(Some(HEADS.with_borrow_mut(Vec::pop).unwrap_or_default()))
    }

    pub fn get(&mut self) -> &mut Heads {
        self.0.get_or_insert_default()
    }
}

impl Drop for LentHeads {
    fn drop(&mut self) {
        let Some(mut heads) = self.0.take() else { return };
        heads.request.clear();
        heads.response.clear();
        // While the thread ends its store is gone; then the memory goes as well.
        let _ = HEADS.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_HEADS {
                spare.push(heads);
            }
        });
    }
}

/// What came instead of a head, or with it.
enum Read {
    /// A head of so many bytes.
    Head(usize),
    /// The client speaks HTTP/2 without having said so in TLS.
    Http2,
    Refused(Refusal),
    /// A head was begun and not ended in time.
    Timeout,
    /// Nothing more will come.
    Closed,
}

/// Serves a client until its connection ends. `current` gives the configuration of this moment.
pub async fn serve_connection<B: Backend>(current: impl Fn() -> Rc<Site<B>>, stream: Stream, connection: Connection) {
    if stream.alpn() == Some(b"h2") {
        return http2::server::serve(&current, http2::cork::Cork::new(Input::new(), stream), &connection).await;
    }
    let mut deadline = Deadline::after(current().timeouts.request);
    let mut client = ClientStream { side: Side::H1(H1Side::new(stream, Input::new())), respond: None };
    let mut first = true;
    loop {
        let site = current();
        let Side::H1(side) = &mut client.side else { return };
        let (read, began) = read_head(&site, side, &mut deadline, &connection, first).await;
        first = false;
        let mut heads = LentHeads::take();
        let heads = heads.get();
        let mut told = Told::new(connection.peer(), connection.tls, began);
        let refused = match read {
            Read::Closed => return close(side).await,
            Read::Http2 => {
                let Side::H1(side) = client.side else { return };
                return http2::server::serve(&current, http2::cork::Cork::new(side.input, side.stream), &connection).await;
            }
            Read::Timeout => Err((StatusCode::REQUEST_TIMEOUT, Ended::CLIENT_REQUEST_TIMEOUT)),
            Read::Refused(refusal) => {
                tracing::debug!(peer = ?connection.peer, %refusal, "a request was refused");
                Err((refusal.status(), Ended::CLIENT_REQUEST))
            }
            Read::Head(length) => {
                let head = side.input.data().get(..length).unwrap_or_default();
                match request::parse(head, &site.heads, &mut heads.request) {
                    Ok(framing) => {
                        side.input.consume(length);
                        Ok(framing)
                    }
                    Err(refusal) => {
                        tracing::debug!(peer = ?connection.peer, %refusal, "a request was refused");
                        Err((refusal.status(), Ended::CLIENT_REQUEST))
                    }
                }
            }
        };
        told.request = told.began.at.elapsed();
        let after = match refused {
            Ok(framing) => {
                side.reader = BodyReader::new(framing.body);
                let mut request = Request {
                    head: &mut heads.request,
                    framing: &framing,
                    client: &mut client,
                    response: &mut heads.response,
                    deadline: &mut deadline,
                    told: &mut told,
                };
                serve(&site, &connection, &mut request).await
            }
            Err((status, ended)) => {
                told.ended = ended;
                told.status = Some(status.as_u16());
                refuse(&site, &mut client, &heads.request, status, &mut told).await;
                After::Close
            }
        };
        told.total = told.began.at.elapsed();
        if let Some(recorder) = &site.recorder {
            recorder.record(&heads.request, &told);
        }
        connection.session.set_server(None);
        let Side::H1(side) = &mut client.side else { return };
        match after {
            After::Keep => deadline.set(Instant::now(), site.timeouts.keepalive),
            After::Close => return close(side).await,
            After::Abort => return,
        }
    }
}

async fn read_head<B>(
    site: &Site<B>,
    side: &mut H1Side,
    deadline: &mut Deadline,
    connection: &Connection,
    first: bool,
) -> (Read, Began) {
    let mut scanned = 0;
    let mut began: Option<Began> = None;
    let read = poll_fn(|cx| {
        loop {
            // An empty line before a request is a leftover of some clients (RFC 9112, 2.2).
            while side.input.data().starts_with(b"\r\n") {
                side.input.consume(2);
                scanned = 0;
            }
            if !side.input.is_empty() {
                if began.is_none() {
                    let now = Began::now();
                    began = Some(now);
                    deadline.set(Instant::from_std(now.at), site.timeouts.request);
                }
                match head_end(side.input.data(), &mut scanned) {
                    Ok(Some(_)) if first && side.input.data().starts_with(PREFACE) => return Poll::Ready(Read::Http2),
                    Ok(Some(end)) if end <= site.heads.size => return Poll::Ready(Read::Head(end)),
                    Ok(None) if side.input.data().len() < site.heads.size => {}
                    Ok(_) => return Poll::Ready(Read::Refused(Refusal::HeadTooLarge)),
                    Err(refusal) => return Poll::Ready(Read::Refused(refusal)),
                }
            }
            match side.poll_read(cx, site.heads.size.max(BUFFER_SIZE)) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(Read::Closed),
                Poll::Pending => {
                    if let Some(until) = connection.session.idle_until().filter(|_| side.input.is_empty()) {
                        deadline.not_after(until);
                    }
                    let expired = deadline.poll_expired(cx);
                    // Who has said nothing is told nothing: a browser's spare connection would take it for an answer.
                    return expired.map(|()| if side.input.is_empty() { Read::Closed } else { Read::Timeout });
                }
            }
        }
    })
    .await;
    (read, began.unwrap_or_else(Began::now))
}

/// Tells the client why its request was not even read.
async fn refuse<B: Backend>(site: &Site<B>, client: &mut ClientStream, head: &RequestHead, status: StatusCode, told: &mut Told) {
    let mut response = ResponseHead::new(status);
    response.headers.add("Content-Type", "text/plain; charset=utf-8");
    let to = ToClient { version: head.version, keep_alive: false };
    let page = Site::<B>::plain_page(status);
    // Whether it takes the answer is up to the client.
    if let Ok(bytes) = client.answer(&Method::GET, &response, page.as_bytes(), to, site.timeouts.client).await {
        told.bytes += bytes;
    }
}

/// Closes so that the client can read all that was sent.
async fn close(side: &mut H1Side) {
    let closing = poll_fn(|cx| Pin::new(&mut side.stream).poll_shutdown(cx));
    if !matches!(tokio::time::timeout(LINGER, closing).await, Ok(Ok(()))) || side.closed {
        return;
    }
    let draining = async {
        let mut thrown = 0;
        while thrown < LINGER_BYTES {
            let left = side.input.data().len();
            side.input.consume(left);
            match poll_fn(|cx| side.poll_read(cx, BUFFER_SIZE)).await {
                Ok(true) => thrown += side.input.data().len(),
                Ok(false) | Err(_) => return,
            }
        }
    };
    // A client that goes on sending gets the reset.
    let _ = tokio::time::timeout(LINGER, draining).await;
}
