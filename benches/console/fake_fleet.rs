//! Nodes made of memory: each answers with a real haproxy's replies, its counters changed from reading to reading, or hangs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use lbdeck::app::App;
use lbdeck::collect::Collector;
use lbdeck::config::{self, Fleet, NodeSpec};
use lbdeck::engine::NodeHandle;
use lbdeck::engine::haproxy::Haproxy;
use lbdeck::ops::Ops;
use lbdeck::store::{Store, Who};
use lbdeck::transport::Transport;
use lbdeck::transport::fake::{FakeTransport, Reply};

/// Readings differ from one to the next, as those of a busy haproxy do.
const VARIANTS: usize = 8;
/// Columns of `show stat` that change all the time: sessions and their rate.
const CHANGING: [usize; 2] = [4, 33];

/// What every node answers, command by command; each answer in several variants.
type Replies = BTreeMap<String, Vec<Arc<str>>>;

/// Runs the console on the fleet in this process's terminal. `recorded` is a JSON file, command to
/// reply; the store goes into the same folder.
pub fn console(recorded: &Path, nodes: usize, hanging: usize) -> Result<()> {
    let state = recorded.parent().context("the replies are in no folder")?.to_owned();
    let recorded: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(recorded)?)?;
    let replies: Arc<Replies> = Arc::new(
        recorded.into_iter().map(|(command, text)| (command, (0..VARIANTS).map(|i| variant(&text, i)).collect())).collect(),
    );
    let fleet = Arc::new(config::parse(&fleet_file(nodes), Path::new("/lbdeck-bench.yaml"))?);
    lbdeck::tui::runtime()?.block_on(async {
        let handles = fleet.nodes.iter().enumerate();
        let handles = handles.map(|(i, spec)| handle(spec, &fleet, replies.clone(), i >= nodes - hanging));
        let handles: Vec<NodeHandle> = handles.collect::<Result<_>>()?;
        let store = Store::at(Store::file_in(&state));
        let app = App {
            collector: Collector::new(handles.clone(), &fleet.settings),
            ops: Ops::new(handles, fleet.clone(), store.clone(), Who::here()),
            store,
            fleet,
        };
        lbdeck::tui::run(app, lbdeck::tui::Options::default()).await.map(drop)
    })
}

fn handle(spec: &NodeSpec, fleet: &Fleet, replies: Arc<Replies>, hangs: bool) -> Result<NodeHandle> {
    let asked = AtomicUsize::new(0);
    let transport: Arc<dyn Transport> = Arc::new(FakeTransport::new(spec.meta.name.as_str(), move |command| {
        if hangs {
            return Reply::Hang;
        }
        let turn = asked.fetch_add(1, Ordering::Relaxed);
        match replies.get(command).and_then(|variants| variants.get(turn % variants.len())) {
            Some(text) => Reply::Text(text.clone()),
            None => Reply::from("Unknown command.\n"),
        }
    }));
    let haproxy = spec.haproxy.as_ref().context("a node without haproxy")?;
    let engine = Haproxy::new(spec.meta.name.clone(), haproxy, Some(transport.clone()), &fleet.settings)?;
    Ok(NodeHandle {
        meta: Arc::new(spec.meta.clone()),
        transport: Some(transport),
        engine: Some(Arc::new(engine)),
        vrrp: None,
        lock_dir: spec.lock_dir.clone(),
    })
}

/// The reply with other session and rate figures in every server's line.
fn variant(reply: &str, seed: usize) -> Arc<str> {
    let mut text = String::with_capacity(reply.len());
    for (number, line) in reply.lines().enumerate() {
        let figure = ((number * 7 + seed * 13) % 90).to_string();
        let mut fields: Vec<&str> = line.split(',').collect();
        if fields.len() > 50 && !line.starts_with('#') {
            for column in CHANGING {
                if let Some(field) = fields.get_mut(column) {
                    *field = &figure;
                }
            }
        }
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text.into()
}

fn fleet_file(nodes: usize) -> String {
    let mut text = "version: 1\nnodes:\n".to_owned();
    for i in 1..=nodes {
        let zone = i % 4;
        text.push_str(&format!(
            "  - {{ name: node{i:04}, address: 127.0.0.1, zone: z{zone}, local: true, engines: {{ haproxy: {{ socket: /s/{i} }} }} }}\n"
        ));
    }
    text
}
