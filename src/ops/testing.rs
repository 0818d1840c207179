//! A fleet in memory for tests of what is pure: nodes whose engine understands every change and does it at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{Fleet, Settings};
use crate::engine::{Admin, Command, Engine, EngineError, NodeHandle, Result, Want};
use crate::model::{
    AddServer, AdminState, Change, EngineInfo, EngineKind, FleetView, Gauges, Health, NodeMeta, NodeName, NodeObs, NodeView,
    PoolObs, ServerObs, ServerStatus, SocketLevel, StatusWord, Target, Weight,
};
use crate::store::{Lease, Who};
use crate::transport::TransportError;

use super::plan::GiveBack;
use super::planner::{self, Known};
use super::{Plan, PlanError, Request, Selector, Verb};

#[derive(Debug)]
pub struct Imagined {
    node: NodeName,
    /// What it says it cannot do.
    pub cannot: Option<Change>,
}

#[async_trait]
impl Engine for Imagined {
    fn kind(&self) -> EngineKind {
        EngineKind::Haproxy
    }
    fn node(&self) -> &NodeName {
        &self.node
    }
    fn identity(&self) -> String {
        "imagined".into()
    }
    fn source(&self) -> String {
        "memory".into()
    }
    async fn observe(&self, _: Want<'_>, _: Duration) -> Result<NodeObs> {
        let what = "an imagined engine is only planned with".into();
        Err(EngineError::Transport(TransportError::Unsupported { at: self.node.to_string(), what }))
    }
    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }
}

#[async_trait]
impl Admin for Imagined {
    fn encode(&self, target: &Target, change: &Change, _: &NodeObs) -> Result<Vec<Command>, String> {
        if self.cannot.as_ref() == Some(change) {
            return Err("the algorithm is static".into());
        }
        Ok(vec![Command::Socket(format!("{change} {target}"))])
    }
    fn inverse(&self, target: &Target, _: &Change, seen: &NodeObs) -> Vec<Change> {
        let Target::Server(at) = target else { return Vec::new() };
        match seen.server(at.pool.as_str(), at.server.as_str()).map(|s| s.admin.word()) {
            Some("maint") => vec![Change::Maint],
            Some("drain") => vec![Change::Drain],
            _ => vec![Change::Ready],
        }
    }
    async fn send(&self, _: &[Command], _: Duration) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn can_add(&self, _: &str, _: &AddServer, _: &NodeObs) -> Result<(), String> {
        Ok(())
    }
}

pub fn server(name: &str) -> ServerObs {
    ServerObs {
        name: name.into(),
        status: ServerStatus::of(StatusWord::Up),
        admin: AdminState::READY,
        admin_exact: true,
        weight: 100,
        user_weight: Some(100),
        initial_weight: Some(100),
        address: Some("10.0.0.1".into()),
        port: Some(80),
        backup: false,
        gauges: Gauges::default(),
        used_conns: Some(0),
        idle_conns: None,
        maxconn: None,
        last_change_s: None,
        downtime_s: None,
        check: None,
        health_checks: None,
        agent_checks: None,
        cookie: None,
        drift: None,
        row: 0,
    }
}

pub fn pool(name: &str, servers: Vec<ServerObs>) -> PoolObs {
    PoolObs {
        name: name.into(),
        mode: "http".into(),
        algorithm: "roundrobin".into(),
        status: ServerStatus::of(StatusWord::Up),
        gauges: Gauges::default(),
        active: 0,
        backup: 0,
        servers,
        row: 0,
    }
}

/// What a change makes of a server, as HAProxy would have it.
pub fn apply(server: &mut ServerObs, change: &Change) {
    match change {
        Change::Ready => server.admin = AdminState::READY,
        Change::Drain => server.admin = AdminState(AdminState::FDRAIN),
        Change::Maint => server.admin = AdminState(AdminState::FMAINT),
        Change::Weight(Weight::Absolute(w)) => {
            server.weight = u32::from(*w);
            server.user_weight = Some(u32::from(*w));
        }
        _ => {}
    }
}

pub struct World {
    pub fleet: Fleet,
    pub handles: Vec<NodeHandle>,
    pub view: FleetView,
    pub who: Who,
    pub leases: Vec<Lease>,
    pub give_back: Vec<GiveBack>,
}

/// `lb1`, `lb2` … with these pools each.
pub fn world(nodes: Vec<Vec<PoolObs>>) -> World {
    let metas: Vec<Arc<NodeMeta>> = (1..=nodes.len())
        .map(|i| {
            Arc::new(NodeMeta {
                name: format!("lb{i}").into(),
                address: format!("10.1.0.{i}"),
                zone: Some(format!("z{i}")),
                role: None,
                tags: Vec::new(),
                groups: vec!["all".into()],
            })
        })
        .collect();
    let handles = metas.iter().map(|meta| handle(meta, None)).collect();
    let views = metas.iter().zip(nodes).map(|(meta, pools)| Arc::new(node_view(meta, pools))).collect();
    World {
        fleet: Fleet {
            path: "lbdeck.yaml".into(),
            nodes: Vec::new(),
            groups: Vec::new(),
            policies: Vec::new(),
            settings: Settings::default(),
        },
        handles,
        view: FleetView { at: Timestamp::now(), now: Instant::now(), nodes: views },
        who: Who { user: "alice".into(), host: "laptop".into(), from: "tty".into() },
        leases: Vec::new(),
        give_back: Vec::new(),
    }
}

pub fn handle(meta: &Arc<NodeMeta>, cannot: Option<Change>) -> NodeHandle {
    let engine = Imagined { node: meta.name.clone(), cannot };
    NodeHandle {
        meta: Arc::clone(meta),
        transport: None,
        engine: Some(Arc::new(engine)),
        vrrp: None,
        lock_dir: "/run/lock/lbdeck".into(),
    }
}

fn node_view(meta: &Arc<NodeMeta>, pools: Vec<PoolObs>) -> NodeView {
    let obs = NodeObs {
        node: meta.name.clone(),
        at: Timestamp::now(),
        seen: Instant::now(),
        took: Duration::ZERO,
        source: "memory".into(),
        engine: EngineInfo {
            kind: EngineKind::Haproxy,
            version: "2.6.12".into(),
            release: Some((2, 6)),
            level: SocketLevel::Admin,
            pid: Some(1),
            uptime: None,
            info: Default::default(),
        },
        frontends: Vec::new(),
        pools,
        workers: None,
        certificates: None,
        events: Vec::new(),
        notes: Vec::new(),
        fields: None,
    };
    NodeView {
        meta: Arc::clone(meta),
        health: Health::Fresh,
        last: Some(Arc::new(obs)),
        problem: None,
        failures: 0,
        next_try: None,
        vrrp: None,
    }
}

impl World {
    pub fn plan(&self, request: Request) -> Result<Plan, PlanError> {
        let known = Known {
            fleet: &self.fleet,
            nodes: &self.handles,
            leases: &self.leases,
            give_back: &self.give_back,
            who: &self.who,
            now: Timestamp::now(),
            only: None,
        };
        planner::plan(request, &self.view, known)
    }

    /// The node's reading, to be changed.
    pub fn node(&mut self, index: usize) -> &mut NodeView {
        Arc::make_mut(&mut self.view.nodes[index])
    }
    pub fn pools(&mut self, index: usize) -> &mut Vec<PoolObs> {
        let last = self.node(index).last.as_mut().unwrap();
        &mut Arc::make_mut(last).pools
    }

    /// Does what the plan says, at once.
    pub fn obey(&mut self, plan: &Plan) {
        for step in plan.steps.iter().filter(|s| !s.already) {
            let index = self.view.nodes.iter().position(|n| n.meta.name == step.node).unwrap();
            let Target::Server(at) = &step.target else { continue };
            let pool = self.pools(index).iter_mut().find(|p| p.name == at.pool).unwrap();
            if step.change == Change::RemoveServer {
                pool.servers.retain(|s| s.name != at.server);
            } else {
                apply(pool.servers.iter_mut().find(|s| s.name == at.server).unwrap(), &step.change);
            }
        }
    }
}

pub fn request(verb: Verb, servers: &[&str]) -> Request {
    Request {
        verb,
        selector: Selector { servers: servers.iter().map(ToString::to_string).collect(), ..Selector::default() },
        reason: None,
        lease: None,
        force: false,
    }
}
