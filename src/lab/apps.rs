//! Sample applications behind the lab's load balancers: small HTTP servers, each with a latency of its own.
//!
//! An application is a host with an address of its own and serves on one port for each pool. `/health` answers at once,
//! `/stream` sends a body for a second and a half (so that a drain has something to wait for), any other path answers after the
//! application's latency. Each answer names its server in `x-served-by`.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::LabError;
use super::layout::{self, POOLS};

/// Applications listen on 127.0.0.101 and up: each looks like a host of its own.
const FIRST_HOST: u8 = 101;
/// Pieces of a `/stream` body, and the time between them.
const PIECES: usize = 15;
const PIECE_EVERY: Duration = Duration::from_millis(100);

/// One server of a pool.
#[derive(Clone, Debug)]
pub(super) struct AppSpec {
    pub(super) pool: &'static str,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    latency: Duration,
    /// Percent of its answers that are errors.
    errors: u8,
}

/// Applications until it is dropped.
pub(super) struct Apps {
    hosts: Vec<Application>,
}

struct Application {
    servers: Vec<AppSpec>,
    /// Empty while it is down.
    tasks: Mutex<JoinSet<()>>,
}

impl Apps {
    /// Starts so many applications, each of which is a server of every pool.
    pub(super) fn start(count: u8, errors: u8) -> Result<Self, LabError> {
        let mut hosts = Vec::new();
        for i in 0..count {
            let host = layout::loopback(FIRST_HOST.saturating_add(i));
            let (mut servers, mut tasks) = (Vec::new(), JoinSet::new());
            for (pool, slower) in POOLS.into_iter().zip(1u64..) {
                let listener = bind(host)?;
                let address = listener.local_addr().map_err(LabError::io("asking for a listener's address"))?;
                let latency = Duration::from_millis((2 + 3 * u64::from(i % 8)) * slower);
                let server = AppSpec { pool, name: format!("{pool}{}", i + 1), address, latency, errors };
                tasks.spawn(serve(server.clone(), listener));
                servers.push(server);
            }
            hosts.push(Application { servers, tasks: Mutex::new(tasks) });
        }
        Ok(Self { hosts })
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &AppSpec> {
        self.hosts.iter().flat_map(|host| &host.servers)
    }

    /// Servers of one application, counted from 1.
    pub(super) fn servers_of(&self, application: u8) -> &[AppSpec] {
        self.host(application).map(|host| host.servers.as_slice()).unwrap_or_default()
    }

    /// Ends an application as SIGKILL ends a process: its ports are closed, what it was answering is cut off.
    pub(super) async fn kill(&self, application: u8) {
        let Some(host) = self.host(application) else { return };
        let mut tasks = std::mem::take(&mut *host.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }

    /// Starts it again where it was.
    pub(super) async fn revive(&self, application: u8) -> Result<(), LabError> {
        let Some(host) = self.host(application) else { return Ok(()) };
        let mut tasks = JoinSet::new();
        for server in &host.servers {
            let doing = || format!("starting {} again on {}", server.name, server.address);
            let listener = TcpListener::bind(server.address).await.map_err(LabError::io(doing()))?;
            tasks.spawn(serve(server.clone(), listener));
        }
        *host.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        Ok(())
    }

    fn host(&self, application: u8) -> Option<&Application> {
        usize::from(application).checked_sub(1).and_then(|at| self.hosts.get(at))
    }
}

fn bind(host: IpAddr) -> Result<TcpListener, LabError> {
    let listener = std::net::TcpListener::bind((host, 0)).map_err(LabError::io(format!("listening on {host}")))?;
    layout::into_tokio(listener)
}

async fn serve(app: AppSpec, listener: TcpListener) {
    let answers = Arc::new(AtomicU64::new(0));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(app.clone(), answers.clone(), stream))),
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

async fn connection(app: AppSpec, answers: Arc<AtomicU64>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let (app, answers) = (app.clone(), answers.clone());
        async move { Ok::<_, Infallible>(answer(&app, &answers, request.uri().path()).await) }
    });
    // Load balancers close idle connections and abort health checks as they like: no error of ours.
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(app: &AppSpec, answers: &AtomicU64, path: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let mut status = StatusCode::OK;
    let (content_type, body) = match path {
        "/health" => ("text/plain", Full::new(Bytes::from_static(b"ok\n")).boxed()),
        "/stream" => ("text/plain", pieces().boxed()),
        _ => {
            tokio::time::sleep(app.latency).await;
            if is_error(answers.fetch_add(1, Ordering::Relaxed), app.errors) {
                status = StatusCode::INTERNAL_SERVER_ERROR;
                ("text/plain", Full::new(Bytes::from_static(b"an error that --errors asked for\n")).boxed())
            } else {
                let text = format!("{{\"pool\":\"{}\",\"server\":\"{}\"}}\n", app.pool, app.name);
                ("application/json", Full::new(Bytes::from(text)).boxed())
            }
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(name) = HeaderValue::from_str(&app.name) {
        response.headers_mut().insert("x-served-by", name);
    }
    response
}

/// Spreads errors evenly over the answers.
fn is_error(nth: u64, percent: u8) -> bool {
    let percent = u64::from(percent);
    (nth % 100 + 1) * percent / 100 > (nth % 100) * percent / 100
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_as_many_as_asked_for() {
        for percent in [0, 1, 7, 50, 100] {
            let errors = (0..1000).filter(|nth| is_error(*nth, percent)).count();
            assert_eq!(errors, usize::from(percent) * 10);
        }
    }

    #[tokio::test]
    async fn an_application_that_is_killed_is_gone_until_it_is_started_again() {
        let apps = Apps::start(2, 0).unwrap();
        let server = apps.servers_of(2)[0].clone();
        assert_eq!(apps.servers().count(), 4);
        let mut held = TcpStream::connect(server.address).await.unwrap();
        apps.kill(2).await;
        assert!(TcpStream::connect(server.address).await.is_err(), "its port is still open");
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut held, &mut byte).await;
        assert!(matches!(read, Ok(0) | Err(_)), "a connection outlived it: {read:?}");
        assert!(TcpStream::connect(apps.servers_of(1)[0].address).await.is_ok(), "the other one serves on");
        apps.revive(2).await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_ok());
        assert!(apps.servers_of(3).is_empty() && apps.servers_of(0).is_empty());
    }
}
