//! The path of one request: rules, server, exchange, record. Everything happens in place, on the task of the client's connection.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use ::http::{Method, StatusCode, Version};

use super::backend::{Ask, Backend, Lease, NoServer, ServerOutcome};
use super::body::BodyWriter;
use super::client::{ClientStream, ToClient, inform, start_response};
use super::exchange::{Exchange, ExchangeError, Filter, ResponseMeta, ServerHalf};
use super::head::{RequestHead, ResponseHead};
use super::http1::framing::BodyLength;
use super::http1::request::RequestFraming;
use super::http1::write::{self, WriteFraming};
use super::http2::convert;
use super::side::{H2Side, Side, SideError};
use super::site::Site;
use super::story::{Ended, Told};
use super::upgrade::{TunnelEnd, tunnel};
use super::upstream::{self, ConnectError, Ready};
use crate::agent::relay::content::compress::{self, Encoder};
use crate::agent::relay::deadline::Deadline;
use crate::agent::relay::protect::{Denied, Guard};
use crate::agent::relay::route::template::Vars;
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

/// A response of the relay's own.
struct Own {
    head: ResponseHead,
    body: std::sync::Arc<[u8]>,
    ended: Ended,
}

/// Sees a request through. The caller has it recorded.
pub async fn serve<B: Backend>(site: &Site<B>, connection: &Connection, request: &mut Request<'_>) -> After {
    let client = site.forwarding.client(&request.head.headers, connection.peer());
    request.told.client = client;
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
    request.told.route = Some(route.0);
    let route = route.1;
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
    request.told.pool = Some(std::sync::Arc::clone(backend.name()));
    prepare(site, route, connection, request);
    forward(site, connection, request, route, backend, cookie).await
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

fn vars<'v, B: Backend>(
    site: &'v Site<B>,
    route: &'v Route,
    connection: &Connection,
    head: &'v RequestHead,
    told: &'v Told,
) -> Vars<'v> {
    let target = told.original_target.as_deref().unwrap_or(&head.target);
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    Vars {
        client: told.client,
        listener: &site.listener,
        route: &route.name,
        pool: told.pool.as_deref().unwrap_or_default(),
        server: told.server.as_deref().unwrap_or_default(),
        tls: connection.tls,
        method: head.method.as_str(),
        host: head.host(),
        path,
        query,
        request_id: &told.request_id,
    }
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

/// The page of an error: the route's, the listener's, or a plain one.
fn page<B: Backend>(site: &Site<B>, route: Option<&Route>, status: StatusCode, ended: Ended) -> Own {
    let custom = route.and_then(|r| r.error_pages.get(status.as_u16())).or_else(|| site.error_pages.get(status.as_u16()));
    match custom.map(|respond| &respond.body) {
        Some(crate::agent::relay::route::respond::Body::Fixed(bytes)) => {
            let mut head = ResponseHead::new(status);
            if let Some(respond) = custom {
                head.headers.set("Content-Type", &*respond.content_type);
            }
            Own { head, body: std::sync::Arc::clone(bytes), ended }
        }
        _ => {
            let mut head = ResponseHead::new(status);
            head.headers.set("Content-Type", "text/plain; charset=utf-8");
            Own { head, body: Site::<B>::plain_page(status).into_bytes().into(), ended }
        }
    }
}

/// Answers by itself.
async fn own<B: Backend>(
    site: &Site<B>,
    connection: &Connection,
    request: &mut Request<'_>,
    route: Option<&Route>,
    mut own: Own,
) -> After {
    if let Some(route) = route.filter(|r| !r.response_headers.is_empty()) {
        route.response_headers.apply(&mut own.head.headers, &vars(site, route, connection, request.head, request.told));
    }
    own.head.headers.set("Cache-Control", "no-cache");
    request.told.status = Some(own.head.status.as_u16());
    request.told.ended = own.ended;
    // What is left of the request's body would be taken for the next request.
    let keep_alive = request.framing.keep_alive && request.client.side.is_read() && !connection.session.is_closing();
    let to = ToClient { version: request.head.version, keep_alive };
    let sent = request.client.answer(&request.head.method, &own.head, &own.body, to, site.timeouts.client).await;
    match sent {
        Ok(bytes) => {
            request.told.bytes += bytes;
            if keep_alive { After::Keep } else { After::Close }
        }
        Err(_) => {
            request.told.ended = Ended::CLIENT_DATA;
            After::Abort
        }
    }
}

/// How an attempt to get a response failed.
struct Failed {
    status: StatusCode,
    ended: Ended,
    /// Nothing says that the server has seen the request, or the method may be repeated; and nothing of the body is gone.
    repeatable: bool,
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
) -> After {
    let mut before: Option<B::Lease> = None;
    loop {
        let started = Instant::now();
        let ask = Ask { request: request.head, client: request.told.client, tls: connection.tls, attempt: request.told.retries };
        let mut lease = match backend.pick(ask, before.as_ref()).await {
            Ok(lease) => lease,
            Err(error) => {
                let ended = if error == NoServer::Down { Ended::SERVER_CONNECT } else { Ended::QUEUE_TIMEOUT };
                request.told.queue = Some(started.elapsed());
                return own(
                    site,
                    connection,
                    request,
                    Some(route),
                    page(site, Some(route), StatusCode::SERVICE_UNAVAILABLE, ended),
                )
                .await;
            }
        };
        drop(before.take());
        let picked = Instant::now();
        request.told.queue = Some(picked - started);
        request.told.server = Some(std::sync::Arc::clone(lease.server()));
        let preamble = lease.preamble(connection.peer, connection.local);
        // What cannot be repeated does not go over a connection that the server may be closing right now.
        let fresh =
            request.told.retries > 0 || !(request.head.method.is_idempotent() || request.framing.body == BodyLength::None);
        let failed = match upstream::connect(lease.target(), &preamble, fresh).await {
            Ok(ready) => {
                request.told.connect = Some(picked.elapsed());
                let attempt = attempt(site, connection, request, route, backend, &mut lease, ready, &preamble, cookie.as_deref());
                match attempt.await {
                    Ok(after) => return after,
                    Err(failed) => failed,
                }
            }
            Err(error) => {
                lease.note(ServerOutcome::ConnectFailed);
                let (status, ended) = match error {
                    ConnectError::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, Ended::SERVER_CONNECT_TIMEOUT),
                    ConnectError::Io(_) | ConnectError::H2(_) => (StatusCode::SERVICE_UNAVAILABLE, Ended::SERVER_CONNECT),
                };
                tracing::debug!(server = &**lease.server(), %error, "no connection");
                Failed { status, ended, repeatable: true, client: false }
            }
        };
        if failed.client {
            request.told.ended = failed.ended;
            if failed.status == StatusCode::OK {
                return After::Abort;
            }
            return own(site, connection, request, Some(route), page(site, Some(route), failed.status, failed.ended)).await;
        }
        if !failed.repeatable || !backend.may_retry(request.told.retries) {
            return own(site, connection, request, Some(route), page(site, Some(route), failed.status, failed.ended)).await;
        }
        request.told.retries += 1;
        before = Some(lease);
    }
}

/// Puts the head of the request into the server's output.
fn start(
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
) -> Result<After, Failed> {
    let sent_at = Instant::now();
    let patience = backend.patience(site.timeouts.client);
    let mut ready = ready;
    if let Ready::H2(h2) = &mut ready
        && let Err(error) = std::future::poll_fn(|cx| h2.send.poll_ready(cx)).await
    {
        tracing::debug!(server = &**lease.server(), %error, "a kept connection of HTTP/2 has ended");
        lease.note(ServerOutcome::ConnectFailed);
        return Err(Failed { status: StatusCode::BAD_GATEWAY, ended: Ended::SERVER_CONNECT, repeatable: true, client: false });
    }
    let tls = lease.target().tls.is_some();
    let (half, _place) = start(request.head, request.framing, ready, tls).map_err(|_| {
        lease.note(ServerOutcome::ResponseFailed);
        Failed { status: StatusCode::BAD_GATEWAY, ended: Ended::SERVER_HEADERS, repeatable: false, client: false }
    })?;
    let ClientStream { side, respond } = &mut *request.client;
    let mut exchange = Exchange::new(side, half, request.deadline, patience, site.body_limit);
    exchange.respond = respond.as_mut();
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
            return Err(Failed { status: StatusCode::OK, ended: Ended::CLIENT_HEADERS, repeatable: false, client: true });
        }
    };
    let status = request.response.status;
    lease.note(ServerOutcome::Answer(status.as_u16()));
    request.told.response = Some(sent_at.elapsed());
    request.told.status = Some(status.as_u16());
    for cookie in cookie.map(str::to_owned).into_iter().chain(lease.set_cookie()) {
        request.response.headers.add("Set-Cookie", cookie);
    }
    if !route.response_headers.is_empty() {
        let vars = vars(site, route, connection, request.head, request.told);
        route.response_headers.apply(&mut request.response.headers, &vars);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let server = exchange.server.side;
        return Ok(upgraded(site, request, server, lease, &meta).await);
    }
    let mut encoder = compression(route, request.head, request.response, &meta);
    let body = client_framing(&meta, request.head.version, encoder.is_some());
    let keep_alive = request.framing.keep_alive
        && exchange.request_is_sent()
        && body != BodyLength::UntilClose
        && !connection.session.is_closing();
    let to = ToClient { version: request.head.version, keep_alive };
    let begun = start_response(exchange.client, exchange.respond.as_deref_mut(), request.response, body, to, None);
    let result = match begun {
        Ok(bytes) => {
            request.told.bytes += bytes;
            exchange.bodies(encoder.as_mut().map(|e| e as &mut dyn Filter)).await
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
            if matches!(error, ExchangeError::Server(_) | ExchangeError::ServerTimeout(_)) {
                lease.note(ServerOutcome::ResponseFailed);
            }
            server.abort(h2::Reason::CANCEL);
            request.client.side.abort(h2::Reason::INTERNAL_ERROR);
            Ok(After::Abort)
        }
    }
}

/// Why there was no response, and whether another attempt may be made.
fn failure(error: &ExchangeError, exchange: &Exchange<'_>, method: &Method) -> Failed {
    let untouched = exchange.request_bytes() == 0 && !exchange.server.answered;
    let failed = |status, ended| Failed { status, ended, repeatable: false, client: false };
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
            Failed { repeatable: untouched, ..failed(StatusCode::BAD_GATEWAY, Ended::SERVER_HEADERS) }
        }
        ExchangeError::Server(_) => {
            // A server that closes a kept connection as the request comes has most likely not seen it; only what may be repeated
            // anyway is (RFC 9110, 9.2.2).
            Failed { repeatable: untouched && method.is_idempotent(), ..failed(StatusCode::BAD_GATEWAY, Ended::SERVER_HEADERS) }
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
fn compression(route: &Route, request: &RequestHead, response: &mut ResponseHead, meta: &ResponseMeta) -> Option<Compressing> {
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
    encoder.map(|encoder| Compressing(Some(encoder)))
}

struct Compressing(Option<Encoder>);

impl Filter for Compressing {
    fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |encoder| encoder.write(data, out))
    }
    fn pause(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |encoder| encoder.flush(out))
    }
    fn end(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        self.0.take().map_or(Ok(()), |encoder| encoder.finish(out))
    }
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
    let (end, sent, received) = tunnel(client, &mut server, request.deadline, site.timeouts.tunnel).await;
    request.told.received = sent;
    request.told.bytes += received;
    lease.passed(sent, received);
    request.told.ended = match end {
        TunnelEnd::Closed => Ended::NORMAL,
        TunnelEnd::Silent => Ended::CLIENT_DATA_TIMEOUT,
        TunnelEnd::Failed => Ended::CLIENT_DATA,
    };
    After::Abort
}
