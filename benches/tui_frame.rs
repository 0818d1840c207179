//! What the console costs with 1,000 nodes x 100 servers on 200x60: taking in a new picture, and a frame, view by view.
//!
//! The bars: a frame in at most 8 ms; at one picture a second at most 10 % of a core, which is 100 ms for picture and frames.

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use crossterm::event::{Event as TermEvent, KeyCode, KeyEvent};
use jiff::Timestamp;
use lbdeck::model::{
    AdminState, EngineInfo, EngineKind, FleetView, Gauges, Health, NodeMeta, NodeObs, NodeView, PoolObs, ServerObs, ServerStatus,
    SocketLevel, StatusWord,
};
use lbdeck::tui::event::{Clock, Event};
use lbdeck::tui::state::State;
use lbdeck::tui::theme::ThemeName;
use lbdeck::tui::update::update;
use lbdeck::tui::view;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const NODES: usize = 1_000;
const POOLS: usize = 10;
const SERVERS_IN_POOL: usize = 10;

fn server(node: usize, n: usize, turn: u32) -> ServerObs {
    // Some nodes disagree, as in life.
    let down = (node * 31 + n * 17).is_multiple_of(997);
    ServerObs {
        name: format!("server{n}").into(),
        status: ServerStatus::of(if down { StatusWord::Down } else { StatusWord::Up }),
        admin: AdminState::READY,
        admin_exact: true,
        weight: 100,
        user_weight: Some(100),
        initial_weight: Some(100),
        address: Some(format!("10.0.{n}.1").into()),
        port: Some(80),
        backup: false,
        gauges: Gauges { sessions: turn % 90 + n as u32, rate: turn % 50, total_ms: Some(12), ..Gauges::default() },
        used_conns: Some(3),
        idle_conns: Some(1),
        maxconn: None,
        last_change_s: Some(99),
        downtime_s: Some(0),
        check: None,
        health_checks: Some(true),
        agent_checks: None,
        cookie: None,
        drift: None,
        row: n as u32,
    }
}

/// A picture in which every node has a new reading.
fn picture(turn: u32, now: Instant) -> Arc<FleetView> {
    let nodes = (0..NODES).map(|node| {
        let pools = (0..POOLS).map(|pool| PoolObs {
            name: format!("pool{pool}").into(),
            mode: "http".into(),
            algorithm: "roundrobin".into(),
            status: ServerStatus::of(StatusWord::Up),
            gauges: Gauges { sessions: turn, rate: turn, ..Gauges::default() },
            active: SERVERS_IN_POOL as u32,
            backup: 0,
            servers: (0..SERVERS_IN_POOL).map(|n| server(node, pool * SERVERS_IN_POOL + n, turn)).collect(),
            row: 0,
        });
        let name = format!("lb{node}");
        let obs = NodeObs {
            node: name.as_str().into(),
            at: Timestamp::UNIX_EPOCH,
            seen: now,
            took: Duration::from_millis(3),
            source: "fake".into(),
            engine: EngineInfo {
                kind: EngineKind::Haproxy,
                version: "2.6.12".into(),
                release: Some((2, 6)),
                level: SocketLevel::Admin,
                pid: Some(1),
                uptime: Some(Duration::from_secs(99)),
                info: Default::default(),
            },
            frontends: vec![],
            pools: pools.collect(),
            workers: None,
            certificates: None,
            events: Vec::new(),
            notes: vec![],
            fields: None,
        };
        let zone = Some(format!("zone{}", node % 5));
        let meta = NodeMeta { name: name.into(), address: String::new(), zone, role: None, tags: vec![], groups: vec![] };
        let last = Some(Arc::new(obs));
        Arc::new(NodeView {
            meta: Arc::new(meta),
            health: Health::Fresh,
            last,
            problem: None,
            failures: 0,
            next_try: None,
            vrrp: None,
        })
    });
    Arc::new(FleetView { at: Timestamp::UNIX_EPOCH, now, nodes: nodes.collect() })
}

fn clock() -> Clock {
    Clock { now: Instant::now(), wall: Timestamp::UNIX_EPOCH }
}

fn press(state: &mut State, key: char) {
    update(state, clock(), Event::Terminal(TermEvent::Key(KeyEvent::from(KeyCode::Char(key)))));
    let _ = state.take_effects();
}

#[expect(clippy::expect_used, reason = "a bench that cannot start should stop")]
fn benches(criterion: &mut Criterion) {
    let fleet = lbdeck::config::parse("nodes: [{name: lb0, local: true, engines: {haproxy: {socket: /x}}}]", Path::new("x.yaml"));
    let fleet = Arc::new(fleet.expect("a fleet"));
    let now = Instant::now();
    let pictures = [picture(1, now), picture(2, now)];
    for (name, key) in [("overview", '1'), ("nodes", '2'), ("pools", '3'), ("servers", '4')] {
        let mut state = State::new(fleet.clone(), pictures[0].clone(), ThemeName::Dark, clock());
        press(&mut state, key);
        let mut terminal = Terminal::new(TestBackend::new(200, 60)).expect("a terminal in memory");
        let mut turn = 0;
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
        group.bench_function("picture", |b| {
            b.iter_batched(
                || {
                    turn += 1;
                    pictures[turn % 2].clone()
                },
                |picture| {
                    update(&mut state, clock(), Event::View(picture));
                    let _ = state.take_effects();
                    view::prepare(&mut state);
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function("frame", |b| {
            b.iter(|| {
                // The cursor moves, so that something changes.
                press(&mut state, 'j');
                let mut shown = None;
                terminal.draw(|canvas| shown = Some(view::draw(&state, canvas))).expect("memory takes all");
                state.frame = shown.unwrap_or_default();
            });
        });
        group.finish();
    }
}

criterion_group!(frame, benches);
criterion_main!(frame);
