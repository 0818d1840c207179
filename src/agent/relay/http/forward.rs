//! The path of one request: rules, server, exchange, record. Everything happens in place, on the task of the client's connection.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use ::http::{Method, StatusCode, Version};

use super::backend::{Ask, Backend, Lease, NoServer, ServerOutcome};
use super::body::BodyWriter;
use super::cached::{self, Caching, Came, Passing};
use super::client::{ClientStream, ToClient, inform, start_response};
use super::exchange::{Exchange, ExchangeError, Filter, ResponseMeta, ServerHalf};
use super::head::{RequestHead, ResponseHead};
use super::http1::framing::BodyLength;
use super::http1::request::RequestFraming;
use super::http1::write::{self, WriteFraming};
use super::http2::convert;
use super::mirror;
use super::own::{Own, edit_response, from_memory, own, page, vars};
use super::side::{H2Side, Side, SideError};
use super::site::Site;
use super::story::{Ended, Told};
use super::upgrade::{Passed, TunnelEnd, tunnel};
use super::upstream::{self, ConnectError, Ready};
use crate::agent::relay::content::compress::{self, Encoder};
use crate::agent::relay::deadline::Deadline;
use crate::agent::relay::log::request_id::{self, RequestId};
use crate::agent::relay::pool::ServerId;
use crate::agent::relay::protect::{Denied, Guard};
use crate::agent::relay::route::{Action, Asked, Route};
use crate::agent::relay::session::Session;

/// What stays the same for all requests of a client connection.
#[derive(Debug)]
pub struct Connection {
    pub session: Rc<Session>,
    /// `None` on a unix socket.
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    pub tls: bool,
}

impl Connection {
    /// The peer for rules and logs; a client on a unix socket is this node.
    pub fn peer(&self) -> SocketAddr {
        self.peer.unwrap_or(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0))
    }
}

/// What becomes of the client's connection (HTTP/2: of the stream) after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    Keep,
    /// The response is whole; close, and let the client read it first.
    Close,
    /// Cut it off: the client must not take what it got for the whole.
    Abort,
}

/// One request on its way.
pub struct Request<'a> {
    pub head: &'a mut RequestHead,
    pub framing: &'a RequestFraming,
    pub client: &'a mut ClientStream,
    /// Room for the response's head.
    pub response: &'a mut ResponseHead,
    pub deadline: &'a mut Deadline,
    pub told: &'a mut Told,
}

/// Sees a request through. The caller has it recorded.
pub async fn serve<B: Backend>(site: &Site<B>, connection: &Connection, request: &mut Request<'_>) -> After {
    let client = site.forwarding.client(&request.head.headers, connection.peer());
    request.told.client = client;
    if let Some(name) = &site.request_id {
        identify(site, name, connection, request);
    }
    if let BodyLength::Known(length) = request.framing.body
        && length > site.body_limit
    {
        return own(site, connection, request, None, page(site, None, StatusCode::PAYLOAD_TOO_LARGE, Ended::DENIED)).await;
    }
    let router = std::sync::Arc::clone(&site.router);
    let asked = Asked::new(request.head, client.ip(), connection.tls);
    let (route, _guards) = match admit(site, &router, &asked) {
        Ok(admitted) => admitted,
        Err((status, denied, index)) => {
            drop(asked);
            request.told.route = index;
            let route = index.and_then(|i| router.routes().get(i));
            let mut own_page = page(site, route, status, Ended::DENIED);
            if let Some(seconds) = denied.and_then(|d| d.retry_after()) {
                own_page.head.headers.set("Retry-After", seconds.to_string());
            }
            return own(site, connection, request, route, own_page).await;
        }
    };
    drop(asked);
    let (place, route) = route;
    request.told.route = Some(place);
    let mut cookie = None;
    let pool = match &route.action {
        Action::Pool(pool) => Some(pool.index),
        Action::Split(split) => {
            let picked = split.pick(&request.head.headers, client.ip(), connection.tls, rand::random());
            cookie = picked.as_ref().and_then(|p| p.set_cookie.clone());
            picked.map(|p| p.pool.index)
        }
        Action::Redirect(redirect) => {
            let mut head = ResponseHead::new(StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND));
            let location = redirect.location(&vars(site, route, connection, request.head, request.told), &request.head.authority);
            head.headers.set("Location", location);
            return own(site, connection, request, Some(route), Own { head, body: Default::default(), ended: Ended::LOCAL })
                .await;
        }
        Action::Respond(respond) => {
            let (head, body) = respond.make(&vars(site, route, connection, request.head, request.told));
            return own(site, connection, request, Some(route), Own { head, body, ended: Ended::LOCAL }).await;
        }
    };
    let Some(backend) = pool.and_then(|index| site.pools.get(index)) else {
        return own(
            site,
            connection,
            request,
            Some(route),
            page(site, Some(route), StatusCode::SERVICE_UNAVAILABLE, Ended::DENIED),
        )
        .await;
    };
    let mut caching = match Caching::look(site, place, request.head, connection.tls).await {
        Some(Ok(caching)) => Some(caching),
        Some(Err(stored)) => {
            let kept = cached::answer(route, &stored, request.head);
            return from_memory(site, connection, request, route, kept).await;
        }
        None => None,
    };
    request.told.pool = Some(std::sync::Arc::clone(backend.name()));
    request.told.pool_place = pool;
    prepare(site, route, connection, request);
    if let Some(caching) = &caching {
        caching.prepare(request.head);
    }
    if let Some(mirror) = &route.mirror
        && mirror.wants(rand::random())
        && let Some(shadow) = site.pools.get(mirror.pool.index)
    {
        mirror::send(shadow, request.head, request.framing, client, connection.tls, site.heads);
    }
    forward(site, connection, request, route, backend, cookie, &mut caching).await
}

/// Gives the request an id: a trusted proxy's, or one of its own.
fn identify<B: Backend>(site: &Site<B>, name: &str, connection: &Connection, request: &mut Request<'_>) {
    let given = request.head.headers.get(name).filter(|_| site.forwarding.trusts(connection.peer().ip()));
    match given.and_then(request_id::accept) {
        Some(id) => request.told.request_id.push_str(id),
        None => {
            let id = RequestId::new(request.told.began.wall, rand::random());
            request.told.request_id.push_str(id.as_str());
            request.head.headers.set(name, id.as_str());
        }
    }
}

type Admitted<'r> = ((usize, &'r Route), (Option<Guard>, Option<Guard>));

/// Limits and denials of the listener and the route, and the route itself.
fn admit<'r, B: Backend>(
    site: &Site<B>,
    router: &'r crate::agent::relay::route::Router,
    asked: &Asked<'_>,
) -> Result<Admitted<'r>, (StatusCode, Option<Denied>, Option<usize>)> {
    let denied = |index: Option<usize>| {
        move |d: Denied| (StatusCode::from_u16(d.reason.status()).unwrap_or(StatusCode::FORBIDDEN), Some(d), index)
    };
    let listener = match &site.protection {
        Some(protection) => Some(protection.request(asked, Instant::now()).map_err(denied(None))?),
        None => None,
    };
    let Some((index, route)) = router.find(asked) else { return Err((StatusCode::NOT_FOUND, None, None)) };
    let own = match site.protection_of(index) {
        Some(protection) => Some(protection.request(asked, Instant::now()).map_err(denied(Some(index)))?),
        None => None,
    };
    Ok(((index, route), (listener, own)))
}

/// What the server is to see: forwarding fields, the route's edits, the rewritten target.
fn prepare<B: Backend>(site: &Site<B>, route: &Route, connection: &Connection, request: &mut Request<'_>) {
    let head = &mut *request.head;
    let authority = std::mem::take(&mut head.authority);
    site.forwarding.apply(&mut head.headers, connection.peer().ip(), connection.tls, &authority);
    head.authority = authority;
    if !route.request_headers.is_empty() {
        let mut headers = std::mem::take(&mut head.headers);
        route.request_headers.apply(&mut headers, &vars(site, route, connection, head, request.told));
        head.headers = headers;
    }
    if let Some(rewrite) = &route.rewrite
        && let std::borrow::Cow::Owned(target) = rewrite.apply(&head.target)
    {
        request.told.original_target = Some(std::mem::replace(&mut head.target, target));
    }
}

/// Whether a request may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    /// No connection could be made, so nothing was sent.
    Unsent,
    /// The server has most likely not seen it, or the method may be repeated; and nothing of the body is gone.
    Budgeted,
}

/// How long a request waits after all servers that there are have refused a connection, at most.
pub(in crate::agent::relay) const TURNAROUND: std::time::Duration = std::time::Duration::from_secs(1);

/// How an attempt to get a response failed.
struct Failed {
    status: StatusCode,
    ended: Ended,
    again: Again,
    /// The client itself is gone or has sent nonsense.
    client: bool,
}

async fn forward<B: Backend>(
    site: &Site<B>,
    connection: &Connection,
    request: &mut Request<'_>,
    route: &Route,
    backend: &Rc<B>,
    cookie: Option<String>,
    caching: &mut Option<Caching>,
) -> After {
    let mut tried: Vec<ServerId> = Vec::new();
    let (mut connects, mut sent, mut refused) = (0, 0, false);
    loop {
        let started = Instant::now();
        let ask = Ask { request: request.head, client: request.told.client, tls: connection.tls, tried: &tried };
        let watched = site.abort_on_close && request.head.method.is_idempotent();
        let picked = tokio::select! {
            biased;
            picked = backend.pick(ask) => picked,
            () = request.client.gone(), if watched => {
                request.told.queue = Some(started.elapsed());
                request.told.ended = Ended::CLIENT_QUEUE;
                return After::Abort;
            }
        };
        let mut lease = match picked {
            Ok(lease) => lease,
            Err(error) => {
                let ended = if error == NoServer::Down { Ended::SERVER_CONNECT } else { Ended::QUEUE_TIMEOUT };
                request.told.queue = Some(started.elapsed());
                return fail(site, connection, request, route, StatusCode::SERVICE_UNAVAILABLE, ended, caching).await;
            }
        };
        if refused && tried.contains(&lease.id()) {
            // There is no other one. It may be starting again.
            tokio::time::sleep(lease.target().connect_timeout.min(TURNAROUND)).await;
        }
        request.told.redispatched = tried.last().is_some_and(|last| *last != lease.id());
        let picked = Instant::now();
        request.told.queue = Some(picked - started);
        request.told.server = Some(std::sync::Arc::clone(lease.server()));
        let preamble = lease.preamble(connection.peer, connection.local);
        // What cannot be repeated does not go over a connection that the server may be closing right now.
        let fresh =
            request.told.retries > 0 || !(request.head.method.is_idempotent() || request.framing.body == BodyLength::None);
        let connected = tokio::select! {
            biased;
            connected = upstream::connect(lease.target(), &preamble, fresh) => connected,
            () = request.client.gone(), if watched => {
                request.told.ended = Ended::CLIENT_CONNECT;
                return After::Abort;
            }
        };
        let failed = match connected {
            Ok(ready) => {
                request.told.connect = Some(picked.elapsed());
                let attempt =
                    attempt(site, connection, request, route, backend, &mut lease, ready, &preamble, cookie.as_deref(), caching);
                match attempt.await {
                    Ok(after) => {
                        let (server, pool) = lease.busy();
                        request.told.busy = (server.saturating_sub(1), pool.saturating_sub(1));
                        return after;
                    }
                    Err(failed) => failed,
                }
            }
            Err(error) => {
                if !error.is_own() {
                    lease.note(ServerOutcome::ConnectFailed);
                }
                let (status, ended) = match error {
                    ConnectError::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, Ended::SERVER_CONNECT_TIMEOUT),
                    ConnectError::Io(_) | ConnectError::H2(_) => (StatusCode::SERVICE_UNAVAILABLE, Ended::SERVER_CONNECT),
                };
                tracing::debug!(server = &**lease.server(), %error, "no connection");
                Failed { status, ended, again: Again::Unsent, client: false }
            }
        };
        if failed.client {
            request.told.ended = failed.ended;
            if failed.status == StatusCode::OK {
                return After::Abort;
            }
            return own(site, connection, request, Some(route), page(site, Some(route), failed.status, failed.ended)).await;
        }
        let counted = match failed.again {
            Again::No => None,
            Again::Unsent => (connects < backend.connect_retries()).then_some(&mut connects),
            Again::Budgeted => backend.may_retry(sent).then_some(&mut sent),
        };
        let Some(counted) = counted else {
            return fail(site, connection, request, route, failed.status, failed.ended, caching).await;
        };
        *counted += 1;
        refused = failed.again == Again::Unsent;
        request.told.retries += 1;
        lease.retried();
        tried.push(lease.id());
    }
}

/// Answers for a server that has not: from the cache where something may stand in, else with the page of the error.
async fn fail<B: Backend>(
    site: &Site<B>,
    connection: &Connection,
    request: &mut Request<'_>,
    route: &Route,
    status: StatusCode,
    ended: Ended,
    caching: &mut Option<Caching>,
) -> After {
    if let Some(caching) = caching
        && let Some(stored) = caching.failed()
    {
        let kept = caching.answer(route, &stored);
        return from_memory(site, connection, request, route, kept).await;
    }
    own(site, connection, request, Some(route), page(site, Some(route), status, ended)).await
}

/// Puts the head of the request into the server's output.
pub(super) fn start(
    request: &RequestHead,
    framing: &RequestFraming,
    ready: Ready,
    tls: bool,
) -> Result<(ServerHalf, Option<upstream::H2Ready>), SideError> {
    match ready {
        Ready::H1(mut side) => {
            let framing = WriteFraming {
                body: framing.body,
                keep_alive: true,
                version: Version::HTTP_11,
                upgrade: framing.fields.upgrade.as_deref(),
                expect_continue: framing.fields.expect_continue,
            };
            write::request(side.output.bytes(), request, &framing);
            side.writer = BodyWriter::new(framing.body);
            Ok((ServerHalf::new(Side::H1(side), None), None))
        }
        Ready::H2(mut ready) => {
            let head = convert::write_request(request, tls, framing.fields.te_trailers)?;
            let ends = framing.body == BodyLength::None;
            let (response, send) = ready.send.send_request(head, ends)?;
            let mut side = H2Side::new(None);
            side.send = (!ends).then_some(send);
            Ok((ServerHalf::new(Side::H2(side), Some(response)), Some(ready)))
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one attempt needs all that the request and its server are")]
async fn attempt<B: Backend>(
    site: &Site<B>,
    connection: &Connection,
    request: &mut Request<'_>,
    route: &Route,
    backend: &Rc<B>,
    lease: &mut B::Lease,
    ready: Ready,
    preamble: &[u8],
    cookie: Option<&str>,
    caching: &mut Option<Caching>,
) -> Result<After, Failed> {
    let sent_at = Instant::now();
    let patience = backend.patience(site.timeouts.client);
    let tls = lease.target().tls.is_some();
    let (half, _place) = start(request.head, request.framing, ready, tls).map_err(|_| {
        lease.note(ServerOutcome::ResponseFailed);
        Failed { status: StatusCode::BAD_GATEWAY, ended: Ended::SERVER_HEADERS, again: Again::No, client: false }
    })?;
    let ClientStream { side, respond } = &mut *request.client;
    let mut exchange = Exchange::new(side, half, request.deadline, patience, site.body_limit);
    exchange.respond = respond.as_mut();
    exchange.watched = site.abort_on_close && request.head.method.is_idempotent();
    let meta = loop {
        let meta = match exchange.head(&request.head.method, &site.heads, request.response).await {
            Ok(meta) => meta,
            Err(error) => {
                request.told.received = exchange.request_bytes();
                let failed = failure(&error, &exchange, &request.head.method);
                if !failed.client {
                    tracing::debug!(server = &**lease.server(), %error, "no response");
                    lease.note(ServerOutcome::ResponseFailed);
                }
                exchange.server.side.abort(h2::Reason::CANCEL);
                return Err(failed);
            }
        };
        if !request.response.status.is_informational() || request.response.status == StatusCode::SWITCHING_PROTOCOLS {
            break meta;
        }
        let told = inform(exchange.client, exchange.respond.as_deref_mut(), request.response, request.head.version);
        if told.is_err() || exchange.client.flush().await.is_err() {
            return Err(Failed { status: StatusCode::OK, ended: Ended::CLIENT_HEADERS, again: Again::No, client: true });
        }
    };
    let status = request.response.status;
    lease.note(ServerOutcome::Answer(status.as_u16()));
    request.told.response = Some(sent_at.elapsed());
    request.told.status = Some(status.as_u16());
    let recorder = match caching.as_mut().map(|c| (c.came(request.response), c)) {
        Some((Came::Instead(stored), caching)) => {
            let kept = caching.answer(route, &stored);
            let whole = exchange.request_is_sent() && meta.keep_alive && meta.body == BodyLength::None && preamble.is_empty();
            match exchange.server.side {
                Side::H1(side) if whole => upstream::keep(lease.target(), side),
                mut other => other.abort(h2::Reason::CANCEL),
            }
            return Ok(from_memory(site, connection, request, route, kept).await);
        }
        Some((Came::Passes(recorder), _)) => recorder,
        None => None,
    };
    for cookie in cookie.map(str::to_owned).into_iter().chain(lease.set_cookie()) {
        request.response.headers.add("Set-Cookie", cookie);
    }
    edit_response(site, connection, Some(route), request.head, request.told, request.response);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let server = exchange.server.side;
        return Ok(upgraded(site, request, server, lease, &meta).await);
    }
    let encoder = compression(route, request.head, request.response, &meta);
    let body = client_framing(&meta, request.head.version, encoder.is_some());
    let mut passing = Passing::new(recorder, encoder);
    let keep_alive = request.framing.keep_alive
        && exchange.request_is_sent()
        && body != BodyLength::UntilClose
        && !connection.session.is_closing();
    let to = ToClient { version: request.head.version, keep_alive };
    let begun = start_response(exchange.client, exchange.respond.as_deref_mut(), request.response, body, to, None);
    let result = match begun {
        Ok(bytes) => {
            request.told.bytes += bytes;
            exchange.bodies(passing.as_mut().map(|p| p as &mut dyn Filter)).await
        }
        Err(error) => Err(ExchangeError::Client(error)),
    };
    request.told.received = exchange.request_bytes();
    request.told.bytes += exchange.response_bytes();
    lease.passed(exchange.request_bytes(), exchange.response_bytes());
    let whole = exchange.request_is_sent();
    let mut server = exchange.server.side;
    match result {
        Ok(()) => {
            if let Side::H1(side) = server
                && meta.keep_alive
                && whole
                && preamble.is_empty()
            {
                upstream::keep(lease.target(), side);
            }
            Ok(if keep_alive { After::Keep } else { After::Close })
        }
        Err(error) => {
            tracing::debug!(server = &**lease.server(), %error, "a response was cut off");
            request.told.ended = cut(&error);
            server.abort(h2::Reason::CANCEL);
            if matches!(error, ExchangeError::Server(_) | ExchangeError::ServerTimeout(_)) {
                lease.note(ServerOutcome::ResponseFailed);
                // What the server did say is the client's; that it is not all shows at the end.
                let _ = tokio::time::timeout(patience.client, request.client.side.flush()).await;
            }
            request.client.side.abort(h2::Reason::INTERNAL_ERROR);
            Ok(After::Abort)
        }
    }
}

/// Why there was no response, and whether another attempt may be made.
fn failure(error: &ExchangeError, exchange: &Exchange<'_>, method: &Method) -> Failed {
    let untouched = exchange.request_bytes() == 0 && !exchange.server.answered;
    let failed = |status, ended| Failed { status, ended, again: Again::No, client: false };
    let again = |may| if may { Again::Budgeted } else { Again::No };
    match error {
        ExchangeError::Client(SideError::Refused(refusal)) => {
            Failed { client: true, ..failed(refusal.status(), Ended::CLIENT_REQUEST) }
        }
        ExchangeError::Client(_) => Failed { client: true, ..failed(StatusCode::OK, Ended::CLIENT_HEADERS) },
        ExchangeError::ClientTimeout(_) => {
            Failed { client: true, ..failed(StatusCode::REQUEST_TIMEOUT, Ended::CLIENT_REQUEST_TIMEOUT) }
        }
        ExchangeError::RequestTooLarge => Failed { client: true, ..failed(StatusCode::PAYLOAD_TOO_LARGE, Ended::DENIED) },
        ExchangeError::ServerTimeout(_) => failed(StatusCode::GATEWAY_TIMEOUT, Ended::SERVER_HEADERS_TIMEOUT),
        ExchangeError::Server(SideError::Refused(_)) => failed(StatusCode::BAD_GATEWAY, Ended::SERVER_NONSENSE),
        // A stream that was refused has not been looked at (RFC 9113, 8.7).
        ExchangeError::Server(SideError::H2(e)) if e.reason() == Some(h2::Reason::REFUSED_STREAM) => {
            Failed { again: again(untouched), ..failed(StatusCode::BAD_GATEWAY, Ended::SERVER_HEADERS) }
        }
        ExchangeError::Server(_) => {
            // A server that closes a kept connection as the request comes has most likely not seen it; only what may be repeated
            // anyway is (RFC 9110, 9.2.2).
            Failed { again: again(untouched && method.is_idempotent()), ..failed(StatusCode::BAD_GATEWAY, Ended::SERVER_HEADERS) }
        }
    }
}

fn cut(error: &ExchangeError) -> Ended {
    match error {
        ExchangeError::Client(_) => Ended::CLIENT_DATA,
        ExchangeError::ClientTimeout(_) => Ended::CLIENT_DATA_TIMEOUT,
        ExchangeError::Server(_) => Ended::SERVER_DATA,
        ExchangeError::ServerTimeout(_) => Ended::SERVER_DATA_TIMEOUT,
        ExchangeError::RequestTooLarge => Ended::DENIED,
    }
}

/// How the body reaches the client.
fn client_framing(meta: &ResponseMeta, version: Version, changed: bool) -> BodyLength {
    match meta.body {
        BodyLength::None => BodyLength::None,
        BodyLength::Known(length) if !changed => BodyLength::Known(length),
        // HTTP/1.0 has no chunks: its bodies end where the connection does.
        _ if version == Version::HTTP_10 => BodyLength::UntilClose,
        BodyLength::Known(_) | BodyLength::Chunked | BodyLength::UntilClose => BodyLength::Chunked,
    }
}

/// Compresses where the route wants it and the client takes it; changes the head accordingly.
fn compression(route: &Route, request: &RequestHead, response: &mut ResponseHead, meta: &ResponseMeta) -> Option<Encoder> {
    let config = route.compression.as_ref()?;
    let length = match meta.body {
        BodyLength::None => return None,
        BodyLength::Known(length) => Some(length),
        BodyLength::Chunked | BodyLength::UntilClose => None,
    };
    let decision = compress::decide(config, request, response, length);
    let encoder = match decision.encoding {
        Some(encoding) => Some(Encoder::new(encoding).ok()?),
        None => None,
    };
    compress::amend(decision, response);
    encoder
}

/// Both connections carry another protocol from here on.
async fn upgraded<B: Backend>(
    site: &Site<B>,
    request: &mut Request<'_>,
    server: Side,
    lease: &mut B::Lease,
    meta: &ResponseMeta,
) -> After {
    let (Side::H1(client), Side::H1(mut server)) = (&mut request.client.side, server) else { return After::Abort };
    // A 101 that nobody asked for (RFC 9110, 7.8).
    if request.framing.fields.upgrade.is_none() {
        lease.note(ServerOutcome::ResponseFailed);
        request.told.ended = Ended::SERVER_NONSENSE;
        return After::Abort;
    }
    let framing = WriteFraming {
        body: BodyLength::None,
        keep_alive: true,
        version: request.head.version,
        upgrade: meta.upgrade.as_deref().or(request.framing.fields.upgrade.as_deref()),
        expect_continue: false,
    };
    write::response(client.output.bytes(), request.response, &framing);
    let mut passed = Passed::default();
    let end = tunnel(client, &mut server, request.deadline, site.timeouts.tunnel, &mut passed).await;
    request.told.received = passed.sent;
    request.told.bytes += passed.received;
    lease.passed(passed.sent, passed.received);
    request.told.ended = match end {
        TunnelEnd::Closed => Ended::NORMAL,
        TunnelEnd::Silent => Ended::CLIENT_DATA_TIMEOUT,
        TunnelEnd::ClientFailed => Ended::CLIENT_DATA,
        TunnelEnd::ServerFailed => Ended::SERVER_DATA,
    };
    After::Abort
}
