//! The collector against engines that answer, fail and hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::Settings;
use crate::engine::{Engine, EngineError, Follow, NodeHandle, Streams, Want};
use crate::model::{EngineInfo, EngineKind, FleetView, Health, NodeMeta, NodeName, NodeObs, SocketLevel};
use crate::transport::TransportError;

use super::Collector;

const ANSWER: u8 = 0;
const FAIL: u8 = 1;
const HANG: u8 = 2;

#[derive(Debug)]
struct Double {
    node: NodeName,
    mood: Arc<AtomicU8>,
}

#[async_trait]
impl Engine for Double {
    fn kind(&self) -> EngineKind {
        EngineKind::Haproxy
    }
    fn node(&self) -> &NodeName {
        &self.node
    }
    fn identity(&self) -> String {
        format!("double:{}", self.node)
    }
    fn source(&self) -> String {
        "double".into()
    }
    async fn observe(&self, _: Want<'_>, _: Duration) -> Result<NodeObs, EngineError> {
        match self.mood.load(Ordering::SeqCst) {
            HANG => std::future::pending().await,
            FAIL => Err(TransportError::Unreachable { at: "double".into(), what: "refused \x1b[2J".into() }.into()),
            _ => Ok(NodeObs {
                node: self.node.clone(),
                at: Timestamp::now(),
                seen: Instant::now(),
                took: Duration::ZERO,
                source: "double".into(),
                engine: EngineInfo {
                    kind: EngineKind::Haproxy,
                    version: "2.6".into(),
                    release: Some((2, 6)),
                    level: SocketLevel::Admin,
                    pid: None,
                    uptime: None,
                    info: Default::default(),
                },
                frontends: vec![],
                pools: vec![],
                workers: None,
                certificates: None,
                events: Vec::new(),
                notes: vec![],
                fields: None,
            }),
        }
    }
}

fn fleet(moods: &[u8]) -> (Arc<Collector>, Vec<Arc<AtomicU8>>) {
    let moods: Vec<_> = moods.iter().map(|m| Arc::new(AtomicU8::new(*m))).collect();
    let nodes = moods
        .iter()
        .enumerate()
        .map(|(i, mood)| {
            let name = NodeName::from(format!("lb{i}"));
            NodeHandle {
                meta: Arc::new(NodeMeta {
                    name: name.clone(),
                    address: "192.0.2.1".into(),
                    zone: None,
                    role: None,
                    tags: vec![],
                    groups: vec![],
                }),
                transport: None,
                engine: Some(Arc::new(Double { node: name, mood: mood.clone() })),
                vrrp: None,
                lock_dir: "/run/lock/lbdeck".into(),
            }
        })
        .collect();
    let settings = Settings {
        refresh: Duration::from_millis(20),
        timeout: Duration::from_millis(50),
        dead_after: Duration::from_millis(300),
        ..Settings::default()
    };
    (Collector::new(nodes, &settings), moods)
}

async fn until(collector: &Collector, what: &str, holds: impl Fn(&FleetView) -> bool) {
    let mut watch = collector.watch();
    let waited = tokio::time::timeout(Duration::from_secs(10), watch.wait_for(|view| holds(view))).await;
    assert!(matches!(waited, Ok(Ok(_))), "never seen: {what}");
}

fn health(view: &FleetView, node: usize) -> Health {
    view.nodes[node].health
}

#[tokio::test]
async fn one_look_waits_for_no_longer_than_the_timeout() {
    let (collector, _) = fleet(&[ANSWER, HANG, FAIL]);
    let began = Instant::now();
    let view = collector.observe_once().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!([0, 1, 2].map(|n| health(&view, n)), [Health::Fresh, Health::Dead, Health::Dead]);
    let problem = view.nodes[2].problem.as_ref().unwrap();
    assert!(problem.retry);
    assert_eq!(problem.what, "double: refused \\x1b[2J", "text from a node is sanitised");
}

#[tokio::test]
async fn a_node_goes_stale_then_dead_then_comes_back_while_the_others_stay_fresh() {
    let (collector, moods) = fleet(&[ANSWER, ANSWER]);
    let _polling = collector.start();
    until(&collector, "both fresh", |v| health(v, 0) == Health::Fresh && health(v, 1) == Health::Fresh).await;
    moods[1].store(HANG, Ordering::SeqCst);
    until(&collector, "lb1 stale", |v| health(v, 0) == Health::Fresh && health(v, 1) == Health::Stale).await;
    until(&collector, "lb1 dead", |v| health(v, 0) == Health::Fresh && health(v, 1) == Health::Dead).await;
    assert!(collector.view().nodes[1].last.is_some(), "what was seen last stays visible, with its age");
    moods[1].store(ANSWER, Ordering::SeqCst);
    collector.poke(&NodeName::from("lb1"));
    until(&collector, "lb1 fresh again", |v| health(v, 1) == Health::Fresh).await;
    assert_eq!(collector.view().nodes[1].problem, None);
}

#[tokio::test]
async fn polling_ends_with_its_guard() {
    let (collector, _) = fleet(&[ANSWER]);
    let polling = collector.start();
    until(&collector, "fresh", |v| health(v, 0) == Health::Fresh).await;
    drop(polling);
    let before = Arc::strong_count(&collector);
    tokio::task::yield_now().await;
    assert!(Arc::strong_count(&collector) <= before);
    tokio::time::timeout(Duration::from_secs(5), async {
        while Arc::strong_count(&collector) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the tasks let go of the collector");
}

/// Tells so many readings by itself, then does what its mood is.
#[derive(Debug)]
struct Telling {
    inner: Double,
    polled: Arc<AtomicU8>,
    followed: AtomicU8,
}

struct Told<'a>(&'a Telling, u8);

#[async_trait]
impl Engine for Telling {
    fn kind(&self) -> EngineKind {
        EngineKind::Relay
    }
    fn node(&self) -> &NodeName {
        self.inner.node()
    }
    fn identity(&self) -> String {
        self.inner.identity()
    }
    fn source(&self) -> String {
        self.inner.source()
    }
    async fn observe(&self, want: Want<'_>, deadline: Duration) -> Result<NodeObs, EngineError> {
        self.polled.fetch_add(1, Ordering::SeqCst);
        self.inner.observe(want, deadline).await
    }
    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }
}

#[async_trait]
impl Streams for Telling {
    async fn follow(&self, every: Duration, _: Duration) -> Result<Box<dyn Follow + '_>, EngineError> {
        assert_eq!(every, Duration::from_millis(20), "the rate that the console wants");
        match self.followed.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(Box::new(Told(self, 0))),
            _ => Err(TransportError::Unreachable { at: "double".into(), what: "not twice".into() }.into()),
        }
    }
}

#[async_trait]
impl Follow for Told<'_> {
    async fn next(&mut self) -> Result<Option<NodeObs>, EngineError> {
        self.1 += 1;
        if self.1 > 3 {
            return match self.0.inner.mood.load(Ordering::SeqCst) {
                HANG => std::future::pending().await,
                FAIL => Err(TransportError::Unreachable { at: "double".into(), what: "gone".into() }.into()),
                _ => Ok(None),
            };
        }
        let mut seen =
            Double { node: self.0.inner.node.clone(), mood: Arc::default() }.observe(Want::All, Duration::ZERO).await?;
        seen.notes = vec![format!("told {}", self.1)];
        Ok(Some(seen))
    }
}

#[tokio::test]
async fn engines_that_tell_are_not_polled() {
    for mood in [ANSWER, FAIL, HANG] {
        let (_, moods) = fleet(&[mood]);
        let polled = Arc::<AtomicU8>::default();
        let inner = Double { node: "lb0".into(), mood: moods[0].clone() };
        let engine = Telling { inner, polled: polled.clone(), followed: AtomicU8::new(0) };
        let (made, _) = fleet(&[ANSWER]);
        let mut handle = made.nodes[0].handle.clone();
        handle.engine = Some(Arc::new(engine));
        let settings = Settings { refresh: Duration::from_millis(20), timeout: Duration::from_millis(50), ..Settings::default() };
        let collector = Collector::new(vec![handle], &settings);
        let mut views = collector.watch();
        let _polling = collector.start();
        views.wait_for(|view| view.nodes[0].last.as_ref().is_some_and(|o| o.notes == ["told 3"])).await.unwrap();
        // However it ended, it is listened to again and not polled.
        let again = |view: &Arc<FleetView>| view.nodes[0].problem.as_ref().is_some_and(|p| p.what.contains("not twice"));
        views.wait_for(again).await.unwrap();
        assert_eq!(polled.load(Ordering::SeqCst), 0);
    }
}
