//! A pool as the path of a request and the TCP proxy of one data thread see it.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clock::now;
use super::config::pool::{PoolConfig, ProxyVersion};
use super::http::backend::{Ask, Backend, Lease, NoServer, ServerOutcome};
use super::http::exchange::Patience;
use super::http::upstream::{Idle, ServerAddress, Target};
use super::pool::balance::hash;
use super::pool::{self, Outcome, PickError, Picker, Pool, Request, ServerId};
use super::proxy_protocol;
use super::route::split::cookie;
use super::tls::connect::TlsToServer;

/// See the module. Made anew with every configuration.
#[derive(Debug)]
pub struct ThreadPool {
    pool: Arc<Pool>,
    config: Arc<PoolConfig>,
    picker: Rc<RefCell<Picker>>,
    tls: Option<Arc<TlsToServer>>,
    cookie: Option<Arc<str>>,
}

impl ThreadPool {
    pub fn new(pool: Arc<Pool>, picker: Rc<RefCell<Picker>>, tls: Option<Arc<TlsToServer>>) -> Self {
        let (config, cookie) = (pool.config(), pool.cookie_name());
        Self { pool, config, picker, tls, cookie }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// A server for a request or session; waits in the queue where all are full.
    pub async fn acquire(&self, request: &Request<'_>) -> Result<Held, NoServer> {
        Ok(self.held(self.pool.acquire(&self.picker, request).await.map_err(no_server)?))
    }

    /// A server at once or not at all: a datagram does not wait.
    pub fn take(&self, request: &Request<'_>) -> Result<Held, NoServer> {
        Ok(self.held(self.pool.pick(&mut self.picker.borrow_mut(), request, now()).map_err(no_server)?))
    }

    fn held(&self, lease: pool::Lease) -> Held {
        let place = hash::of_address(lease.address.ip()) ^ u64::from(lease.address.port());
        // Connections made with other TLS settings are not used again.
        let tls = self.tls.as_ref().map_or(0, |tls| tls.id());
        let target = Target {
            id: hash::mix(lease.server.id ^ hash::mix(place ^ hash::mix(tls))),
            address: ServerAddress::Tcp(lease.address),
            tls: self.tls.clone(),
            http2: self.config.http2,
            connect_timeout: self.config.timeouts.connect,
            idle: Idle {
                timeout: self.config.timeouts.idle,
                max: self.config.idle_connections.max,
                purge_delay: self.config.idle_connections.purge_delay,
                count: lease.server.stats.idle.clone(),
            },
        };
        let set_cookie = if self.cookie.is_some() { self.pool.set_cookie(&lease) } else { None };
        Held { lease, target, proxy: self.config.proxy_protocol, set_cookie, outcome: None }
    }
}

fn no_server(error: PickError) -> NoServer {
    match error {
        PickError::NoServer => NoServer::Down,
        PickError::QueueTimeout => NoServer::QueueTimeout,
        PickError::Full | PickError::QueueFull => NoServer::QueueFull,
    }
}

/// A server that is held for one request or session.
#[derive(Debug)]
pub struct Held {
    lease: pool::Lease,
    target: Target,
    proxy: Option<ProxyVersion>,
    set_cookie: Option<String>,
    outcome: Option<Outcome>,
}

impl Held {
    pub fn lease(&self) -> &pool::Lease {
        &self.lease
    }
    /// `pool/server`, as sessions name where they are.
    pub fn place(&self) -> Arc<str> {
        self.lease.server.place.clone()
    }
    /// A session of layer 4 was established.
    pub fn established(&mut self) {
        self.outcome = Some(Outcome::Established);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.lease.report(outcome);
        }
    }
}

impl Backend for ThreadPool {
    type Lease = Held;

    fn name(&self) -> &Arc<str> {
        &self.pool.name
    }

    async fn pick(&self, ask: Ask<'_>) -> Result<Held, NoServer> {
        let wanted = self.cookie.as_ref().and_then(|name| cookie(&ask.request.headers, name));
        let request = Request {
            source: ask.client.ip(),
            uri: ask.request.path().as_bytes(),
            cookie: wanted.and_then(|value| std::str::from_utf8(value).ok()),
            tried: ask.tried,
        };
        self.acquire(&request).await
    }

    fn connect_retries(&self) -> u32 {
        self.config.retries.connect
    }

    fn may_retry(&self, attempt: u32) -> bool {
        self.pool.may_retry(attempt, now())
    }

    fn patience(&self, client: Duration) -> Patience {
        Patience { client, server: self.config.timeouts.server }
    }
}

impl Lease for Held {
    fn target(&self) -> &Target {
        &self.target
    }

    fn id(&self) -> ServerId {
        self.lease.server.id
    }

    fn busy(&self) -> (u32, u32) {
        self.lease.busy()
    }

    fn retried(&self) {
        self.lease.server.stats.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn server(&self) -> &Arc<str> {
        &self.lease.server.name
    }

    fn preamble(&self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Vec<u8> {
        self.proxy.map_or_else(Vec::new, |version| proxy_protocol::write(version, peer, local, false))
    }

    fn set_cookie(&self) -> Option<String> {
        self.set_cookie.clone()
    }

    fn note(&mut self, outcome: ServerOutcome) {
        self.outcome = Some(match outcome {
            ServerOutcome::Answer(status) => Outcome::Answer(status),
            ServerOutcome::ConnectFailed => Outcome::ConnectFailed,
            ServerOutcome::ResponseFailed => Outcome::ResponseFailed,
        });
    }

    fn passed(&mut self, sent: u64, received: u64) {
        let stats = &self.lease.server.stats;
        stats.bytes_in.fetch_add(sent, Ordering::Relaxed);
        stats.bytes_out.fetch_add(received, Ordering::Relaxed);
    }
}

/// A client on a unix socket is this node.
pub fn client_ip(peer: Option<SocketAddr>) -> IpAddr {
    peer.map_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), |p| p.ip())
}
