//! `lbdeck node show`: one node in full.

use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use serde_json::{Map, Value};

use super::list::{NodeItem, level};
use crate::cli::context::{Context, Look, age_cell, looked, told};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Output, Tone};
use crate::cli::printer::Block;
use crate::cli::select::NodeSelect;
use crate::collect::describe;
use crate::config::duration::show_duration;
use crate::model::{Certificate, Exit, FrontendObs, Health, NodeReading, NodeView, PoolObs, Worker};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck node show lb1
  lbdeck node show --zone eu-1 -o json | jq '.items[].info.MaxConn'
  lbdeck node show lb1 -o wide                     with every line of the engine's own info")]
pub struct ShowArgs {
    /// Nodes (names, globs or groups; default: all that are selected)
    #[arg(value_name = "NODE")]
    names: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
struct FullNode<'a> {
    #[serde(flatten)]
    node: NodeItem<'a>,
    info: Map<String, Value>,
    frontends: Vec<Proxy<'a>>,
    backends: Vec<Proxy<'a>>,
    /// Null where the node has no master socket or it could not be read.
    workers: Option<Vec<Worker>>,
    /// Null where the node does not tell.
    certificates: Option<Vec<Certificate>>,
    /// The machine itself; null where no agent of lbdeck runs on it.
    reading: Option<NodeReading>,
}

/// A frontend or backend in short.
#[derive(Serialize)]
struct Proxy<'a> {
    name: &'a str,
    mode: &'a str,
    status: String,
    sessions: u32,
    rate: u32,
    errors: u64,
    serving: Option<usize>,
    servers: Option<usize>,
}

impl ShowArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let mut nodes = self.nodes.clone();
        nodes.node.extend(self.names.iter().cloned());
        let look = context.look(&nodes).await?;
        let items = join_all(look.view.nodes.iter().map(|node| full(&look, node))).await;
        let all = context.printer.output != Output::Table;
        let blocks: Vec<Block> = items.iter().flat_map(|item| blocks(item, all)).collect();
        let unread = look.unread();
        context.printer.show("node_details", &items, &blocks, told(&context.printer, &unread))?;
        Ok(looked(&unread))
    }
}

async fn full<'a>(look: &'a Look, node: &'a NodeView) -> FullNode<'a> {
    let obs = node.last.as_deref();
    let (workers, certificates, reading) = if node.health == Health::Fresh {
        let name = &node.meta.name;
        // What a node cannot tell (no master socket, socket level) is absent, not an error of the node.
        tokio::join!(
            async { look.app.collector.workers(name).await.ok() },
            async { look.app.collector.certificates(name).await.ok() },
            async { look.app.collector.node_reading(name).await.ok() }
        )
    } else {
        (None, None, None)
    };
    let info = obs.map(|o| o.engine.info.iter()).into_iter().flatten();
    FullNode {
        node: NodeItem::new(node),
        info: info.map(|(name, value)| (name.to_owned(), Value::from(value))).collect(),
        frontends: obs.map(|o| o.frontends.iter().map(frontend).collect()).unwrap_or_default(),
        backends: obs.map(|o| o.pools.iter().map(backend).collect()).unwrap_or_default(),
        workers,
        certificates,
        reading,
    }
}

fn frontend(f: &FrontendObs) -> Proxy<'_> {
    Proxy {
        name: &f.name,
        mode: &f.mode,
        status: f.status.to_string(),
        sessions: f.gauges.sessions,
        rate: f.gauges.rate,
        errors: f.gauges.errors,
        serving: None,
        servers: None,
    }
}

fn backend(p: &PoolObs) -> Proxy<'_> {
    Proxy {
        name: p.name.as_str(),
        mode: &p.mode,
        status: p.status.to_string(),
        sessions: p.gauges.sessions,
        rate: p.gauges.rate,
        errors: p.gauges.errors,
        serving: Some(p.serving()),
        servers: Some(p.servers.len()),
    }
}

fn blocks(item: &FullNode<'_>, all: bool) -> Vec<Block> {
    let n = &item.node;
    let mut pairs: Vec<(String, Cell)> = Vec::new();
    let mut add = |name: &str, cell: Cell| pairs.push((name.to_owned(), cell));
    add("health", n.health_cell());
    if let Some(problem) = n.problem {
        add("problem", Cell::new(problem, Tone::Bad));
        add("hint", Cell::opt(n.hint));
    }
    add("address", Cell::plain(&n.meta.address));
    add("zone", Cell::opt(n.meta.zone.as_deref()));
    add("role", Cell::opt(n.meta.role.as_deref()));
    add("tags", Cell::opt(Some(n.meta.tags.join(" ")).filter(|t| !t.is_empty())));
    add("groups", Cell::opt(Some(n.meta.groups.join(" ")).filter(|t| !t.is_empty())));
    add("engine", Cell::opt(n.engine_text()));
    add("socket level", Cell::opt(n.level.map(level)));
    add("pid", Cell::opt(n.pid));
    add("uptime", Cell::opt(n.uptime_s.map(|s| show_duration(std::time::Duration::from_secs(s)))));
    add("age", n.age_ms.map_or_else(|| Cell::new("never read", Tone::Warn), |age| age_cell(age, n.health)));
    add("reading took", Cell::opt(n.took_ms.map(|ms| format!("{ms}ms"))));
    add("source", Cell::opt(n.source));
    for note in n.notes {
        add("note", Cell::new(note, Tone::Warn));
    }
    if all {
        for (name, value) in &item.info {
            add(name, Cell::plain(value.as_str().unwrap_or_default()));
        }
    }
    let name = &n.meta.name;
    let mut blocks = vec![Block::Pairs { title: format!("node {name}"), pairs }];
    if let Some(reading) = &item.reading {
        let pairs = describe::node_reading(reading).into_iter().map(|(label, text)| (label.to_owned(), Cell::plain(text)));
        blocks.push(Block::Pairs { title: format!("machine {name}"), pairs: pairs.collect() });
    }
    blocks.extend(proxies(format!("frontends of {name}"), &item.frontends));
    blocks.extend(proxies(format!("backends of {name}"), &item.backends));
    if let Some(workers) = item.workers.as_ref().filter(|w| !w.is_empty()) {
        let row = |w: &Worker| {
            let old = if w.old { Cell::new("old", Tone::Warn) } else { Cell::plain("current") };
            vec![Cell::plain(w.pid), Cell::plain(&w.kind), Cell::plain(w.reloads), Cell::plain(&w.uptime), old]
        };
        blocks.push(Block::Table {
            title: format!("processes of {name}"),
            header: ["PID", "TYPE", "RELOADS", "UPTIME", ""].map(String::from).to_vec(),
            rows: workers.iter().map(row).collect(),
        });
    }
    if let Some(certificates) = item.certificates.as_ref().filter(|c| !c.is_empty()) {
        let row = |c: &Certificate| vec![Cell::plain(&c.file), Cell::plain(&c.subject), Cell::opt(c.not_after)];
        blocks.push(Block::Table {
            title: format!("certificates of {name}"),
            header: ["FILE", "SUBJECT", "ENDS"].map(String::from).to_vec(),
            rows: certificates.iter().map(row).collect(),
        });
    }
    blocks
}

fn proxies(title: String, proxies: &[Proxy<'_>]) -> Option<Block> {
    let row = |p: &Proxy<'_>| {
        vec![
            Cell::plain(p.name),
            Cell::plain(&p.status),
            Cell::plain(p.mode),
            match (p.serving, p.servers) {
                (Some(serving), Some(servers)) => Cell::plain(format!("{serving}/{servers}")),
                _ => Cell::opt(None::<u8>),
            },
            Cell::plain(p.sessions),
            Cell::plain(p.rate),
            Cell::plain(p.errors),
        ]
    };
    (!proxies.is_empty()).then(|| Block::Table {
        title,
        header: ["NAME", "STATUS", "MODE", "SERVING", "SESS", "RATE", "ERRORS"].map(String::from).to_vec(),
        rows: proxies.iter().map(row).collect(),
    })
}
