//! A bounded load on every frontend of the lab, and the count of what became of each request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// One request in so many opens a connection of its own; the others share one that is kept alive.
const FRESH_EVERY: u64 = 4;
/// No request may take longer: the slowest streams for a second and a half.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Different failures whose words are kept.
const KEPT_FAILURES: usize = 10;

type Client = SendRequest<Empty<Bytes>>;

/// What became of the requests so far.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// Words of the first failures.
    pub(super) failures: Vec<String>,
    /// Answers by server.
    pub(super) by_server: BTreeMap<String, u64>,
    /// Microseconds of answers that are not streams.
    latency_us: Histogram<u64>,
}

impl Counts {
    fn new() -> Result<Self, hdrhistogram::CreationError> {
        let latency_us = Histogram::new_with_bounds(1, TIMEOUT.as_micros() as u64, 2)?;
        Ok(Self { ok: 0, failed: 0, failures: Vec::new(), by_server: BTreeMap::new(), latency_us })
    }

    /// Latency in milliseconds that this share of the requests (0 to 1) stayed within.
    pub(super) fn latency_ms(&self, share: f64) -> f64 {
        self.latency_us.value_at_quantile(share) as f64 / 1e3
    }

    pub(super) fn of_pool<'a>(&self, servers: impl Iterator<Item = &'a str>) -> u64 {
        servers.map(|s| self.of(s)).sum()
    }

    pub(super) fn of(&self, server: &str) -> u64 {
        self.by_server.get(server).copied().unwrap_or(0)
    }
}

/// Requests until it is dropped.
pub(super) struct Load {
    counts: Arc<Mutex<Counts>>,
    _workers: JoinSet<()>,
}

impl Load {
    /// `rate` requests a second in all, spread evenly over the targets, and one slow stream after the other on each target.
    pub(super) fn start(targets: &[SocketAddr], rate: u32) -> Result<Self, hdrhistogram::CreationError> {
        let counts = Arc::new(Mutex::new(Counts::new()?));
        let mut workers = JoinSet::new();
        let every = Duration::from_secs(1) * u32::try_from(targets.len()).unwrap_or(u32::MAX) / rate.max(1);
        for target in targets {
            workers.spawn(requests(*target, every, counts.clone()));
            workers.spawn(streams(*target, counts.clone()));
        }
        Ok(Self { counts, _workers: workers })
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Paces requests by the clock, not by the answers: each runs beside the others, so that a slow server does not lower the rate.
async fn requests(target: SocketAddr, every: Duration, counts: Arc<Mutex<Counts>>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = JoinSet::new();
    let mut idle: Vec<Client> = Vec::new();
    let mut number = 0u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                number += 1;
                let client = if number.is_multiple_of(FRESH_EVERY) { None } else { idle.pop() };
                running.spawn(counted(target, client, "/", counts.clone()));
            }
            Some(ended) = running.join_next() => idle.extend(ended.ok().flatten()),
        }
    }
}

async fn streams(target: SocketAddr, counts: Arc<Mutex<Counts>>) {
    let mut client = None;
    loop {
        client = counted(target, client, "/stream", counts.clone()).await;
        if client.is_none() {
            // Nothing there: no busy loop.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// One request, counted; the connection where it can be used again.
async fn counted(target: SocketAddr, client: Option<Client>, path: &'static str, counts: Arc<Mutex<Counts>>) -> Option<Client> {
    let began = Instant::now();
    let result = tokio::time::timeout(TIMEOUT, request(target, client, path)).await;
    let took = began.elapsed();
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let why = match result {
        Ok(Ok((server, client))) => {
            counts.ok += 1;
            *counts.by_server.entry(server).or_default() += 1;
            if path == "/" {
                counts.latency_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            return Some(client);
        }
        Ok(Err(why)) => why,
        Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
    };
    counts.failed += 1;
    if counts.failures.len() < KEPT_FAILURES {
        counts.failures.push(format!("http://{target}{path}: {why}"));
    }
    None
}

async fn request(target: SocketAddr, client: Option<Client>, path: &'static str) -> Result<(String, Client), String> {
    let mut client = match client {
        Some(client) => client,
        None => connect(target).await?,
    };
    // A kept connection that haproxy has closed meanwhile is replaced before anything was sent on it.
    if client.ready().await.is_err() {
        client = connect(target).await?;
    }
    let request = Request::get(path).header("host", "lab").body(Empty::new()).map_err(|e| e.to_string())?;
    let response = client.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status();
    let server = response.headers().get("x-served-by").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let body = response.into_body().collect().await.map_err(|e| format!("body: {e}"))?;
    if !status.is_success() {
        return Err(format!("status {status}: {}", String::from_utf8_lossy(&body.to_bytes()).trim_end()));
    }
    Ok((server, client))
}

async fn connect(target: SocketAddr) -> Result<Client, String> {
    let stream = TcpStream::connect(target).await.map_err(|e| format!("connect: {e}"))?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let (client, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Ends with its client.
    tokio::spawn(async move {
        let _: Result<(), hyper::Error> = connection.await;
    });
    Ok(client)
}
