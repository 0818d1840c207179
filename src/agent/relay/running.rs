//! The relay as a whole: threads, listeners, pools and checks under one configuration that is exchanged as one.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::engine::relay::wire::{self, Traffic};

use super::config::{BindAddress, ListenerConfig, Mode, RelayConfig};
use super::health::HealthThread;
use super::listener::{ListenAddress, ListenError, ListenSockets};
use super::log::AccessLog;
use super::metrics::prometheus::{self, Extra};
use super::metrics::{self, NO_ROUTE, Registry};
use super::protect::Protection;
use super::room::Room;
use super::roster::{Asked, Roster};
use super::route::UnknownPool;
use super::rules::Rules;
use super::runtime::Threads;
use super::serving::{self, Change, ListenerCounts, ListenerParts, PoolParts, ThreadSocket, Watch};
use super::session::{SessionView, Sessions};
use super::splice;
use super::tls::TlsError;
use super::tls::connect::TlsToServer;
use super::tls::terminate::{Terminator, TicketKeys};
use crate::agent::events::Events;
use crate::agent::plane::Healths;
use crate::agent::watched_files::Looked;
use crate::model::ServerRef;

/// How often a relay that stops looks whether its connections have ended.
const LOOK: Duration = Duration::from_millis(50);

/// Why a configuration was not taken. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("listener {listener}: {source}")]
    Listen { listener: Arc<str>, source: ListenError },
    #[error("{at}: {source}")]
    Tls { at: String, source: TlsError },
    #[error("listener {listener}: {source}")]
    Route { listener: Arc<str>, source: UnknownPool },
    #[error("the access log: {0}")]
    Log(std::io::Error),
    #[error("the relay: {0}")]
    System(#[from] std::io::Error),
}

#[derive(Debug)]
struct Listening {
    parts: ListenerParts,
    sockets: Vec<(BindAddress, ListenSockets)>,
}

#[derive(Debug, Default)]
struct Inner {
    config: Arc<RelayConfig>,
    listeners: BTreeMap<Arc<str>, Listening>,
    /// TLS to the servers of pools, by name.
    tls: BTreeMap<Arc<str>, Arc<TlsToServer>>,
    generation: u64,
    log: Option<Arc<AccessLog>>,
}

/// A relay that runs.
#[derive(Debug)]
pub struct Relay {
    pub roster: Roster,
    threads: Threads,
    inner: Mutex<Inner>,
    registry: Arc<Registry>,
    /// Client connections of all listeners.
    active: Arc<AtomicU64>,
    everyone: Arc<Room>,
    started: Instant,
    tickets: TicketKeys,
    _health: HealthThread,
}

impl Relay {
    /// Starts with a configuration, what operators asked for before, what was known of servers, and listening sockets of a process before this one. What happens to servers
    /// is told to `events`.
    pub fn start(
        config: RelayConfig,
        remembered: impl IntoIterator<Item = (ServerRef, Asked)>,
        known: Healths,
        sockets: Vec<(String, OwnedFd)>,
        events: Arc<Events>,
    ) -> Result<Self, RelayError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Threads::start(config.global.threads.unwrap_or(cores))?;
        let tickets = TicketKeys::new().map_err(|source| RelayError::Tls { at: "session tickets".to_owned(), source })?;
        let roster = Roster::default();
        for (at, asked) in remembered {
            roster.remember(&at, asked);
        }
        roster.remember_health(known);
        let health = HealthThread::start(roster.checked(), events)?;
        let relay = Self {
            registry: Arc::new(Registry::new(threads.count())),
            active: Arc::default(),
            everyone: Arc::new(Room::of_this_process()),
            started: Instant::now(),
            roster,
            threads,
            inner: Mutex::default(),
            tickets,
            _health: health,
        };
        relay.apply_with(config, sockets)?;
        Ok(relay)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn config(&self) -> Arc<RelayConfig> {
        self.lock().config.clone()
    }

    /// Takes another configuration as a whole, or nothing of it. What changed, in words.
    pub fn apply(&self, config: RelayConfig) -> Result<Vec<String>, RelayError> {
        self.apply_with(config, Vec::new())
    }

    fn apply_with(&self, config: RelayConfig, mut handed: Vec<(String, OwnedFd)>) -> Result<Vec<String>, RelayError> {
        let mut inner = self.lock();
        // All that can fail comes first.
        let mut tls_to_servers = BTreeMap::new();
        for pool in &config.pools {
            let Some(wanted) = &pool.tls else { continue };
            let tls = match inner.tls.get(&pool.name).filter(|known| known.config() == wanted) {
                Some(known) => known.clone(),
                None => {
                    let at = |source| RelayError::Tls { at: format!("pool {}", pool.name), source };
                    Arc::new(TlsToServer::new(wanted).map_err(at)?)
                }
            };
            tls_to_servers.insert(pool.name.clone(), tls);
        }
        let mut prepared = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            prepared.push(self.prepare(&inner, &config, listener, &mut handed)?);
        }
        let mut sockets: Vec<Vec<ThreadSocket>> = Vec::new();
        for index in 0..self.threads.count() {
            let mut own = Vec::new();
            for (prepared, (address, all)) in prepared.iter().flat_map(|p| p.opened.iter().map(move |opened| (p, opened))) {
                for fd in all.of_thread(index, self.threads.count())? {
                    own.push(ThreadSocket { listener: prepared.parts.config.name.clone(), address: address.clone(), fd });
                }
            }
            sockets.push(own);
        }
        // Last, because a log that runs is told at once.
        let log = self.log(&inner, &config)?;
        // From here on nothing fails.
        let mut changes = self.roster.apply(&config);
        let before = std::mem::take(&mut inner.listeners);
        inner.generation += 1;
        let pools: Vec<PoolParts> = config
            .pools
            .iter()
            .filter_map(|p| Some(PoolParts { pool: self.roster.pool(&p.name)?, tls: tls_to_servers.get(&p.name).cloned() }))
            .collect();
        inner.tls = tls_to_servers;
        let listeners: Vec<ListenerParts> = prepared.iter().map(|p| p.parts.clone()).collect();
        let mut old = before;
        for p in prepared {
            let name = p.parts.config.name.clone();
            let known = old.remove(&name);
            match &known {
                None => changes.push(format!("listener {name}: added")),
                Some(known) if known.parts.config != p.parts.config => changes.push(format!("listener {name}: changed")),
                Some(_) => {}
            }
            let mut kept =
                known.filter(|k| same_transport(&k.parts.config, &p.parts.config)).map_or_else(Vec::new, |k| k.sockets);
            kept.retain(|(address, _)| p.parts.config.bind.contains(address));
            kept.extend(p.opened);
            inner.listeners.insert(name, Listening { parts: p.parts, sockets: kept });
        }
        changes.extend(old.keys().map(|name| format!("listener {name}: removed")));
        for (index, sockets) in sockets.into_iter().enumerate() {
            let (listeners, pools) = (listeners.clone(), pools.clone());
            let watch = Watch { log: log.clone(), registry: self.registry.clone(), thread: index };
            self.threads.run_on(index, move || serving::change(Change { listeners, pools, watch, sockets }));
        }
        inner.log = log;
        inner.config = Arc::new(config);
        let known = &inner.listeners;
        self.registry.retain(|listener, route| {
            let rules = known.get(listener).and_then(|l| l.parts.rules.as_ref());
            rules.is_some_and(|r| route == NO_ROUTE || r.router.routes().iter().any(|known| &*known.name == route))
        });
        Ok(changes)
    }

    /// The access log of a configuration: the one that runs, told of what changed, or another one.
    fn log(&self, inner: &Inner, config: &RelayConfig) -> Result<Option<Arc<AccessLog>>, RelayError> {
        let Some(wanted) = &config.global.log.access else { return Ok(None) };
        if let Some(log) = &inner.log {
            log.change(wanted.clone()).map_err(RelayError::Log)?;
            return Ok(Some(log.clone()));
        }
        let log = AccessLog::start(wanted.clone(), self.threads.count()).map_err(RelayError::Log)?;
        Ok(Some(Arc::new(log)))
    }

    /// Routes as the control API shows them, with their latency.
    pub fn routes(&self) -> Vec<wire::Route> {
        let inner = self.lock();
        let mut found = Vec::new();
        for (listener, listening) in &inner.listeners {
            let Some(rules) = &listening.parts.rules else { continue };
            for route in rules.router.routes() {
                let stats = self.registry.route(listener, &route.name);
                found.push(wire::Route {
                    listener: listener.to_string(),
                    name: route.name.to_string(),
                    pools: route.pools().map(|p| p.name.to_string()).collect(),
                    traffic: stats.traffic(),
                    latency: metrics::latency(&stats.histogram()),
                });
            }
        }
        found
    }

    /// Forgets what is cached of a host (all where `None`) at or below a path; how many responses that were.
    pub fn purge(&self, host: Option<&str>, path: &str) -> usize {
        self.lock().listeners.values().filter_map(|l| l.parts.rules.as_ref()).map(|r| r.purge(host, path)).sum()
    }

    /// The text that Prometheus reads.
    pub fn metrics(&self) -> String {
        let (listeners, pools, routes) = (self.listeners(), self.roster.picture(None), self.routes());
        let inner = self.lock();
        let rules = || inner.listeners.iter().filter_map(|(name, l)| Some((name, l.parts.rules.as_ref()?)));
        let extra = Extra {
            spliced_bytes: splice::moved(),
            log: inner.log.as_ref().map(|log| log.counts()),
            routes: rules().flat_map(|(name, r)| r.routes(name, &self.registry)).collect(),
            denied: inner
                .listeners
                .iter()
                .filter_map(|(name, l)| Some((name.to_string(), l.parts.protection.as_ref()?.denied().collect())))
                .collect(),
        };
        let snapshot = wire::Snapshot {
            at: Timestamp::now(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            phase: wire::Phase::Serving,
            generation: inner.generation,
            listeners,
            routes,
            pools,
            notes: Vec::new(),
        };
        prometheus::render(&snapshot, &extra)
    }

    fn prepare(
        &self,
        inner: &Inner,
        config: &RelayConfig,
        listener: &Arc<ListenerConfig>,
        handed: &mut Vec<(String, OwnedFd)>,
    ) -> Result<Prepared, RelayError> {
        let known = inner.listeners.get(&listener.name);
        let before = known.and_then(|k| k.parts.terminator.as_ref());
        let terminator = match &listener.tls {
            Some(tls) if before.is_some_and(|t| t.config() == tls) => before.cloned(),
            Some(tls) => {
                let at = || format!("listener {}", listener.name);
                Some(Terminator::new(tls, &self.tickets).map_err(|source| RelayError::Tls { at: at(), source })?)
            }
            None => None,
        };
        let rules = (listener.mode == Mode::Http).then(|| {
            let before = known.and_then(|k| k.parts.rules.as_deref());
            let place = |name: &str| config.pools.iter().position(|p| &*p.name == name);
            Rules::new(listener, before, place, Instant::now()).map(Arc::new)
        });
        let rules = rules.transpose().map_err(|source| RelayError::Route { listener: listener.name.clone(), source })?;
        let protection = match &rules {
            Some(rules) => rules.protection.clone(),
            None => listener.protect.0.clone().map(|protect| {
                let before = known.and_then(|k| k.parts.protection.as_deref());
                Arc::new(Protection::new(protect, before, Instant::now()))
            }),
        };
        let same_room = known.filter(|k| k.parts.config.maxconn == listener.maxconn).map(|k| k.parts.room.clone());
        let parts = ListenerParts {
            config: listener.clone(),
            counts: known.map_or_else(Arc::<ListenerCounts>::default, |k| k.parts.counts.clone()),
            terminator,
            protection,
            rules,
            active: self.active.clone(),
            everyone: self.everyone.clone(),
            room: same_room.unwrap_or_else(|| listener.maxconn.map(|n| Arc::new(Semaphore::new(n)))),
            enabled: known.is_none_or(|k| k.parts.enabled),
        };
        let mut opened = Vec::new();
        for address in &listener.bind {
            let reused = known.filter(|k| same_transport(&k.parts.config, listener));
            if reused.is_some_and(|k| k.sockets.iter().any(|(a, _)| a == address)) {
                continue;
            }
            let wanted = match address {
                BindAddress::Ip(address) if listener.mode == Mode::Udp => ListenAddress::Udp(*address),
                BindAddress::Ip(address) => ListenAddress::Tcp(*address),
                BindAddress::Unix(path) => ListenAddress::Unix { path: path.clone(), mode: None },
            };
            let sockets = ListenSockets::open(&wanted, self.threads.count(), handed)
                .map_err(|source| RelayError::Listen { listener: listener.name.clone(), source })?;
            opened.push((address.clone(), sockets));
        }
        Ok(Prepared { parts, opened })
    }

    /// Whether a listener of that name takes new connections from now on; false where there is none.
    pub fn enable(&self, name: &str, enabled: bool) -> bool {
        let mut inner = self.lock();
        let Some(listening) = inner.listeners.get_mut(name) else { return false };
        listening.parts.enabled = enabled;
        let name = listening.parts.config.name.clone();
        for index in 0..self.threads.count() {
            let name = name.clone();
            self.threads.run_on(index, move || serving::enable(&name, enabled));
        }
        true
    }

    /// Listeners as the control API shows them.
    pub fn listeners(&self) -> Vec<wire::Listener> {
        let inner = self.lock();
        inner.listeners.values().map(|l| show(l, &self.registry)).collect()
    }

    /// Once a second: rates.
    pub fn tick(&self) {
        self.registry.tick();
        for listening in self.lock().listeners.values() {
            let counts = &listening.parts.counts;
            counts.rate.tick(counts.total.load(Ordering::Relaxed));
        }
    }

    /// Reads certificates and keys again whose files have changed: of whom, and why not where they cannot be used. Reads files.
    pub fn look_at_certificates(&self) -> Vec<(String, Result<(), String>)> {
        let all = self.tls_of_all().into_iter().map(|(at, tls)| match tls {
            Tls::In(terminator) => (at, terminator.look()),
            Tls::Out(tls) => (at, tls.look()),
        });
        let news = |(at, looked)| match looked {
            Looked::Same => None,
            Looked::Taken => Some((at, Ok(()))),
            Looked::Refused(why) => Some((at, Err(why))),
        };
        all.filter_map(news).collect()
    }

    /// What an operator should know, in words: certificates that are not as their files are, clients that find no room.
    pub fn troubles(&self) -> Vec<String> {
        let all = self.tls_of_all().into_iter().filter_map(|(at, tls)| {
            let why = match tls {
                Tls::In(terminator) => terminator.refused(),
                Tls::Out(tls) => tls.refused(),
            };
            Some((at, why?))
        });
        all.map(|(at, why)| {
            format!("{at}: the files of its certificate have changed and cannot be used, what was read before stays: {why}")
        })
        .chain(self.everyone.trouble())
        .collect()
    }

    fn tls_of_all(&self) -> Vec<(String, Tls)> {
        let inner = self.lock();
        let terminators = inner.listeners.iter().filter_map(|(name, l)| Some((name, l.parts.terminator.clone()?)));
        let listeners = terminators.map(|(name, terminator)| (format!("listener {name}"), Tls::In(terminator)));
        let pools = inner.tls.iter().map(|(name, tls)| (format!("pool {name}"), Tls::Out(tls.clone())));
        listeners.chain(pools).collect()
    }

    /// Files of all certificates that listeners show.
    pub fn certificate_files(&self) -> Vec<PathBuf> {
        let inner = self.lock();
        let tls = inner.listeners.values().filter_map(|l| l.parts.config.tls.as_ref());
        tls.flat_map(|t| t.certificates.iter().map(|c| c.certificate.clone())).collect()
    }

    /// At most `limit` sessions, of one server (`pool/server`) or of all.
    pub async fn sessions(&self, of: Option<String>, limit: usize) -> Vec<SessionView> {
        let all = self.threads.ask_each(move || Sessions::here().list(of.as_deref(), limit)).await;
        all.into_iter().flatten().take(limit).collect()
    }

    pub async fn kill(&self, id: u64) -> bool {
        self.threads.ask_each(move || Sessions::here().kill(id)).await.contains(&true)
    }

    /// Ends all sessions of a server (`pool/server`); how many.
    pub async fn kill_at(&self, server: String) -> usize {
        self.threads.ask_each(move || Sessions::here().kill_server(&server)).await.iter().sum()
    }

    /// Copies of all listening sockets with their names.
    pub fn sockets(&self) -> std::io::Result<Vec<(String, OwnedFd)>> {
        let inner = self.lock();
        let all = inner.listeners.values().flat_map(|l| &l.sockets);
        Ok(all.map(|(_, s)| s.hand_over()).collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Stops accepting and lets what is established end, connections that wait for a request within `idle`; what is left at the deadline is cut.
    /// How many were cut.
    pub async fn finish(&self, idle: Duration, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        self.lock().listeners.clear();
        self.threads.ask_each(move || serving::close(idle)).await;
        loop {
            let left: usize = self.threads.ask_each(|| Sessions::here().count()).await.iter().sum();
            if left == 0 {
                return 0;
            }
            if Instant::now() >= until {
                return self.threads.ask_each(|| Sessions::here().kill_all()).await.iter().sum();
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// TLS of a listener or of a pool.
enum Tls {
    In(Terminator),
    Out(Arc<TlsToServer>),
}

struct Prepared {
    parts: ListenerParts,
    opened: Vec<(BindAddress, ListenSockets)>,
}

/// Sockets of the one may serve the other.
fn same_transport(a: &ListenerConfig, b: &ListenerConfig) -> bool {
    (a.mode == Mode::Udp) == (b.mode == Mode::Udp)
}

/// Requests of a listener are those of its routes, and those that no route took.
fn requests(listening: &Listening, registry: &Registry) -> Traffic {
    let Some(rules) = &listening.parts.rules else { return Traffic::default() };
    let name = &listening.parts.config.name;
    let none = Arc::from(NO_ROUTE);
    let routes = rules.router.routes().iter().map(|r| &r.name).chain([&none]);
    let mut all = Traffic::default();
    routes.for_each(|route| all.add(&registry.route(name, route).traffic()));
    // Those are the pool's.
    Traffic { connect_errors: 0, response_errors: 0, ..all }
}

fn show(listening: &Listening, registry: &Registry) -> wire::Listener {
    let requests = requests(listening, registry);
    let config = &listening.parts.config;
    let counts = &listening.parts.counts;
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let addresses = listening.sockets.iter().map(|(address, sockets)| match sockets.local_address() {
        Some(bound) => bound.to_string(),
        None => address.to_string().replacen("unix:", "unix@", 1),
    });
    wire::Listener {
        name: config.name.to_string(),
        mode: config.mode.word().to_owned(),
        addresses: addresses.collect(),
        enabled: listening.parts.enabled,
        tls: listening.parts.terminator.is_some(),
        traffic: Traffic {
            sessions: read(&counts.now),
            sessions_max: read(&counts.max),
            sessions_limit: config.maxconn.map(|n| n as u64),
            sessions_total: read(&counts.total),
            sessions_rate: counts.rate.get(),
            request_errors: read(&counts.refused) + requests.request_errors,
            ..requests
        },
    }
}
