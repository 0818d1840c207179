//! What every data thread has of each listener: who accepts, what a new connection is given, and how all of it is exchanged
//! while connections go on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::backend::ThreadPool;
use super::config::{BindAddress, ListenerConfig, Mode};
use super::http::forward::Connection;
use super::http::http1::HeadLimits;
use super::http::serve::serve_connection;
use super::http::site::{ClientTimeouts, Http2Limits, Site};
use super::http::story::Told;
use super::listener::{Accepted, Acceptor};
use super::log::{AccessLog, Load};
use super::metrics::Registry;
use super::metrics::rate::Rate;
use super::pool::{Picker, Pool};
use super::protect::Protection;
use super::proxy_protocol::accept;
use super::record::{LoadOf, Records};
use super::room::Room;
use super::rules::Rules;
use super::session::{Closing, Session, Sessions};
use super::session_log::SessionLog;
use super::stream::{Socket, Stream};
use super::tcp::{self, TcpSite};
use super::tls::connect::TlsToServer;
use super::tls::terminate::Terminator;
use super::udp::{self, UdpSite};

/// How long kept connections of a listener that is gone may wait for a last request.
pub const IDLE: Duration = Duration::from_secs(1);

/// Client connections of one listener over all threads; outlives changes of its configuration.
#[derive(Debug, Default)]
pub struct ListenerCounts {
    pub now: AtomicU64,
    pub max: AtomicU64,
    pub total: AtomicU64,
    pub rate: Rate,
    /// Connections refused before a request was read: no PROXY header, no TLS.
    pub refused: AtomicU64,
}

/// A pool with what is needed to connect to its servers.
#[derive(Clone, Debug)]
pub struct PoolParts {
    pub pool: Arc<Pool>,
    pub tls: Option<Arc<TlsToServer>>,
}

/// A listener as it is sent to the threads: all that could fail has been done.
#[derive(Clone, Debug)]
pub struct ListenerParts {
    pub config: Arc<ListenerConfig>,
    pub counts: Arc<ListenerCounts>,
    pub terminator: Option<Terminator>,
    /// Client connections of the whole relay, and room for them.
    pub active: Arc<AtomicU64>,
    pub everyone: Arc<Room>,
    /// Mode http.
    pub rules: Option<Arc<Rules>>,
    /// Who may connect, and how often at once.
    pub protection: Option<Arc<Protection>>,
    /// Room for client connections over all threads; None = no limit.
    pub room: Option<Arc<Semaphore>>,
    pub enabled: bool,
}

/// One configuration on its way to one thread.
#[derive(Debug)]
pub struct Change {
    pub listeners: Vec<ListenerParts>,
    /// In the order of the configuration, which routes refer to.
    pub pools: Vec<PoolParts>,
    pub watch: Watch,
    /// This thread's sockets of addresses that are new to it.
    pub sockets: Vec<ThreadSocket>,
}

/// A listening socket of one thread.
#[derive(Debug)]
pub struct ThreadSocket {
    /// Of this listener: several may have port 0 of the same address.
    pub listener: Arc<str>,
    pub address: BindAddress,
    pub fd: OwnedFd,
}

/// What keeps account of requests.
#[derive(Clone, Debug)]
pub struct Watch {
    pub log: Option<Arc<AccessLog>>,
    pub registry: Arc<Registry>,
    /// Number of the data thread.
    pub thread: usize,
}

enum Kind {
    Http(Rc<Site<ThreadPool>>),
    Tcp(Rc<TcpSite>),
    Udp(Rc<UdpSite>),
}

/// Where clients come in.
enum Door {
    Stream(Acceptor),
    Datagrams(Rc<UdpSocket>),
}

struct Current {
    parts: ListenerParts,
    kind: Kind,
}

/// One listener of this thread.
struct Local {
    current: RefCell<Rc<Current>>,
    /// Shared with its sessions: finish what is being done, then close.
    closing: Rc<Closing>,
    accepting: RefCell<HashMap<BindAddress, Doors>>,
}

/// Sockets of one address, each with the task that accepts on it.
type Doors = Vec<(Rc<Door>, Option<AbortHandle>)>;

#[derive(Default)]
struct Here {
    picker: Option<Rc<RefCell<Picker>>>,
    listeners: HashMap<Arc<str>, Rc<Local>>,
}

thread_local! {
    static HERE: RefCell<Here> = RefCell::default();
}

/// Takes a configuration over on the calling data thread. Connections that are established see it at their next request.
pub fn change(mut change: Change) {
    HERE.with_borrow_mut(|here| {
        let picker = here.picker.get_or_insert_with(|| Rc::new(RefCell::new(Picker::new(rand::random())))).clone();
        let pools: Vec<Rc<ThreadPool>> =
            change.pools.iter().map(|p| Rc::new(ThreadPool::new(p.pool.clone(), picker.clone(), p.tls.clone()))).collect();
        let mut before = std::mem::take(&mut here.listeners);
        for parts in change.listeners {
            let name = parts.config.name.clone();
            let closing = before.get(&name).map_or_else(Rc::default, |local| local.closing.clone());
            let Some(kind) = kind_of(&parts, &pools, &closing, &change.watch) else { continue };
            let bind = parts.config.bind.clone();
            let enabled = parts.enabled;
            let current = Rc::new(Current { parts, kind });
            let udp = current.parts.config.mode == Mode::Udp;
            let mut same_transport = true;
            let local = match before.remove(&name) {
                Some(local) => {
                    let old = local.current.replace(current);
                    same_transport = (old.parts.config.mode == Mode::Udp) == udp;
                    local
                }
                None => Rc::new(Local { current: RefCell::new(current), closing, accepting: RefCell::default() }),
            };
            local.accepting.borrow_mut().retain(|address, acceptors| {
                let stays = bind.contains(address) && same_transport;
                if !stays {
                    acceptors.iter().filter_map(|(_, task)| task.as_ref()).for_each(AbortHandle::abort);
                }
                stays
            });
            for ThreadSocket { address, fd, .. } in change.sockets.extract_if(.., |s| s.listener == name) {
                let door = match local.current.borrow().parts.config.mode {
                    Mode::Udp => UdpSocket::from_std(fd.into()).map(|s| Door::Datagrams(Rc::new(s))),
                    Mode::Http | Mode::Tcp => Acceptor::new(fd).map(Door::Stream),
                };
                match door {
                    Ok(door) => local.accepting.borrow_mut().entry(address).or_default().push((Rc::new(door), None)),
                    Err(error) => tracing::error!(%error, listener = %name, "a data thread cannot accept connections"),
                }
            }
            accept_on(&local, enabled);
            here.listeners.insert(name, local);
        }
        for gone in before.into_values() {
            stop(&gone, IDLE);
        }
    });
}

/// Starts or stops accepting on a listener of the calling thread.
pub fn enable(name: &str, enabled: bool) {
    let local = HERE.with_borrow(|here| here.listeners.get(name).cloned());
    if let Some(local) = local {
        accept_on(&local, enabled);
    }
}

/// Stops accepting on the calling thread and lets its connections end; those without a request within `idle`.
pub fn close(idle: Duration) {
    HERE.with_borrow_mut(|here| here.listeners.drain().for_each(|(_, local)| stop(&local, idle)));
    Sessions::here().wake_all();
}

fn stop(local: &Local, idle: Duration) {
    local.closing.begin(Instant::now() + idle);
    for (_, task) in local.accepting.borrow_mut().drain().flat_map(|(_, acceptors)| acceptors) {
        task.inspect(AbortHandle::abort);
    }
    Sessions::here().wake_all();
}

/// Starts or stops accepting. The sockets stay: who connects meanwhile waits in the kernel's queue.
fn accept_on(local: &Rc<Local>, enabled: bool) {
    for (door, task) in local.accepting.borrow_mut().values_mut().flatten() {
        match (enabled, &task) {
            (true, None) => {
                *task = Some(tokio::task::spawn_local(accept_loop(local.clone(), door.clone())).abort_handle());
            }
            (false, Some(_)) => {
                task.take().inspect(AbortHandle::abort);
            }
            _ => {}
        }
    }
}

fn kind_of(parts: &ListenerParts, pools: &[Rc<ThreadPool>], closing: &Rc<Closing>, watch: &Watch) -> Option<Kind> {
    use super::http::backend::Backend;
    let config = &parts.config;
    let Some(rules) = &parts.rules else {
        let pool = pools.iter().find(|p| Some(p.name()) == config.pool.as_ref())?.clone();
        let log = watch.log.as_ref().filter(|_| config.log.enabled).map(|log| {
            let (active, counts) = (parts.active.clone(), parts.counts.clone());
            let of = pool.pool().clone();
            let load = move || Load { pool_queue: small(of.queue().len() as u64), ..connections(&active, &counts) };
            Rc::new(SessionLog::new(config.name.clone(), pool.pool().clone(), log.thread(watch.thread), load))
        });
        if config.mode == Mode::Udp {
            let (listener, room) = (config.name.clone(), parts.room.clone());
            let silence = config.timeouts.client;
            return Some(Kind::Udp(Rc::new(UdpSite { listener, pool, silence, room, closing: closing.clone(), log })));
        }
        return Some(Kind::Tcp(Rc::new(TcpSite { pool, silence: config.timeouts.tunnel, log })));
    };
    let timeouts = &config.timeouts;
    Some(Kind::Http(Rc::new(Site {
        listener: config.name.clone(),
        heads: HeadLimits::default(),
        body_limit: u64::MAX,
        timeouts: ClientTimeouts {
            request: timeouts.request,
            keepalive: timeouts.keepalive,
            client: timeouts.client,
            tunnel: timeouts.tunnel,
        },
        abort_on_close: config.abort_on_close,
        http2: Http2Limits::default(),
        route_protection: rules.route_protection.clone(),
        caches: rules.caches.clone(),
        router: rules.router.clone(),
        protection: rules.protection.clone(),
        forwarding: config.routes.forwarding.clone(),
        request_id: config.log.request_id.clone(),
        error_pages: config.routes.error_pages.clone(),
        pools: pools.to_vec(),
        recorder: Some(Rc::new(records(parts, rules, pools, watch))),
    })))
}

/// Counts requests and logs them, with how busy everything was that they went through.
fn records(parts: &ListenerParts, rules: &Rules, pools: &[Rc<ThreadPool>], watch: &Watch) -> Records {
    let config = &parts.config;
    let log = watch.log.as_ref().filter(|_| config.log.enabled).map(|log| {
        let (active, counts) = (parts.active.clone(), parts.counts.clone());
        let pools: Vec<Arc<Pool>> = pools.iter().map(|p| p.pool().clone()).collect();
        let load: LoadOf = Rc::new(move |told| load(&active, &counts, &pools, told));
        (log.thread(watch.thread), load)
    });
    Records::new(config.name.clone(), watch.thread, rules.router.clone(), &watch.registry, log)
}

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Client connections of the relay and of a listener.
fn connections(active: &AtomicU64, counts: &ListenerCounts) -> Load {
    let (active, listener) = (active.load(Ordering::Relaxed), counts.now.load(Ordering::Relaxed));
    Load { active: small(active), listener: small(listener), ..Load::default() }
}

/// HAProxy counts the connection itself; by the time of the log the server's part of it is given back already.
fn load(active: &AtomicU64, counts: &ListenerCounts, pools: &[Arc<Pool>], told: &Told) -> Load {
    let mut load = Load { server: told.busy.0, pool: told.busy.1, ..connections(active, counts) };
    if let Some(pool) = told.pool_place.and_then(|place| pools.get(place)) {
        load.pool_queue = small(pool.queue().len() as u64);
    }
    load
}

async fn accept_loop(local: Rc<Local>, door: Rc<Door>) {
    let acceptor = match &*door {
        Door::Stream(acceptor) => acceptor,
        Door::Datagrams(socket) => {
            let site = || match &local.current.borrow().kind {
                Kind::Udp(site) => Some(site.clone()),
                Kind::Http(_) | Kind::Tcp(_) => None,
            };
            return udp::serve(socket.clone(), site).await;
        }
    };
    loop {
        let room = local.current.borrow().parts.room.clone();
        // Closed only with the listener, whose loops end then.
        let permit = match room {
            Some(room) => room.acquire_owned().await.ok(),
            None => None,
        };
        let accepted = acceptor.accept().await;
        let everyone = local.current.borrow().parts.everyone.clone();
        let place = everyone.enter().await;
        let local = local.clone();
        tokio::task::spawn_local(async move {
            let current = local.current.borrow().clone();
            let counted = Counted::new(current.parts.counts.clone(), current.parts.active.clone());
            let name = current.parts.config.name.clone();
            let closing = local.closing.clone();
            let peer = accepted.peer;
            let connection = |session| serve(local, current, session, accepted);
            Sessions::here().run(name, peer, closing, connection).await;
            drop((counted, permit, place));
        });
    }
}

struct Counted(Arc<ListenerCounts>, Arc<AtomicU64>);

impl Counted {
    fn new(counts: Arc<ListenerCounts>, active: Arc<AtomicU64>) -> Self {
        active.fetch_add(1, Ordering::Relaxed);
        let now = counts.now.fetch_add(1, Ordering::Relaxed) + 1;
        counts.total.fetch_add(1, Ordering::Relaxed);
        counts.max.fetch_max(now, Ordering::Relaxed);
        Self(counts, active)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(local: Rc<Local>, current: Rc<Current>, session: Rc<Session>, accepted: Accepted) {
    let parts = &current.parts;
    let Accepted { mut socket, mut peer, local: mut address } = accepted;
    if let Err(why) = told_by_proxy(parts, &mut socket, &mut peer, &mut address).await {
        parts.counts.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(listener = %parts.config.name, ?peer, "a connection was refused: {why}");
        return;
    }
    let _guard = match (&parts.protection, peer) {
        // A trusted proxy is not a client: its connections are many, and each request is looked at by the address that it names.
        (Some(protection), Some(peer)) if !parts.config.routes.forwarding.trusts(peer.ip()) => {
            match protection.connect(peer.ip()) {
                Ok(guard) => Some(guard),
                Err(denied) => {
                    parts.counts.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(listener = %parts.config.name, %peer, reason = denied.reason.word(), "a connection was refused");
                    return;
                }
            }
        }
        _ => None,
    };
    let stream = match &parts.terminator {
        None => Stream::Plain(socket),
        Some(terminator) => match tokio::time::timeout(parts.config.timeouts.request, terminator.accept(socket)).await {
            Ok(Ok(tls)) => Stream::TlsIn(Box::new(tls)),
            failed => {
                parts.counts.refused.fetch_add(1, Ordering::Relaxed);
                let why = failed
                    .map_or_else(|_| "it took too long".to_owned(), |r| r.err().map_or_else(String::new, |e| e.to_string()));
                tracing::debug!(listener = %parts.config.name, ?peer, "no TLS handshake: {why}");
                return;
            }
        },
    };
    match &current.kind {
        // Datagrams have no connections.
        Kind::Udp(_) => {}
        Kind::Tcp(site) => tcp::serve(site, stream, &session, peer, address).await,
        Kind::Http(first) => {
            let connection = Connection { session, peer, local: address, tls: stream.is_tls() };
            let first = first.clone();
            // A listener that has become another mode serves its old connections as it began them.
            let site = move || match &local.current.borrow().kind {
                Kind::Http(site) => site.clone(),
                Kind::Tcp(_) | Kind::Udp(_) => first.clone(),
            };
            drop(current);
            serve_connection(site, stream, connection).await;
        }
    }
}

/// Replaces the addresses by those that a trusted proxy tells.
async fn told_by_proxy(
    parts: &ListenerParts,
    socket: &mut Socket,
    peer: &mut Option<SocketAddr>,
    local: &mut Option<SocketAddr>,
) -> Result<(), accept::AcceptError> {
    let from = &parts.config.proxy_protocol_from;
    if let (false, Socket::Tcp(tcp), Some(p), Some(l)) = (from.is_empty(), socket, *peer, *local) {
        let (client, target) = accept::addresses(tcp, from, p, l, parts.config.timeouts.request).await?;
        (*peer, *local) = (Some(client), Some(target));
    }
    Ok(())
}
