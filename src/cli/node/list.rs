//! `lbdeck node list`.

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Origin, age_cell, looked, told};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::NodeSelect;
use crate::config::duration::show_duration;
use crate::model::{EngineKind, Exit, Health, NodeMeta, NodeView, SocketLevel};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck node list
  lbdeck node list --zone eu-1 -o wide
  lbdeck node list -o json | jq -r '.items[] | select(.health != \"fresh\") | .name'")]
pub struct ListArgs {
    #[command(flatten)]
    nodes: NodeSelect,
}

/// One node, flat.
#[derive(Serialize)]
pub struct NodeItem<'a> {
    #[serde(flatten)]
    pub meta: &'a NodeMeta,
    pub health: Health,
    pub engine: Option<EngineKind>,
    pub version: Option<&'a str>,
    pub level: Option<SocketLevel>,
    pub pid: Option<u32>,
    pub uptime_s: Option<u64>,
    pub pools: Option<usize>,
    pub servers: Option<usize>,
    pub servers_serving: Option<usize>,
    /// Sessions of all frontends now.
    pub sessions: Option<u64>,
    /// New sessions a second over all frontends.
    pub rate: Option<u64>,
    pub drifted_servers: Option<usize>,
    pub age_ms: Option<u64>,
    pub took_ms: Option<u64>,
    pub source: Option<&'a str>,
    pub problem: Option<&'a str>,
    pub hint: Option<&'a str>,
    pub notes: &'a [String],
}

impl<'a> NodeItem<'a> {
    pub fn new(node: &'a NodeView) -> Self {
        let obs = node.last.as_deref();
        let servers = || obs.map(|o| o.pools.iter().flat_map(|p| &p.servers));
        let frontends = |of: fn(&crate::model::Gauges) -> u64| obs.map(|o| o.frontends.iter().map(|f| of(&f.gauges)).sum());
        Self {
            meta: &node.meta,
            health: node.health,
            engine: obs.map(|o| o.engine.kind),
            version: obs.map(|o| o.engine.version.as_str()),
            level: obs.map(|o| o.engine.level),
            pid: obs.and_then(|o| o.engine.pid),
            uptime_s: obs.and_then(|o| o.engine.uptime).map(|u| u.as_secs()),
            pools: obs.map(|o| o.pools.len()),
            servers: servers().map(Iterator::count),
            servers_serving: servers().map(|s| s.filter(|s| s.is_serving()).count()),
            sessions: frontends(|g| g.sessions.into()),
            rate: frontends(|g| g.rate.into()),
            drifted_servers: servers().map(|s| s.filter(|s| s.drift.as_ref().is_some_and(|d| !d.is_empty())).count()),
            age_ms: obs.map(|o| Origin::new(node, o).age_ms),
            took_ms: obs.map(|o| u64::try_from(o.took.as_millis()).unwrap_or(u64::MAX)),
            source: obs.map(|o| &*o.source),
            problem: node.problem.as_ref().map(|p| p.what.as_str()),
            hint: node.problem.as_ref().and_then(|p| p.hint.as_deref()),
            notes: obs.map(|o| o.notes.as_slice()).unwrap_or_default(),
        }
    }

    pub fn health_cell(&self) -> Cell {
        match self.health {
            Health::Fresh => Cell::new("fresh", Tone::Good),
            Health::Connecting => Cell::new("connecting", Tone::Warn),
            Health::Stale => Cell::new("STALE", Tone::Warn),
            Health::Dead => Cell::new("DEAD", Tone::Bad),
        }
    }

    pub fn engine_text(&self) -> Option<String> {
        Some(format!("{} {}", self.engine?.label(), self.version?))
    }
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let look = context.look(&self.nodes).await?;
        let items: Vec<NodeItem<'_>> = look.view.nodes.iter().map(|n| NodeItem::new(n)).collect();
        let unread = look.unread();
        context.printer.list("nodes", &items, &columns(), told(&context.printer, &unread))?;
        Ok(looked(&unread))
    }
}

type Col<'a> = Column<'a, NodeItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    let uptime = |s: u64| show_duration(std::time::Duration::from_secs(s));
    vec![
        Col::left("NODE", |n| Cell::plain(&n.meta.name)),
        Col::left("HEALTH", NodeItem::health_cell),
        Col::left("ZONE", |n| Cell::opt(n.meta.zone.as_deref())),
        Col::left("ENGINE", |n| Cell::opt(n.engine_text())),
        Col::right("UPTIME", move |n| Cell::opt(n.uptime_s.map(uptime))),
        Col::right("SERVING", |n| match (n.servers_serving, n.servers) {
            (Some(serving), Some(servers)) => Cell::plain(format!("{serving}/{servers}")),
            _ => Cell::opt(None::<u8>),
        }),
        Col::right("POOLS", |n| Cell::opt(n.pools)).wide(),
        Col::right("SESS", |n| Cell::opt(n.sessions)),
        Col::right("RATE", |n| Cell::opt(n.rate)),
        Col::left("ROLE", |n| Cell::opt(n.meta.role.as_deref())).wide(),
        Col::left("TAGS", |n| Cell::plain(n.meta.tags.join(","))).wide(),
        Col::left("ADDRESS", |n| Cell::plain(&n.meta.address)).wide(),
        Col::left("LEVEL", |n| Cell::opt(n.level.map(level))).wide(),
        Col::right("TOOK", |n| Cell::opt(n.took_ms.map(|ms| format!("{ms}ms")))).wide(),
        Col::right("AGE", |n| n.age_ms.map_or_else(|| Cell::new("never read", Tone::Warn), |age| age_cell(age, n.health))),
        Col::left("SOURCE", |n| Cell::opt(n.source.and_then(|s| s.split_whitespace().next()))).narrow(),
        Col::left("SOURCE", |n| Cell::opt(n.source)).wide(),
        Col::left("NOTE", |n| match (n.problem, n.drifted_servers) {
            (Some(problem), _) => Cell::new(problem, Tone::Bad),
            (None, Some(servers)) if servers > 0 => Cell::new(format!("{servers} lost on next reload"), Tone::Warn),
            _ => Cell::plain(n.notes.join("; ")),
        }),
    ]
}

/// The socket level in words.
pub fn level(level: SocketLevel) -> &'static str {
    match level {
        SocketLevel::Unknown => "unknown",
        SocketLevel::User => "user",
        SocketLevel::Operator => "operator",
        SocketLevel::Admin => "admin",
        SocketLevel::StatsReadOnly => "statistics page, read-only",
        SocketLevel::StatsAdmin => "statistics page, admin",
    }
}
