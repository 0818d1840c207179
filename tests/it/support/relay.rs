//! A relay of its own for a test: real data threads and sockets, with servers that are given by address.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lbdeck::agent::relay::content::cache::Cache;
use lbdeck::agent::relay::http::backend::{Ask, Backend, Lease, NoServer, ServerOutcome};
use lbdeck::agent::relay::http::exchange::Patience;
use lbdeck::agent::relay::http::forward::Connection;
use lbdeck::agent::relay::http::http1::HeadLimits;
use lbdeck::agent::relay::http::serve::serve_connection;
use lbdeck::agent::relay::http::site::{ClientTimeouts, Http2Limits, Site};
use lbdeck::agent::relay::http::upstream::{Idle, ServerAddress, Target};
use lbdeck::agent::relay::listener::{Acceptor, ListenAddress, ListenSockets};
use lbdeck::agent::relay::log::{AccessLog, Load};
use lbdeck::agent::relay::metrics::Registry;
use lbdeck::agent::relay::protect::{ProtectConfig, Protection};
use lbdeck::agent::relay::record::Records;
use lbdeck::agent::relay::route::forwarded::Forwarding;
use lbdeck::agent::relay::route::{Route, Router};
use lbdeck::agent::relay::runtime::Threads;
use lbdeck::agent::relay::session::{Closing, Sessions};
use lbdeck::agent::relay::stream::Stream;
use lbdeck::agent::relay::tls::terminate::Terminator;

/// Ids of targets, as a pool gives them.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A target with timeouts that a test can wait for.
pub fn target(address: ServerAddress) -> Target {
    Target {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        address,
        tls: None,
        http2: false,
        connect_timeout: Duration::from_secs(2),
        idle: Idle { timeout: Duration::from_secs(30), max: None, purge_delay: Duration::from_secs(5), count: Arc::default() },
    }
}

/// Servers in turn, named s1, s2 and so on.
pub struct Turns {
    name: Arc<str>,
    targets: Vec<Target>,
    next: Cell<usize>,
    retries: u32,
    server_timeout: Duration,
}

pub struct Turn {
    target: Target,
    name: Arc<str>,
}

impl Backend for Turns {
    type Lease = Turn;
    fn name(&self) -> &Arc<str> {
        &self.name
    }
    async fn pick(&self, _ask: Ask<'_>) -> Result<Turn, NoServer> {
        let at = self.next.get();
        self.next.set(at + 1);
        let target = self.targets.get(at % self.targets.len().max(1)).ok_or(NoServer::Down)?.clone();
        Ok(Turn { target, name: format!("s{}", at % self.targets.len() + 1).into() })
    }
    fn connect_retries(&self) -> u32 {
        self.retries
    }
    fn may_retry(&self, attempt: u32) -> bool {
        attempt < self.retries
    }
    fn patience(&self, client: Duration) -> Patience {
        Patience { client, server: self.server_timeout }
    }
}

impl Lease for Turn {
    fn target(&self) -> &Target {
        &self.target
    }
    fn id(&self) -> u64 {
        self.target.id
    }
    fn busy(&self) -> (u32, u32) {
        (1, 1)
    }
    fn retried(&self) {}
    fn server(&self) -> &Arc<str> {
        &self.name
    }
    fn preamble(&self, _peer: Option<SocketAddr>, _local: Option<SocketAddr>) -> Vec<u8> {
        Vec::new()
    }
    fn set_cookie(&self) -> Option<String> {
        None
    }
    fn note(&mut self, _outcome: ServerOutcome) {}
    fn passed(&mut self, _sent: u64, _received: u64) {}
}

/// What a test sets apart from the defaults.
#[derive(Clone)]
pub struct Setting {
    /// Servers by the name of their pool.
    pub pools: Vec<(&'static str, Vec<Target>)>,
    pub routes: Vec<Route>,
    pub heads: HeadLimits,
    pub body_limit: u64,
    pub timeouts: ClientTimeouts,
    pub abort_on_close: bool,
    pub http2: Http2Limits,
    pub server_timeout: Duration,
    pub retries: u32,
    pub threads: usize,
    pub tls: Option<Terminator>,
    pub protect: Option<ProtectConfig>,
    pub forwarding: Forwarding,
    pub request_id: Option<Box<str>>,
    pub log: Option<Arc<AccessLog>>,
    pub registry: Arc<Registry>,
}

impl Setting {
    /// Everything goes to these servers.
    pub fn to(targets: Vec<Target>) -> Self {
        Self::of(vec![("web", targets)], vec![Route::to_pool("all", "web")])
    }

    /// Pools of one server each, behind routes.
    pub fn routed(pools: &[(&'static str, SocketAddr)], routes: Vec<Route>) -> Self {
        let pools = pools.iter().map(|(name, address)| (*name, vec![target(ServerAddress::Tcp(*address))]));
        Self { retries: 0, ..Self::of(pools.collect(), routes) }
    }

    fn of(pools: Vec<(&'static str, Vec<Target>)>, routes: Vec<Route>) -> Self {
        Self {
            pools,
            routes,
            heads: HeadLimits::default(),
            body_limit: u64::MAX,
            timeouts: ClientTimeouts::default(),
            abort_on_close: true,
            http2: Http2Limits::default(),
            server_timeout: Duration::from_secs(10),
            retries: 2,
            threads: 1,
            tls: None,
            protect: None,
            forwarding: Forwarding::default(),
            request_id: None,
            log: None,
            registry: Arc::new(Registry::new(1)),
        }
    }

    pub fn start(self) -> Relay {
        let any = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let sockets = ListenSockets::open(&any, self.threads, &mut Vec::new()).unwrap();
        let threads = Threads::start(self.threads).unwrap();
        for index in 0..self.threads {
            for fd in sockets.of_thread(index, self.threads).unwrap() {
                let setting = self.clone();
                threads.run_on(index, move || {
                    let acceptor = Acceptor::new(fd).unwrap();
                    tokio::task::spawn_local(accept(acceptor, setting));
                });
            }
        }
        Relay { address: sockets.local_address().unwrap(), threads: Some(threads) }
    }

    fn site(&self) -> Site<Turns> {
        let place = |name: &str| self.pools.iter().position(|(n, _)| *n == name);
        let router = Arc::new(Router::new(self.routes.clone(), place).unwrap());
        let protection = |config: &ProtectConfig| Arc::new(Protection::new(config.clone(), None, Instant::now()));
        let log = self.log.as_ref().map(|log| (log.thread(0), Rc::new(|_: &_| Load::default()) as _));
        let pools = self.pools.iter().map(|(name, targets)| {
            Rc::new(Turns {
                name: (*name).into(),
                targets: targets.clone(),
                next: Cell::new(0),
                retries: self.retries,
                server_timeout: self.server_timeout,
            })
        });
        Site {
            listener: "main".into(),
            heads: self.heads,
            body_limit: self.body_limit,
            timeouts: self.timeouts,
            abort_on_close: self.abort_on_close,
            http2: self.http2,
            route_protection: router.routes().iter().map(|r| r.protect.as_ref().map(protection)).collect(),
            caches: router.routes().iter().map(|r| r.cache.clone().map(Cache::new)).collect(),
            protection: self.protect.as_ref().map(protection),
            forwarding: self.forwarding.clone(),
            request_id: self.request_id.clone(),
            error_pages: Default::default(),
            pools: pools.collect(),
            recorder: Some(Rc::new(Records::new("main".into(), 0, Arc::clone(&router), &self.registry, log))),
            router,
        }
    }
}

async fn accept(acceptor: Acceptor, setting: Setting) {
    let (site, closing, sessions) = (Rc::new(setting.site()), Rc::<Closing>::default(), Sessions::here());
    loop {
        let accepted = acceptor.accept().await;
        let (site, closing, sessions, tls) = (Rc::clone(&site), Rc::clone(&closing), Rc::clone(&sessions), setting.tls.clone());
        tokio::task::spawn_local(async move {
            let (peer, local) = (accepted.peer, accepted.local);
            let serve = |session| async move {
                let (stream, is_tls) = match tls {
                    None => (Stream::Plain(accepted.socket), false),
                    Some(tls) => match tls.accept(accepted.socket).await {
                        Ok(tls) => (Stream::TlsIn(Box::new(tls)), true),
                        Err(_) => return,
                    },
                };
                let connection = Connection { session, peer, local, tls: is_tls };
                serve_connection(|| Rc::clone(&site), stream, connection).await;
            };
            sessions.run("main".into(), peer, closing, serve).await;
        });
    }
}

/// Ends with the value.
pub struct Relay {
    pub address: SocketAddr,
    threads: Option<Threads>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.end();
        }
    }
}
