//! Sample applications behind the lab's load balancers: small HTTP servers, each with a latency of its own.
//!
//! `/health` answers at once, `/stream` sends a body for a second and a half (so that a drain has something to wait for), any
//! other path answers after the application's latency. Each answer names its server in `x-served-by`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Pieces of a `/stream` body, and the time between them.
const PIECES: usize = 15;
const PIECE_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(super) struct AppSpec {
    pub(super) pool: &'static str,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) latency: Duration,
}

/// Serves until dropped.
pub(super) async fn serve(app: AppSpec, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(app.clone(), stream))),
                // Out of file descriptors: connections that end give some back.
                Err(error) => {
                    tracing::warn!(app = app.name, %error, "accepting a connection");
                    tokio::time::sleep(PIECE_EVERY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(app: AppSpec, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(&app, request.uri().path()).await) }
    });
    // haproxy closes idle connections and aborts health checks as it likes: no error of ours.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(app: &AppSpec, path: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let (content_type, body) = match path {
        "/health" => ("text/plain", Full::new(Bytes::from_static(b"ok\n")).boxed()),
        "/stream" => ("text/plain", pieces().boxed()),
        _ => {
            tokio::time::sleep(app.latency).await;
            let text = format!("{{\"pool\":\"{}\",\"server\":\"{}\"}}\n", app.pool, app.name);
            ("application/json", Full::new(Bytes::from(text)).boxed())
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(name) = HeaderValue::from_str(&app.name) {
        response.headers_mut().insert("x-served-by", name);
    }
    response
}

fn pieces() -> StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
    StreamBody::new(stream::unfold(0, |sent| async move {
        if sent == PIECES {
            return None;
        }
        tokio::time::sleep(PIECE_EVERY).await;
        Some((Ok(Frame::data(Bytes::from(format!("piece {} of {PIECES}\n", sent + 1)))), sent + 1))
    }))
}
