//! A small fleet of real haproxy, each with a lock folder of its own, and an operator with a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lbdeck::config::{Fleet, HaproxyAccess, HaproxySpec, MinHealthy, PoolPolicy, Settings};
use lbdeck::engine::haproxy::Haproxy as Engine;
use lbdeck::engine::{NodeHandle, Want};
use lbdeck::model::{Exit, FleetView, Health, NodeMeta, NodeView, Problem};
use lbdeck::ops::{
    Approval, AtDeadline, DrainOptions, Event, EventKind, Ops, Outcome, Plan, Refusal, Request, Running, Selector, Verb,
};
use lbdeck::store::{Store, Who};
use lbdeck::transport::Transport;
use lbdeck::transport::local::LocalTransport;
use tempfile::TempDir;

use crate::support::app::App;
use crate::support::haproxy::{Builder, Haproxy, Pool};

/// How long a test waits for what should take milliseconds.
pub const LONG: Duration = Duration::from_secs(20);

pub struct Bench {
    pub nodes: Vec<Haproxy>,
    pub apps: Vec<App>,
    pub dir: TempDir,
    pub fleet: Arc<Fleet>,
    pub ops: Ops,
}

/// `app` with three servers behind it, on each of `n` nodes.
pub fn three_servers(n: usize) -> Bench {
    build(n, 3, |b| b, |p| p)
}

pub fn build(n: usize, servers: usize, with: impl Fn(Builder) -> Builder, pool: impl Fn(Pool) -> Pool) -> Bench {
    let apps: Vec<App> = (1..=servers).map(|i| App::start(&format!("web{i}"))).collect();
    let nodes = (0..n)
        .map(|_| {
            let app_pool = apps.iter().fold(pool(Pool::new("app")), |p, app| p.server(&app.name, app.addr, ""));
            with(Haproxy::builder()).pool(app_pool).start()
        })
        .collect();
    Bench::new(nodes, apps, |_| Arc::new(LocalTransport), |_| {})
}

impl Bench {
    pub fn new(
        nodes: Vec<Haproxy>,
        apps: Vec<App>,
        transport: impl Fn(usize) -> Arc<dyn Transport>,
        change: impl FnOnce(&mut Fleet),
    ) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut fleet = Fleet {
            path: "/test/lbdeck.yaml".into(),
            nodes: Vec::new(),
            groups: Vec::new(),
            policies: Vec::new(),
            settings: Settings { timeout: Duration::from_secs(3), dead_after: Duration::from_secs(1), ..Settings::default() },
        };
        change(&mut fleet);
        let fleet = Arc::new(fleet);
        let handles: Vec<NodeHandle> = nodes
            .iter()
            .enumerate()
            .map(|(i, h)| handle(i, h, transport(i), dir.path().join(format!("locks{i}")), &fleet.settings))
            .collect();
        let ops = Ops::new(handles, Arc::clone(&fleet), Store::at(dir.path().join("alice/lbdeck.db")), who("alice"));
        Bench { nodes, apps, dir, fleet, ops }
    }

    /// Another operator with another store, who reaches the same nodes.
    pub fn operator(&self, name: &str) -> Ops {
        self.operator_with(name, &self.fleet)
    }

    pub fn operator_with(&self, name: &str, fleet: &Arc<Fleet>) -> Ops {
        let handles = self
            .nodes
            .iter()
            .enumerate()
            .map(|(i, h)| handle(i, h, Arc::new(LocalTransport), self.lock_dir(i), &fleet.settings))
            .collect();
        Ops::new(handles, Arc::clone(fleet), Store::at(self.dir.path().join(name).join("lbdeck.db")), who(name))
    }

    pub fn with_policy(mut self, min_healthy: MinHealthy) -> Bench {
        let mut fleet = Fleet::clone(&self.fleet);
        fleet.policies.push(PoolPolicy { pool: "*".into(), min_healthy: Some(min_healthy), read_only: false, confirm: None });
        self.fleet = Arc::new(fleet);
        self.ops = self.operator_with("alice", &self.fleet);
        self
    }

    pub fn lock_dir(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("locks{node}"))
    }

    pub fn lock_files(&self, node: usize, ending: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.lock_dir(node)) else { return Vec::new() };
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| n.ends_with(ending)).collect()
    }

    /// All nodes as they are now.
    pub async fn view(&self) -> FleetView {
        let mut nodes = Vec::new();
        for (i, haproxy) in self.nodes.iter().enumerate() {
            let handle = handle(i, haproxy, Arc::new(LocalTransport), self.lock_dir(i), &self.fleet.settings);
            let engine = handle.engine.unwrap();
            let (health, last, problem) = match engine.observe(Want::All, Duration::from_secs(3)).await {
                Ok(obs) => (Health::Fresh, Some(Arc::new(obs)), None),
                Err(e) => (Health::Dead, None, Some(Problem { what: e.to_string(), hint: None, retry: true })),
            };
            nodes.push(Arc::new(NodeView { meta: handle.meta, health, last, problem, failures: 0, next_try: None, vrrp: None }));
        }
        FleetView { at: Timestamp::now(), now: Instant::now(), nodes }
    }

    pub async fn plan(&self, request: Request) -> Plan {
        self.ops.plan(request, &self.view().await).unwrap()
    }

    /// Plans, approves whatever asking it needs, applies and waits.
    pub async fn run(&self, request: Request) -> (Outcome, Vec<Event>) {
        run(&self.ops, request, &self.view().await).await
    }

    pub async fn start(&self, request: Request) -> Running {
        start(&self.ops, request, &self.view().await).unwrap()
    }

    pub fn admin(&self, node: usize, server: &str) -> String {
        let text = self.nodes[node].cli("show servers state app");
        let line = text.lines().find(|l| l.split(' ').nth(3) == Some(server)).unwrap_or_else(|| panic!("{server} in {text}"));
        match line.split(' ').nth(6).unwrap() {
            "0" => "ready".into(),
            "1" => "maint".into(),
            "8" => "drain".into(),
            other => other.into(),
        }
    }
}

pub fn who(name: &str) -> Who {
    Who { user: name.into(), host: "laptop".into(), from: "tty /dev/pts/1".into() }
}

pub fn handle(i: usize, haproxy: &Haproxy, transport: Arc<dyn Transport>, lock_dir: PathBuf, settings: &Settings) -> NodeHandle {
    let name = format!("lb{}", i + 1);
    let spec = HaproxySpec {
        access: HaproxyAccess::Socket(haproxy.socket()),
        metrics_url: None,
        master_socket: haproxy.master_socket().exists().then(|| haproxy.master_socket()),
        config_file: None,
    };
    let engine = Engine::new(name.as_str().into(), &spec, Some(Arc::clone(&transport)), settings).unwrap();
    let meta = NodeMeta {
        name: name.as_str().into(),
        address: "127.0.0.1".into(),
        zone: Some(if i.is_multiple_of(2) { "a" } else { "b" }.into()),
        role: None,
        tags: Vec::new(),
        groups: Vec::new(),
    };
    NodeHandle { meta: Arc::new(meta), transport: Some(transport), engine: Some(Arc::new(engine)), vrrp: None, lock_dir }
}

pub fn start(ops: &Ops, request: Request, view: &FleetView) -> Result<Running, Refusal> {
    let plan = ops.plan(request, view).unwrap();
    let word = plan.confirm_word.clone();
    Ok(ops.apply(ops.approve(plan, Approval::Typed(word))?))
}

pub async fn run(ops: &Ops, request: Request, view: &FleetView) -> (Outcome, Vec<Event>) {
    collect(start(ops, request, view).unwrap()).await
}

pub async fn collect(mut running: Running) -> (Outcome, Vec<Event>) {
    let mut events = Vec::new();
    loop {
        let event =
            tokio::time::timeout(LONG, running.events.recv()).await.expect("an event in time").expect("Finished comes last");
        if let EventKind::Finished { outcome } = event.kind {
            return (outcome, events);
        }
        events.push(event);
    }
}

/// Reads events until one is wanted.
pub async fn until(running: &mut Running, wanted: impl Fn(&EventKind) -> bool) -> Event {
    loop {
        let event = tokio::time::timeout(LONG, running.events.recv()).await.expect("an event in time").expect("not finished");
        if wanted(&event.kind) {
            return event;
        }
        assert!(!matches!(event.kind, EventKind::Finished { .. }), "finished before: {event:?}");
    }
}

pub fn request(verb: Verb, servers: &[&str]) -> Request {
    Request {
        verb,
        selector: Selector { servers: servers.iter().map(ToString::to_string).collect(), ..Selector::default() },
        reason: Some("a test".into()),
        lease: None,
        force: false,
    }
}

pub fn drain(server: &str) -> Request {
    drain_until(server, None, AtDeadline::Fail)
}

pub fn drain_until(server: &str, deadline: Option<Duration>, then: AtDeadline) -> Request {
    request(Verb::Drain(DrainOptions { deadline, then, wait: true }), &[server])
}

pub fn undo(operation: i64) -> Request {
    request(Verb::Undo { operation }, &[])
}

pub fn assert_ok(outcome: &Outcome) {
    assert_eq!(outcome.exit, Exit::Ok, "{outcome:#?}");
}
