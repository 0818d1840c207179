//! A client connection of HTTP/2: its streams run side by side on the connection's task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::cork::{Cork, Hold};
use super::{CONNECTION_WINDOW, STREAM_WINDOW, convert};
use crate::agent::relay::deadline::Deadline;
use crate::agent::relay::http::backend::Backend;
use crate::agent::relay::http::client::{ClientStream, ToClient};
use crate::agent::relay::http::forward::{self, Connection, Request};
use crate::agent::relay::http::head::ResponseHead;
use crate::agent::relay::http::http1::framing::{BodyLength, ConnectionFields};
use crate::agent::relay::http::http1::request::RequestFraming;
use crate::agent::relay::http::serve::LentHeads;
use crate::agent::relay::http::side::{H2Side, Side};
use crate::agent::relay::http::site::{Began, Site};
use crate::agent::relay::http::story::{Ended, Told};

/// Counts streams that the client resets, a second at a time.
#[derive(Debug)]
struct Resets {
    since: Instant,
    count: u32,
    most: u32,
}

impl Resets {
    /// Whether this one is too many.
    fn one_more(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        self.count > self.most
    }
}

/// Serves a connection until it ends.
pub async fn serve<B: Backend>(current: &impl Fn() -> Rc<Site<B>>, io: Cork, connection: &Connection) {
    let site = current();
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(site.http2.streams)
        .max_header_list_size(u32::try_from(site.heads.size).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_reset_streams(site.http2.streams as usize);
    let Ok(Ok(mut h2)) = tokio::time::timeout(site.timeouts.request, builder.handshake::<_, Bytes>(io.clone())).await else {
        return;
    };
    io.gather();
    let mut hold = Hold::default();
    let spare = RefCell::default();
    let mut running = FuturesUnordered::new();
    let mut idle = Deadline::after(site.timeouts.keepalive);
    let mut resets = Resets { since: Instant::now(), count: 0, most: site.http2.resets };
    let mut leaving = false;
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            while let Poll::Ready(accepted) = h2.poll_accept(cx) {
                let Some(Ok((request, respond))) = accepted else { return Poll::Ready(()) };
                running.push(stream(current(), connection, &spare, request, respond));
                moved = true;
            }
            while let Poll::Ready(Some(was_reset)) = running.poll_next_unpin(cx) {
                moved = true;
                if was_reset && resets.one_more(Instant::now()) {
                    tracing::warn!(peer = ?connection.peer, "a client resets more streams than allowed; its connection is closed");
                    h2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                    running.clear();
                }
            }
            if connection.session.is_closing() && !leaving {
                leaving = true;
                h2.graceful_shutdown();
                moved = true;
            }
            if !moved {
                break;
            }
            if running.is_empty() {
                // Their timers keep what they last woke in memory.
                spare.borrow_mut().clear();
            }
            // What the streams have put into the connection is gathered at the next turn.
            idle.set(Instant::now(), site.timeouts.keepalive);
        }
        if idle.poll_expired(cx).is_ready() {
            if running.is_empty() && !leaving {
                leaving = true;
                h2.graceful_shutdown();
                cx.waker().wake_by_ref();
            } else if running.is_empty() {
                return Poll::Ready(());
            }
            idle.set(Instant::now(), site.timeouts.keepalive);
            // Registers the timer anew.
            let _ = idle.poll_expired(cx);
        }
        match hold.poll(&io, !running.is_empty(), cx) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    })
    .await;
}

/// One stream; whether the client has reset it. `spare` are deadlines of streams before it, whose timers are used again.
async fn stream<B: Backend>(
    site: Rc<Site<B>>,
    connection: &Connection,
    spare: &RefCell<Vec<Deadline>>,
    request: ::http::Request<h2::RecvStream>,
    respond: h2::server::SendResponse<Bytes>,
) -> bool {
    let began = Began::now();
    let mut heads = LentHeads::take();
    let heads = heads.get();
    let (parts, body) = request.into_parts();
    let read = convert::read_request(&parts, &mut heads.request);
    let fields = ConnectionFields {
        te_trailers: parts.headers.get_all("te").iter().any(|v| v.as_bytes().eq_ignore_ascii_case(b"trailers")),
        expect_continue: parts.headers.get("expect").is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue")),
        ..ConnectionFields::default()
    };
    let length = parts.headers.get("content-length").and_then(|l| l.to_str().ok()?.parse().ok());
    let body_length = match length {
        _ if body.is_end_stream() => BodyLength::None,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::Chunked,
    };
    let framing = RequestFraming { body: body_length, keep_alive: true, fields };
    let recv = (framing.body != BodyLength::None).then_some(body);
    let mut client = ClientStream { side: Side::H2(H2Side::new(recv)), respond: Some(respond) };
    let mut told = Told::new(connection.peer(), connection.tls, began);
    let kept = spare.borrow_mut().pop();
    let mut deadline = match kept {
        Some(mut deadline) => {
            deadline.set(Instant::from_std(began.at), site.timeouts.client);
            deadline
        }
        None => Deadline::after(site.timeouts.client),
    };
    match read {
        Ok(()) => {
            let mut request = Request {
                head: &mut heads.request,
                framing: &framing,
                client: &mut client,
                response: &mut heads.response,
                deadline: &mut deadline,
                told: &mut told,
            };
            if forward::serve(&site, connection, &mut request).await == forward::After::Abort
                && let Some(respond) = &mut client.respond
            {
                respond.send_reset(h2::Reason::INTERNAL_ERROR);
            }
        }
        Err(refusal) => {
            let response = ResponseHead::new(refusal.status());
            told.status = Some(refusal.status().as_u16());
            told.ended = Ended::CLIENT_REQUEST;
            let to = ToClient { version: parts.version, keep_alive: true };
            // Whether it takes the answer is up to the client.
            let _ = client.answer(&parts.method, &response, &[], to, site.timeouts.client).await;
        }
    }
    spare.borrow_mut().push(deadline);
    told.total = told.began.at.elapsed();
    if let Some(recorder) = &site.recorder {
        recorder.record(&heads.request, &told);
    }
    told.ended == Ended::CLIENT_HEADERS || (told.ended == Ended::CLIENT_DATA && told.status != Some(StatusCode::OK.as_u16()))
}
