//! A cache for static content. `http-cache-semantics` decides by the rules of RFC 9111; this keeps what may be kept in bounded memory.
//!
//! The path of a request: [`Cache::lookup`] answers from memory, says to fetch (and fill the cache on the way), to wait for somebody who
//! fetches the same, or to pass it by. Only GET fills; HEAD is answered from what a GET brought.

mod policy;
mod store;
mod stored;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Method, Request, StatusCode};
use tokio::sync::watch;

use self::store::{Key, Store};
pub use self::stored::Stored;
use crate::agent::relay::http::head::{RequestHead, ResponseHead};

/// What a cache may keep.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// Bytes of all that is kept.
    pub max_size: usize,
    /// Bytes of one body.
    pub max_object: usize,
    /// How long past its freshness something may stand in for a server that fails, where the response does not say (RFC 5861).
    pub stale_if_error: Duration,
    /// How long a request waits for another one that fetches the same.
    pub wait: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_size: 64 << 20, max_object: 1 << 20, stale_if_error: Duration::ZERO, wait: Duration::from_secs(5) }
    }
}

/// How long a target that could not be stored is passed by without waiting for others.
const PASS: Duration = Duration::from_secs(30);

/// The cache of one route, shared by all data threads. Its lock is held for lookups in memory only.
#[derive(Debug)]
pub struct Cache {
    config: CacheConfig,
    store: Mutex<Store>,
    hits: AtomicU64,
    misses: AtomicU64,
    renewed: AtomicU64,
    stale: AtomicU64,
}

/// Counts since the start, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    pub hits: u64,
    pub misses: u64,
    /// Confirmed by the server with 304.
    pub renewed: u64,
    /// Served stale because the server failed.
    pub stale: u64,
    pub objects: u64,
    pub bytes: u64,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Lookup {
    /// Answer from this.
    Hit(Stored),
    /// Ask the server and tell the fill what came.
    Fetch(Box<Fill>),
    /// Somebody fetches the same: wait, then look again with `waited`.
    Wait(Waiting),
    /// The cache has nothing to do with it.
    Pass,
}

/// Waits for a fetch of somebody else.
#[derive(Debug)]
pub struct Waiting {
    fetch: watch::Receiver<()>,
    most: Duration,
}

impl Waiting {
    /// Until that fetch has ended, well or not, or the configured time is over.
    pub async fn done(mut self) {
        // Nothing is ever sent: the end of the sender is the sign.
        let _ = tokio::time::timeout(self.most, self.fetch.changed()).await;
    }
}

/// The right and duty to fill the cache. Dropping it lets those who wait go on.
#[derive(Debug)]
pub struct Fill {
    cache: Arc<Cache>,
    key: Key,
    asked: Request<()>,
    /// What is there but not fresh.
    stale: Option<Stored>,
    generation: u64,
    /// Dropped last, so that who waits finds what was stored.
    _fetching: watch::Sender<()>,
}

/// What to do with the server's response.
#[derive(Debug)]
pub enum Filled {
    /// Send it to the client and give the body to the recorder.
    Store(Box<Recorder>),
    /// Answer from this instead: the server confirmed it.
    Renewed(Stored),
    /// Answer from this instead: the server failed, and this may stand in.
    StandIn(Stored),
    /// Send it to the client; it may not be kept.
    Pass,
}

/// Takes the body of a response on its way to the client. Dropped before [`Recorder::finish`], nothing is kept.
#[derive(Debug)]
pub struct Recorder {
    fill: Fill,
    head: ResponseHead,
    policy: http_cache_semantics::CachePolicy,
    body: Vec<u8>,
    too_large: bool,
}

impl Cache {
    pub fn new(config: CacheConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            store: Mutex::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            renewed: AtomicU64::default(),
            stale: AtomicU64::default(),
        })
    }

    pub fn config(&self) -> &CacheConfig {
        &self.config
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for an answer. `waited`: the request has waited for another one already and must not wait again.
    pub fn lookup(self: &Arc<Self>, head: &RequestHead, tls: bool, waited: bool, now: SystemTime) -> Lookup {
        let is_get = head.method == Method::GET;
        // Parts of responses are not kept, and nobody's upgrade is.
        if !(is_get || head.method == Method::HEAD) || head.headers.contains("range") || head.headers.contains("upgrade") {
            return Lookup::Pass;
        }
        let Some(asked) = policy::request(head) else { return Lookup::Pass };
        let key = key(head, tls);
        let mut store = self.store();
        let variants = store.get(&key);
        let as_get = as_get(&asked);
        let may_see = |v: &Stored| v.0.for_all || !asked.headers().contains_key("authorization");
        let found = variants.into_iter().rev().find(|v| may_see(v) && policy::is_for(&v.0.policy, &as_get, now));
        if let Some(found) = &found
            && policy::is_fresh(&found.0.policy, &as_get, now)
        {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Lookup::Hit(found.clone());
        }
        if !is_get || store.passed.get(&key).is_some_and(|until| *until > now) {
            return Lookup::Pass;
        }
        if let Some(fetch) = store.fetching.get(&key).filter(|f| f.has_changed().is_ok()) {
            return if waited { Lookup::Pass } else { Lookup::Wait(Waiting { fetch: fetch.clone(), most: self.config.wait }) };
        }
        let (sender, receiver) = watch::channel(());
        store.fetching.insert(Arc::clone(&key), receiver);
        self.misses.fetch_add(1, Ordering::Relaxed);
        let generation = store.generation;
        Lookup::Fetch(Box::new(Fill { cache: Arc::clone(self), key, asked, stale: found, generation, _fetching: sender }))
    }

    /// After a request that changes things (POST, PUT, DELETE …) succeeded: what is kept of its target is no longer true (RFC 9111, 4.4).
    pub fn invalidate(&self, head: &RequestHead, tls: bool, status: StatusCode) {
        if !head.method.is_safe() && (status.is_success() || status.is_redirection()) {
            let key = key(head, tls);
            self.store().purge(|k| *k == *key);
        }
    }

    /// Forgets what is kept of a host (all hosts where `None`) at or below a path; how many responses that were.
    pub fn purge(&self, host: Option<&str>, path: &str) -> usize {
        let host = host.map(str::to_ascii_lowercase);
        self.store().purge(|key| {
            let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
            let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let named =
                authority.rsplit_once(':').filter(|(_, p)| p.bytes().all(|b| b.is_ascii_digit())).map_or(authority, |(h, _)| h);
            let target = target.split(['?', '#']).next().unwrap_or_default();
            host.as_deref().is_none_or(|h| h == named || h == authority)
                && crate::agent::relay::route::path::is_below(target, path)
        })
    }

    pub fn counts(&self) -> CacheCounts {
        let store = self.store();
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            renewed: self.renewed.load(Ordering::Relaxed),
            stale: self.stale.load(Ordering::Relaxed),
            objects: store.count() as u64,
            bytes: store.size() as u64,
        }
    }
}

fn key(head: &RequestHead, tls: bool) -> Key {
    format!("{}://{}{}", if tls { "https" } else { "http" }, head.authority.to_ascii_lowercase(), head.target).into()
}

fn as_get(asked: &Request<()>) -> Request<()> {
    let mut get = asked.clone();
    *get.method_mut() = Method::GET;
    get
}

impl Fill {
    /// Changes the request for the server: the client's conditions go, since the whole response is wanted; with something stale at hand
    /// the server is asked whether it still holds.
    pub fn prepare(&self, request: &mut RequestHead) {
        for name in ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range"] {
            request.headers.remove(name);
        }
        let Some(stale) = &self.stale else { return };
        let stored = &stale.0.head.headers;
        if let Some(tag) = stored.get("etag") {
            request.headers.set("If-None-Match", tag);
        }
        if let Some(date) = stored.get("last-modified") {
            request.headers.set("If-Modified-Since", date);
        }
    }

    /// The server has answered.
    pub fn respond(self, head: &ResponseHead, now: SystemTime) -> Filled {
        if head.status == StatusCode::NOT_MODIFIED {
            return match self.stale.as_ref().and_then(|s| s.renewed(&self.asked, head, now)) {
                Some(stored) => {
                    self.cache.renewed.fetch_add(1, Ordering::Relaxed);
                    self.keep(stored.clone(), now);
                    Filled::Renewed(stored)
                }
                None => Filled::Pass,
            };
        }
        if matches!(head.status.as_u16(), 500 | 502 | 503 | 504)
            && let Some(stored) = self.stand_in(now)
        {
            return Filled::StandIn(stored);
        }
        let mut kept = head.clone();
        for name in ["age", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "trailer", "upgrade", "te"] {
            kept.headers.remove(name);
        }
        let policy = policy::policy(&self.asked, head, now);
        let length = head.headers.get("content-length").and_then(|v| std::str::from_utf8(v).ok()?.parse::<usize>().ok());
        let fits = length.is_none_or(|l| l <= self.cache.config.max_object);
        if !fits || !policy::may_store(&policy, &self.asked, head) {
            self.cache.store().pass(&self.key, now + PASS, now);
            return Filled::Pass;
        }
        Filled::Store(Box::new(Recorder { fill: self, head: kept, policy, body: Vec::new(), too_large: false }))
    }

    /// The server could not be asked: what may stand in for it.
    pub fn failed(self, now: SystemTime) -> Option<Stored> {
        self.stand_in(now)
    }

    fn stand_in(&self, now: SystemTime) -> Option<Stored> {
        let stored = self.stale.clone().filter(|s| s.may_stand_in(self.cache.config.stale_if_error, now))?;
        self.cache.stale.fetch_add(1, Ordering::Relaxed);
        Some(stored)
    }

    fn keep(&self, stored: Stored, now: SystemTime) {
        let mut store = self.cache.store();
        if store.generation != self.generation || stored.size() > self.cache.config.max_size {
            return;
        }
        let same = |other: &Stored| policy::is_for(&other.0.policy, &self.asked, now);
        store.put(&self.key, stored, same, self.cache.config.max_size);
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.cache.store().fetching.remove(&self.key);
    }
}

impl Recorder {
    /// Takes a piece of the body as the server sent it (before compression, without chunking).
    pub fn write(&mut self, piece: &[u8]) {
        self.too_large |= self.body.len() + piece.len() > self.fill.cache.config.max_object;
        if self.too_large {
            self.body = Vec::new();
        } else {
            self.body.extend_from_slice(piece);
        }
    }

    /// The body has ended as its framing said: keeps it.
    pub fn finish(self, now: SystemTime) {
        if self.too_large {
            self.fill.cache.store().pass(&self.fill.key, now + PASS, now);
            return;
        }
        let stored = Stored::new(self.head, self.body.into(), self.policy);
        self.fill.keep(stored, now);
    }
}

#[cfg(test)]
mod tests;
