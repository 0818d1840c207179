//! The collector against engines that answer, fail and hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::Settings;
use crate::engine::{Engine, EngineError, NodeHandle, Want};
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
