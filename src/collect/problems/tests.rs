//! Each kind of problem, from a picture that was made by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::*;
use crate::config::{ConfirmLevel, MinHealthy, PoolPolicy, Settings};
use crate::model::{
    AdminState, Certificate, Change, Check, Drift, EngineInfo, EngineKind, NodeMeta, NodeObs, Problem, ServerStatus, SocketLevel,
};
use crate::store::{JournalEntry, JournalState, LeaseHold, LeaseState, Who};

fn server(name: &str, word: StatusWord, admin: u8) -> ServerObs {
    ServerObs {
        name: name.into(),
        status: ServerStatus::of(word),
        admin: AdminState(admin),
        admin_exact: true,
        weight: 100,
        user_weight: Some(100),
        initial_weight: Some(100),
        address: None,
        port: None,
        backup: false,
        gauges: Default::default(),
        used_conns: None,
        idle_conns: None,
        maxconn: None,
        last_change_s: Some(90),
        downtime_s: None,
        check: None,
        health_checks: None,
        agent_checks: None,
        cookie: None,
        drift: None,
        row: 0,
    }
}

fn node(name: &str, servers: Vec<ServerObs>) -> NodeView {
    let pool = PoolObs {
        name: "web".into(),
        mode: "http".into(),
        algorithm: "roundrobin".into(),
        status: ServerStatus::of(StatusWord::Up),
        gauges: Default::default(),
        active: 0,
        backup: 0,
        servers,
        row: 0,
    };
    let obs = NodeObs {
        node: name.into(),
        at: Timestamp::UNIX_EPOCH,
        seen: Instant::now(),
        took: Duration::ZERO,
        source: "made by hand".into(),
        engine: EngineInfo {
            kind: EngineKind::Haproxy,
            version: "2.6".into(),
            release: Some((2, 6)),
            level: SocketLevel::Admin,
            pid: None,
            uptime: None,
            info: Default::default(),
        },
        frontends: Vec::new(),
        pools: vec![pool],
        workers: None,
        certificates: None,
        events: Vec::new(),
        notes: Vec::new(),
        fields: None,
    };
    let meta = NodeMeta { name: name.into(), address: name.into(), zone: None, role: None, tags: Vec::new(), groups: Vec::new() };
    NodeView {
        meta: Arc::new(meta),
        health: Health::Fresh,
        last: Some(Arc::new(obs)),
        problem: None,
        failures: 0,
        next_try: None,
        vrrp: None,
    }
}

fn up(name: &str) -> ServerObs {
    server(name, StatusWord::Up, 0)
}

struct World {
    nodes: Vec<NodeView>,
    minimum: Option<MinHealthy>,
    leases: Vec<Lease>,
    unfinished: Vec<Unfinished>,
}

impl World {
    fn of(nodes: Vec<NodeView>) -> Self {
        World { nodes, minimum: None, leases: Vec::new(), unfinished: Vec::new() }
    }
    fn find(self) -> Vec<Finding> {
        let fleet = Fleet {
            path: "lbdeck.yaml".into(),
            nodes: Vec::new(),
            groups: Vec::new(),
            policies: vec![PoolPolicy {
                pool: "*".into(),
                min_healthy: self.minimum,
                read_only: false,
                confirm: Some(ConfirmLevel::None),
            }],
            settings: Settings::default(),
        };
        let view =
            FleetView { at: Timestamp::UNIX_EPOCH, now: Instant::now(), nodes: self.nodes.into_iter().map(Arc::new).collect() };
        let now = Timestamp::UNIX_EPOCH;
        find(&Facts { view: &view, fleet: &fleet, leases: &self.leases, unfinished: &self.unfinished, now })
    }
    fn kinds(self) -> Vec<ProblemKind> {
        self.find().into_iter().map(|f| f.kind).collect()
    }
}

fn who() -> Who {
    Who { user: "ann".into(), host: "desk".into(), from: "tty".into() }
}

fn lease(ends_in: Option<i64>, state: LeaseState) -> Lease {
    Lease {
        id: "0000abcd".into(),
        operation: Some(7),
        target: Target::Server(ServerRef::new("web", "web1")),
        change: Change::Drain,
        who: who(),
        reason: None,
        made: Timestamp::UNIX_EPOCH,
        ends: ends_in.map(|s| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(s)),
        holds: vec![LeaseHold {
            node: "lb1".into(),
            change: Change::Drain,
            inverse: vec![Change::Ready],
            state,
            returned_at: None,
        }],
    }
}

#[test]
fn a_healthy_fleet_has_none() {
    assert_eq!(World::of(vec![node("lb1", vec![up("web1")]), node("lb2", vec![up("web1")])]).find(), vec![]);
}

#[test]
fn a_dead_node_says_why_and_its_old_data_is_not_believed() {
    let mut dead = node("lb1", vec![server("web1", StatusWord::Down, 0)]);
    dead.health = Health::Dead;
    dead.problem = Some(Problem { what: "connection refused".into(), hint: Some("start sshd".into()), retry: true });
    let found = World::of(vec![dead]).find();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].severity, found[0].kind), (Severity::Critical, ProblemKind::NodeDead));
    assert!(found[0].text.contains("connection refused"));
    assert_eq!(found[0].hint.as_deref(), Some("start sshd"));
}

#[test]
fn a_pool_without_servers_that_serve_comes_before_its_servers() {
    let mut down = server("web1", StatusWord::Down, 0);
    down.check = Some(Box::new(Check { status: "L4CON".into(), text: "refused".into(), ..Check::default() }));
    let found = World::of(vec![node("lb1", vec![down])]).find();
    assert_eq!(found.iter().map(|f| f.kind).collect::<Vec<_>>(), [ProblemKind::PoolDown, ProblemKind::ServerDown]);
    assert_eq!(found[1].text, "DOWN on lb1: L4CON refused, for 1m30s");
}

#[test]
fn min_healthy_is_counted_on_each_node() {
    let below = node("lb1", vec![up("web1"), server("web2", StatusWord::Down, 0)]);
    let mut world = World::of(vec![below, node("lb2", vec![up("web1"), up("web2")])]);
    world.minimum = Some(MinHealthy::Count(2));
    let found = world.find();
    assert_eq!(found[0].kind, ProblemKind::PoolBelowMinimum);
    assert_eq!(found[0].text, "1 serve where min_healthy asks for 2, on lb1");
}

#[test]
fn nodes_that_differ_and_nodes_that_miss_a_server() {
    let mut light = up("web1");
    light.user_weight = Some(10);
    let found = World::of(vec![
        node("lb1", vec![up("web1"), up("web2")]),
        node("lb2", vec![light, up("web2")]),
        node("lb3", vec![up("web2")]),
    ])
    .find();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].text, "UP weight 100 on lb1; UP weight 10 on lb2; missing on lb3");
}

#[test]
fn a_drain_that_no_lease_remembers_is_forgotten() {
    let mut drained = server("web1", StatusWord::Drain, AdminState::FDRAIN);
    drained.drift = Some(Arc::from([Drift { what: "admin".into(), runtime: "drain".into(), file: "ready".into() }]));
    let fleet = || vec![node("lb1", vec![drained.clone(), up("web2")])];
    let found = World::of(fleet()).find();
    assert_eq!(found.iter().map(|f| f.kind).collect::<Vec<_>>(), [ProblemKind::Forgotten]);
    assert!(found[0].text.contains("lost on next reload"), "{}", found[0].text);

    let mut leased = World::of(fleet());
    leased.leases = vec![lease(Some(7200), LeaseState::Open)];
    let found = leased.find();
    assert_eq!(found.iter().map(|f| (f.severity, f.kind)).collect::<Vec<_>>(), [(Severity::Notice, ProblemKind::LostOnReload)]);

    let mut returned = World::of(fleet());
    returned.leases = vec![lease(Some(7200), LeaseState::Returned)];
    assert_eq!(returned.kinds(), [ProblemKind::Forgotten]);
}

#[test]
fn maintenance_that_the_file_asks_for_is_not_forgotten() {
    assert_eq!(
        World::of(vec![node(
            "lb1",
            vec![up("web1"), server("web2", StatusWord::Maint, AdminState::FMAINT | AdminState::CMAINT)]
        )])
        .kinds(),
        []
    );
}

#[test]
fn leases_that_end_and_have_ended() {
    for (ends, kinds) in [
        (Some(0), vec![ProblemKind::LeaseEnded]),
        (Some(300), vec![ProblemKind::LeaseEnding]),
        (Some(7200), vec![]),
        (None, vec![]),
    ] {
        let mut world = World::of(vec![node("lb1", vec![up("web1")])]);
        world.leases = vec![lease(ends, LeaseState::Open)];
        assert_eq!(world.kinds(), kinds, "ends in {ends:?}");
    }
}

#[test]
fn what_a_killed_run_left() {
    let mut world = World::of(vec![node("lb1", vec![up("web1")])]);
    let target = Target::Server(ServerRef::new("web", "web1"));
    let entry = JournalEntry {
        seq: 0,
        node: "lb1".into(),
        target,
        change: Change::Drain,
        inverse: vec![Change::Ready],
        state: JournalState::Done,
        text: None,
    };
    world.unfinished = vec![Unfinished {
        operation: 7,
        summary: "drain web/web1".into(),
        who: who(),
        began: Timestamp::UNIX_EPOCH,
        reason: None,
        left: vec![entry],
    }];
    let found = world.find();
    assert_eq!((found[0].severity, found[0].kind), (Severity::Critical, ProblemKind::Unfinished));
    assert!(found[0].text.contains("may hold on lb1"));
    assert_eq!(found[0].hint.as_deref(), Some("`lbdeck undo 7` gives back what it changed"));
}

#[test]
fn certificates_by_the_time_left() {
    let certificate = |days: i64| Certificate {
        file: "/etc/a.pem".into(),
        subject: "a.example".into(),
        not_after: Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days)),
        names: Vec::new(),
    };
    for (days, severity) in [(-1, Some(Severity::Critical)), (5, Some(Severity::Warning)), (60, None)] {
        let mut view = node("lb1", vec![up("web1")]);
        Arc::get_mut(view.last.as_mut().unwrap()).unwrap().certificates = Some(vec![certificate(days)]);
        assert_eq!(World::of(vec![view]).find().first().map(|f| f.severity), severity, "{days} days");
    }
}
