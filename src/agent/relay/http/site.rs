//! What a listener of mode http does with requests: everything that the configuration says about it, ready to be used.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::StatusCode;

use super::backend::Backend;
use super::head::RequestHead;
use super::http1::HeadLimits;
use super::story::Told;
use crate::agent::relay::content::cache::Cache;
use crate::agent::relay::protect::Protection;
use crate::agent::relay::route::Router;
use crate::agent::relay::route::forwarded::Forwarding;
use crate::agent::relay::route::respond::ErrorPages;

/// Silence that a client is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// For the whole head of a request, from its first byte.
    pub request: Duration,
    /// Between requests.
    pub keepalive: Duration,
    /// While the client is to send or to take something.
    pub client: Duration,
    /// Of both sides of an upgraded connection.
    pub tunnel: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { request: s(10), keepalive: s(60), client: s(60), tunnel: s(3600) }
    }
}

/// Limits of HTTP/2 of one client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams at once.
    pub streams: u32,
    /// Streams that a client may reset within a second before its connection is closed (rapid reset, CVE-2023-44487).
    pub resets: u32,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self { streams: 100, resets: 100 }
    }
}

/// How requests of a listener are told of when they have ended.
pub trait Recorder: 'static {
    fn record(&self, request: &RequestHead, told: &Told);
}

/// A listener's configuration for HTTP. One for each thread, shared by its connections; another one takes its place when the
/// configuration changes, and connections see that at their next request.
pub struct Site<B> {
    pub listener: Arc<str>,
    pub heads: HeadLimits,
    /// Bytes that the body of a request may have.
    pub body_limit: u64,
    pub timeouts: ClientTimeouts,
    /// A client that closes before it has its response ends the request at the server too, where its method may be repeated.
    pub abort_on_close: bool,
    pub http2: Http2Limits,
    pub router: Arc<Router>,
    /// By the place of a route.
    pub route_protection: Vec<Option<Arc<Protection>>>,
    pub protection: Option<Arc<Protection>>,
    /// By the place of a route.
    pub caches: Vec<Option<Arc<Cache>>>,
    pub forwarding: Forwarding,
    /// Header that carries the id of a request to the server and back; `None`: requests get no id.
    pub request_id: Option<Box<str>>,
    pub error_pages: ErrorPages,
    /// In the order of the configuration's pools.
    pub pools: Vec<Rc<B>>,
    pub recorder: Option<Rc<dyn Recorder>>,
}

impl<B: Backend> Site<B> {
    /// The limits of a route, on top of the listener's.
    pub fn protection_of(&self, route: usize) -> Option<&Protection> {
        self.route_protection.get(route)?.as_deref()
    }

    /// The relay's own page of a status, where the configuration has none.
    pub fn plain_page(status: StatusCode) -> String {
        format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default())
    }
}

/// When a request began, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Began {
    pub at: Instant,
    pub wall: std::time::SystemTime,
}

impl Began {
    pub fn now() -> Self {
        Self { at: Instant::now(), wall: std::time::SystemTime::now() }
    }
}
