//! From two pictures of the fleet to the events between them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::output::VERSION;
use crate::model::{FleetView, Health, NodeName, NodeObs, NodeView, PoolName, ServerName, ServerObs};
use crate::ops::Matcher;

#[derive(Clone, Debug, Serialize)]
pub struct WatchEvent {
    version: u32,
    at: Timestamp,
    #[serde(flatten)]
    pub kind: WatchKind,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WatchKind {
    Watching {
        nodes: Vec<NodeName>,
        interval_ms: u64,
    },
    Node {
        node: NodeName,
        from: Health,
        to: Health,
        problem: Option<String>,
    },
    Process {
        node: NodeName,
        from: Process,
        to: Process,
    },
    Server {
        node: NodeName,
        pool: PoolName,
        server: ServerName,
        changed: Vec<&'static str>,
        from: Option<ServerState>,
        to: ServerState,
        source: Arc<str>,
    },
    ServerAdded {
        node: NodeName,
        pool: PoolName,
        server: ServerName,
        to: ServerState,
        source: Arc<str>,
    },
    ServerRemoved {
        node: NodeName,
        pool: PoolName,
        server: ServerName,
        from: ServerState,
        source: Arc<str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    pid: Option<u32>,
    version: String,
}

/// What of a server is worth an event when it changes. Counters are not: they always do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerState {
    status: String,
    admin: &'static str,
    weight: u32,
    address: Option<String>,
    port: Option<u16>,
    maxconn: Option<u32>,
    serving: bool,
    check: Option<String>,
}

impl ServerState {
    fn of(server: &ServerObs) -> Self {
        Self {
            // Without the progress of checks (UP 1/3), which would be an event every second.
            status: server.status.word.label().to_owned(),
            admin: server.admin.word(),
            weight: server.weight,
            address: server.address.as_deref().map(str::to_owned),
            port: server.port,
            maxconn: server.maxconn,
            serving: server.is_serving(),
            check: server.check.as_ref().map(|c| c.status.to_string()),
        }
    }

    fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("status", self.status != other.status),
            ("admin", self.admin != other.admin),
            ("weight", self.weight != other.weight),
            ("address", self.address != other.address),
            ("port", self.port != other.port),
            ("maxconn", self.maxconn != other.maxconn),
            ("serving", self.serving != other.serving),
            ("check", self.check != other.check),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

/// Remembers the last reading of each node that could be believed.
pub struct Watcher {
    wanted: Matcher,
    initial: bool,
    health: BTreeMap<NodeName, Health>,
    last: BTreeMap<NodeName, Arc<NodeObs>>,
}

impl Watcher {
    pub fn new(wanted: Matcher, initial: bool) -> Self {
        Self { wanted, initial, health: BTreeMap::new(), last: BTreeMap::new() }
    }

    pub fn begin(&mut self, view: &FleetView, interval: Duration) -> WatchEvent {
        for node in &view.nodes {
            self.health.insert(node.meta.name.clone(), node.health);
        }
        let nodes = view.nodes.iter().map(|n| n.meta.name.clone()).collect();
        event(view, WatchKind::Watching { nodes, interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) })
    }

    /// What happened since the last step.
    pub fn step(&mut self, view: &FleetView) -> Vec<WatchEvent> {
        let mut kinds = Vec::new();
        for node in &view.nodes {
            self.node(node, &mut kinds);
        }
        kinds.into_iter().map(|kind| event(view, kind)).collect()
    }

    fn node(&mut self, node: &NodeView, kinds: &mut Vec<WatchKind>) {
        let name = &node.meta.name;
        let before = self.health.insert(name.clone(), node.health).unwrap_or(Health::Connecting);
        if before != node.health {
            let problem = node.problem.as_ref().map(|p| p.what.clone());
            kinds.push(WatchKind::Node { node: name.clone(), from: before, to: node.health, problem });
        }
        let Some(obs) = node.last.as_ref().filter(|_| node.health == Health::Fresh) else { return };
        match self.last.insert(name.clone(), obs.clone()) {
            Some(last) if Arc::ptr_eq(&last, obs) => {}
            Some(last) => self.compare(name, &last, obs, kinds),
            None if self.initial => {
                for (pool, server) in self.servers(obs) {
                    kinds.push(WatchKind::Server {
                        node: name.clone(),
                        pool: pool.clone(),
                        server: server.name.clone(),
                        changed: Vec::new(),
                        from: None,
                        to: ServerState::of(server),
                        source: obs.source.clone(),
                    });
                }
            }
            None => {}
        }
    }

    fn servers<'a>(&'a self, obs: &'a NodeObs) -> impl Iterator<Item = (&'a PoolName, &'a ServerObs)> {
        obs.pools
            .iter()
            .flat_map(|pool| pool.servers.iter().map(move |server| (&pool.name, server)))
            .filter(|(pool, server)| self.wanted.server(pool.as_str(), server))
    }

    fn compare(&self, node: &NodeName, last: &NodeObs, now: &NodeObs, kinds: &mut Vec<WatchKind>) {
        let process = |obs: &NodeObs| Process { pid: obs.engine.pid, version: obs.engine.version.clone() };
        if process(last) != process(now) {
            kinds.push(WatchKind::Process { node: node.clone(), from: process(last), to: process(now) });
        }
        let source = now.source.clone();
        let before: BTreeMap<_, _> = self.servers(last).map(|(pool, server)| ((pool, &server.name), server)).collect();
        let mut seen = BTreeSet::new();
        for (pool, server) in self.servers(now) {
            seen.insert((pool, &server.name));
            let (to, node, pool_name, name) = (ServerState::of(server), node.clone(), pool.clone(), server.name.clone());
            match before.get(&(pool, &server.name)).map(|s| ServerState::of(s)) {
                Some(from) if from == to => {}
                Some(from) => {
                    let changed = from.differences(&to);
                    let (server, source) = (name, source.clone());
                    kinds.push(WatchKind::Server { node, pool: pool_name, server, changed, from: Some(from), to, source });
                }
                None => {
                    kinds.push(WatchKind::ServerAdded { node, pool: pool_name, server: name, to, source: source.clone() });
                }
            }
        }
        for ((pool, name), server) in before.into_iter().filter(|(key, _)| !seen.contains(key)) {
            let (pool, server, from) = (pool.clone(), name.clone(), ServerState::of(server));
            kinds.push(WatchKind::ServerRemoved { node: node.clone(), pool, server, from, source: source.clone() });
        }
    }
}

fn event(view: &FleetView, kind: WatchKind) -> WatchEvent {
    WatchEvent { version: VERSION, at: view.at, kind }
}
