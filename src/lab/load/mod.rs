//! A bounded load on every frontend of the lab.

mod counts;
mod meter;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::app::LoadFeed;

use super::LabError;
pub(super) use counts::Counts;
use counts::Failure;
use meter::Meter;

/// One request in so many opens a connection of its own; the others share those that are kept alive.
const FRESH_EVERY: u64 = 4;
/// No request may take longer: the slowest streams for a second and a half.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Pace of high rates: several requests may be due at once.
const SHORTEST_TICK: Duration = Duration::from_millis(2);
/// Requests on one frontend at once: where answers are that slow, the load falls behind what was asked for instead of burying the
/// machine that it shares with what it measures.
const MOST_AT_ONCE: usize = 100;

type Client = SendRequest<Empty<Bytes>>;

/// Requests until it is dropped, from [`Load::begin`] on.
pub(super) struct Load {
    rate: u32,
    meter: Arc<Meter>,
    workers: Mutex<JoinSet<()>>,
}

impl Load {
    /// `rate` requests a second in all.
    pub(super) fn new(rate: u32) -> Result<Self, LabError> {
        let meter = Meter::new(rate, TIMEOUT).map_err(|e| LabError::Proof(format!("counting latency: {e}")))?;
        Ok(Self { rate, meter: Arc::new(meter), workers: Mutex::default() })
    }

    /// Spreads the requests evenly over the targets, and sends one slow stream after the other to each target.
    pub(super) fn begin(&self, targets: &[SocketAddr]) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let every = Duration::from_secs(1) * u32::try_from(targets.len()).unwrap_or(u32::MAX) / self.rate.max(1);
        for target in targets {
            workers.spawn(requests(*target, every, self.meter.clone()));
            workers.spawn(streams(*target, self.meter.clone()));
        }
        let meter = self.meter.clone();
        workers.spawn(async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            // The first tick is now.
            seconds.tick().await;
            loop {
                seconds.tick().await;
                meter.end_second();
            }
        });
    }

    pub(super) fn counts(&self) -> Counts {
        self.meter.counts()
    }

    /// Latency and errors by second.
    pub(super) fn feed(&self) -> LoadFeed {
        self.meter.feed()
    }
}

/// Paces requests by the clock, not by the answers: each runs beside the others, so that a slow server does not lower the rate.
async fn requests(target: SocketAddr, every: Duration, meter: Arc<Meter>) {
    let mut ticks = tokio::time::interval(every.max(SHORTEST_TICK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut running = JoinSet::new();
    let mut idle: Vec<Client> = Vec::new();
    let mut next = Instant::now();
    let mut number = 0u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let now = Instant::now();
                while next <= now && running.len() < MOST_AT_ONCE {
                    number += 1;
                    let fresh = number.is_multiple_of(FRESH_EVERY);
                    let client = if fresh { None } else { idle.pop() };
                    let request = counted(target, client, "/", meter.clone());
                    // Who connects for one request leaves then: kept connections do not become more and more.
                    running.spawn(async move { request.await.filter(|_| !fresh) });
                    next += every;
                }
                // What could not be sent is not made up for by a burst.
                next = next.max(now);
            }
            Some(ended) = running.join_next() => idle.extend(ended.ok().flatten()),
        }
    }
}

async fn streams(target: SocketAddr, meter: Arc<Meter>) {
    let mut client = None;
    loop {
        client = counted(target, client, "/stream", meter.clone()).await;
        if client.is_none() {
            // Nothing there: no busy loop.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// One request, counted; the connection where it can be used again.
async fn counted(target: SocketAddr, client: Option<Client>, path: &'static str, meter: Arc<Meter>) -> Option<Client> {
    let began = Instant::now();
    let result = tokio::time::timeout(TIMEOUT, request(target, client, path)).await;
    let failure = match result {
        Ok(Ok((server, client))) => {
            // How long a stream takes is its own choice.
            meter.answered(server, (path == "/").then(|| began.elapsed()));
            return Some(client);
        }
        Ok(Err(failure)) => failure,
        Err(_) => Failure::unanswered(format!("no answer within {} s", TIMEOUT.as_secs())),
    };
    meter.failed(failure.on(&format!("http://{target}{path}")));
    None
}

async fn request(target: SocketAddr, client: Option<Client>, path: &'static str) -> Result<(String, Client), Failure> {
    let unanswered = |e: &dyn std::fmt::Display| Failure::unanswered(e.to_string());
    let mut client = match client {
        Some(client) => client,
        None => connect(target).await?,
    };
    // A kept connection that was closed meanwhile is replaced before anything was sent on it.
    if client.ready().await.is_err() {
        client = connect(target).await?;
    }
    let request = Request::get(path).header("host", "lab").body(Empty::new()).map_err(|e| unanswered(&e))?;
    let response = client.send_request(request).await.map_err(|e| unanswered(&e))?;
    let status = response.status();
    let server = response.headers().get("x-served-by").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(e) => return Err(Failure::cut(server, format!("body: {e}"))),
    };
    if !status.is_success() {
        return Err(Failure::unanswered(format!("status {status}: {}", String::from_utf8_lossy(&body).trim_end())));
    }
    Ok((server, client))
}

async fn connect(target: SocketAddr) -> Result<Client, Failure> {
    let unanswered = |e: &dyn std::fmt::Display| Failure::unanswered(format!("connect: {e}"));
    let stream = TcpStream::connect(target).await.map_err(|e| unanswered(&e))?;
    stream.set_nodelay(true).map_err(|e| unanswered(&e))?;
    let (client, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(|e| unanswered(&e))?;
    // Ends with its client.
    tokio::spawn(async move {
        let _: Result<(), hyper::Error> = connection.await;
    });
    Ok(client)
}
