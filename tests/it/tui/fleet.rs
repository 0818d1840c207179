//! A fleet made by hand, with everything that can be wrong with one: the same at every run.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lbdeck::config::Fleet;
use lbdeck::model::{
    AdminState, Check, Drift, EngineInfo, EngineKind, FleetView, FrontendObs, Gauges, Health, NodeMeta, NodeObs, NodeView,
    PoolObs, Problem, ServerObs, ServerStatus, SocketLevel, StatusWord, sanitize, saturate,
};

pub fn wall() -> Timestamp {
    "2026-03-01T03:14:15Z".parse().unwrap()
}

const FILE: &str = "
nodes:
  - {name: lb1, zone: eu-1, local: true, engines: {haproxy: {socket: /run/lb1.sock}}}
  - {name: lb2, zone: eu-1, local: true, engines: {haproxy: {socket: /run/lb2.sock}}}
  - {name: lb3, zone: eu-2, local: true, engines: {haproxy: {socket: /run/lb3.sock}}}
  - {name: lb4, zone: eu-2, local: true, engines: {haproxy: {socket: /run/lb4.sock}}}
  - {name: lb5, zone: us-1, local: true, engines: {haproxy: {socket: /run/lb5.sock}}}
  - {name: lb6, zone: us-1, local: true, engines: {haproxy: {socket: /run/lb6.sock}}}
policies:
  - {pool: web, min_healthy: 50%, confirm: typed}
  - {pool: legacy, read_only: true}
";

pub fn config() -> Fleet {
    lbdeck::config::parse(FILE, Path::new("/etc/lbdeck/lbdeck.yaml")).unwrap()
}

pub fn server(name: &str, word: StatusWord, sessions: u32) -> ServerObs {
    let down = word == StatusWord::Down;
    ServerObs {
        name: sanitize(name).into_owned().into(),
        status: ServerStatus::of(word),
        admin: AdminState::READY,
        admin_exact: true,
        weight: 100,
        user_weight: Some(100),
        initial_weight: Some(100),
        address: Some("10.1.0.11".into()),
        port: Some(8080),
        backup: false,
        gauges: Gauges {
            sessions,
            sessions_max: sessions + 20,
            sessions_total: u64::from(sessions) * 1_000,
            rate: sessions / 2,
            errors: if down { 417 } else { 0 },
            http_5xx: Some(if down { 12 } else { 0 }),
            total_ms: Some(14),
            ..Gauges::default()
        },
        used_conns: Some(sessions),
        idle_conns: Some(3),
        maxconn: Some(500),
        last_change_s: Some(7_500),
        downtime_s: Some(0),
        check: Some(Box::new(Check {
            status: if down { "L4CON" } else { "L7OK" }.into(),
            code: if down { None } else { Some(200) },
            duration_ms: Some(2),
            text: if down { "Connection refused" } else { "" }.into(),
        })),
        health_checks: Some(true),
        agent_checks: None,
        cookie: None,
        drift: Some(Arc::from([])),
        row: 0,
    }
}

pub fn drained(mut server: ServerObs) -> ServerObs {
    server.admin = AdminState(AdminState::FDRAIN);
    server.status = ServerStatus::of(StatusWord::Drain);
    server.drift = Some(Arc::from([Drift { what: "admin".into(), runtime: "drain".into(), file: "ready".into() }]));
    server
}

pub fn weighing(mut server: ServerObs, weight: u32) -> ServerObs {
    server.weight = weight;
    server
}

pub fn pool(name: &str, servers: Vec<ServerObs>) -> PoolObs {
    let sum = |of: fn(&Gauges) -> u64| servers.iter().map(|s| of(&s.gauges)).sum::<u64>();
    PoolObs {
        name: sanitize(name).into_owned().into(),
        mode: "http".into(),
        algorithm: "roundrobin".into(),
        status: ServerStatus::of(StatusWord::Up),
        gauges: Gauges {
            sessions: saturate(sum(|g| g.sessions.into())),
            rate: saturate(sum(|g| g.rate.into())),
            errors: sum(|g| g.errors),
            http_5xx: Some(sum(|g| g.http_5xx.unwrap_or(0))),
            total_ms: Some(14),
            ..Gauges::default()
        },
        active: u32::try_from(servers.len()).unwrap(),
        backup: 0,
        servers,
        row: 0,
    }
}

pub fn node(name: &str, zone: &str, health: Health, now: Instant, age: Duration, pools: Vec<PoolObs>) -> Arc<NodeView> {
    let seen = now.checked_sub(age).unwrap();
    let last = NodeObs {
        node: name.into(),
        at: wall() - age,
        seen,
        took: Duration::from_millis(4),
        source: format!("ssh ops@{name} streamlocal /run/haproxy/admin.sock").into(),
        engine: EngineInfo {
            kind: EngineKind::Haproxy,
            version: "2.6.12-1+deb12u1".into(),
            release: Some((2, 6)),
            level: if name == "lb4" { SocketLevel::User } else { SocketLevel::Admin },
            pid: Some(4_711),
            uptime: Some(Duration::from_secs(367_200)),
            info: [("Name", "HAProxy"), ("Version", "2.6.12-1+deb12u1")].into_iter().collect(),
        },
        frontends: vec![FrontendObs {
            name: "fe_web".into(),
            mode: "http".into(),
            status: ServerStatus::of(StatusWord::Open),
            gauges: Gauges { sessions: 61, rate: 30, request_rate: Some(55), sessions_limit: Some(2_000), ..Gauges::default() },
            row: 0,
        }],
        pools,
        workers: None,
        certificates: None,
        events: Vec::new(),
        notes: vec![],
        fields: None,
    };
    let problem = (health != Health::Fresh).then(|| Problem {
        what: format!("ssh ops@{name}:22: no answer within 5s (reading)"),
        hint: Some("is the node up? `lbdeck fleet check` looks at every step".into()),
        retry: true,
    });
    Arc::new(NodeView {
        meta: Arc::new(NodeMeta {
            name: name.into(),
            address: format!("{name}.example.net"),
            zone: Some(zone.to_owned()),
            role: Some("edge".into()),
            tags: vec!["prod".into()],
            groups: vec![],
        }),
        health,
        last: Some(Arc::new(last)),
        failures: u32::from(problem.is_some()) * 3,
        problem,
        next_try: None,
        vrrp: None,
    })
}

fn unread(name: &str, zone: &str) -> Arc<NodeView> {
    let mut view = NodeView::clone(&node(name, zone, Health::Dead, Instant::now(), Duration::ZERO, vec![]));
    view.last = None;
    view.problem = Some(Problem {
        what: format!("ssh ops@{name}:22: host key has changed"),
        hint: Some("somebody may be in between; compare with the owner before removing the old key".into()),
        retry: false,
    });
    Arc::new(view)
}

/// Six nodes: three fresh that disagree, one at level user, one stale, one never read.
pub fn view(now: Instant) -> Arc<FleetView> {
    use StatusWord::{Down, Up};
    let web =
        |s2: ServerObs, s3: StatusWord| pool("web", vec![server("s1", Up, 17), s2, server("s3", s3, 0), server("s10", Up, 12)]);
    let api = || pool("api", vec![server("a1", Up, 120), server("a2", Up, 118)]);
    let second = Duration::from_millis(400);
    let nodes = vec![
        node("lb1", "eu-1", Health::Fresh, now, second, vec![api(), web(server("s2", Up, 15), Up)]),
        node("lb2", "eu-1", Health::Fresh, now, second, vec![api(), web(drained(server("s2", Up, 3)), Down)]),
        node("lb3", "eu-2", Health::Fresh, now, second, vec![api(), web(weighing(server("s2", Up, 7), 50), Up)]),
        node("lb4", "eu-2", Health::Fresh, now, second, vec![pool("legacy", vec![server("old1", Up, 1)])]),
        node("lb5", "us-1", Health::Stale, now, Duration::from_secs(12), vec![api(), web(server("s2", Up, 9), Up)]),
        unread("lb6", "us-1"),
    ];
    Arc::new(FleetView { at: wall(), now, nodes })
}

/// Names and messages that try to move the cursor, to reorder, to break columns.
pub fn hostile(now: Instant) -> Arc<FleetView> {
    let names =
        ["\x1b[2J\x1b[H", "evil\r\nname", "a\u{202e}txt.exe", "日本語サーバー", "e\u{301}\u{301}\u{301}x", "\u{9b}31mred"];
    let servers = names.iter().map(|name| server(name, StatusWord::Down, 1)).collect();
    let pool = pool("po\x07ol\u{feff}", servers);
    Arc::new(FleetView { at: wall(), now, nodes: vec![node("lb1", "eu-1", Health::Fresh, now, Duration::ZERO, vec![pool])] })
}
