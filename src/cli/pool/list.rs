//! `lbdeck pool list`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Look, Origin, age_cell, looked};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::{NodeSelect, name_matcher};
use crate::model::{Exit, Health, NodeName, PoolName, PoolObs};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck pool list
  lbdeck pool list 'web*' --tag edge
  lbdeck pool list -o json | jq '.items[] | select(.serving_min < 2) | .pool'")]
pub struct ListArgs {
    /// Pools (names or globs; default: all)
    #[arg(value_name = "POOL")]
    pools: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,
}

/// One pool over the nodes that have it.
#[derive(Serialize)]
struct PoolItem<'a> {
    pool: &'a PoolName,
    mode: &'a str,
    algorithm: &'a str,
    nodes: Vec<&'a NodeName>,
    /// What the engines say, each answer once.
    status: Vec<String>,
    servers_min: usize,
    servers_max: usize,
    /// Servers that take new traffic, on the node with the fewest and with the most.
    serving_min: usize,
    serving_max: usize,
    /// The floor of the fleet file, for the node with the fewest servers.
    min_healthy: Option<usize>,
    /// Sums over the nodes.
    sessions: u64,
    queue: u64,
    rate: u64,
    errors: u64,
    http_5xx: u64,
    drifted_servers: usize,
    /// Of the oldest reading.
    age_ms: u64,
    sources: Vec<&'a str>,
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let wanted = name_matcher(&self.pools)?;
        let look = context.look(&self.nodes).await?;
        let items = items(&look, |pool| wanted(pool.as_str()));
        let unread = look.unread();
        context.printer.list("pools", &items, &columns(), &unread)?;
        Ok(looked(&unread))
    }
}

fn items(look: &Look, wanted: impl Fn(&PoolName) -> bool) -> Vec<PoolItem<'_>> {
    let mut pools: BTreeMap<&PoolName, Vec<(Origin<'_>, &PoolObs)>> = BTreeMap::new();
    for (node, obs) in look.fresh() {
        for pool in obs.pools.iter().filter(|p| wanted(&p.name)) {
            pools.entry(&pool.name).or_default().push((Origin::new(node, obs), pool));
        }
    }
    pools.into_iter().filter_map(|(name, cells)| item(look, name, &cells)).collect()
}

fn item<'a>(look: &Look, name: &'a PoolName, cells: &[(Origin<'a>, &'a PoolObs)]) -> Option<PoolItem<'a>> {
    let (_, first) = cells.first()?;
    let mut status: Vec<String> = cells.iter().map(|(_, p)| p.status.to_string()).collect();
    status.sort();
    status.dedup();
    let mut sources: Vec<&str> = cells.iter().map(|(origin, _)| origin.source).collect();
    sources.dedup();
    let servers = || cells.iter().map(|(_, p)| p.servers.len());
    let serving = || cells.iter().map(|(_, p)| p.serving());
    let sum = |of: fn(&PoolObs) -> u64| cells.iter().map(|(_, p)| of(p)).sum::<u64>();
    let servers_min = servers().min().unwrap_or(0);
    Some(PoolItem {
        pool: name,
        mode: &first.mode,
        algorithm: &first.algorithm,
        nodes: cells.iter().map(|(origin, _)| origin.node).collect(),
        status,
        servers_min,
        servers_max: servers().max().unwrap_or(0),
        serving_min: serving().min().unwrap_or(0),
        serving_max: serving().max().unwrap_or(0),
        min_healthy: look.app.fleet.policy(name).and_then(|p| p.min_healthy).map(|m| m.of(servers_min)),
        sessions: sum(|p| p.gauges.sessions.into()),
        queue: sum(|p| p.gauges.queue.into()),
        rate: sum(|p| p.gauges.rate.into()),
        errors: sum(|p| p.gauges.errors),
        http_5xx: sum(|p| p.gauges.http_5xx.unwrap_or(0)),
        drifted_servers: cells
            .iter()
            .flat_map(|(_, p)| &p.servers)
            .filter(|s| s.drift.as_ref().is_some_and(|d| !d.is_empty()))
            .count(),
        age_ms: cells.iter().map(|(origin, _)| origin.age_ms).max().unwrap_or(0),
        sources,
    })
}

impl PoolItem<'_> {
    /// No server serves somewhere, or fewer than the fleet file asks for.
    fn short(&self) -> bool {
        self.servers_max > 0 && self.serving_min < self.min_healthy.unwrap_or(0).max(1)
    }

    fn serving_cell(&self) -> Cell {
        let range = |min: usize, max: usize| if min == max { min.to_string() } else { format!("{min}-{max}") };
        let text = format!("{}/{}", range(self.serving_min, self.serving_max), range(self.servers_min, self.servers_max));
        Cell::new(text, if self.short() { Tone::Bad } else { Tone::Plain })
    }

    fn status_cell(&self) -> Cell {
        let tone = match self.status.as_slice() {
            [one] if one == "UP" => Tone::Good,
            [one] if one.starts_with("DOWN") => Tone::Bad,
            _ => Tone::Warn,
        };
        Cell::new(self.status.join("|"), tone)
    }
}

type Col<'a> = Column<'a, PoolItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("POOL", |p| Cell::plain(p.pool)),
        Col::left("STATUS", PoolItem::status_cell),
        Col::right("SERVING", PoolItem::serving_cell),
        Col::right("MIN", |p| Cell::opt(p.min_healthy)),
        Col::right("NODES", |p| Cell::plain(p.nodes.len())),
        Col::right("SESS", |p| Cell::plain(p.sessions)),
        Col::right("QUEUE", |p| Cell::new(p.queue, if p.queue > 0 { Tone::Warn } else { Tone::Plain })),
        Col::right("RATE", |p| Cell::plain(p.rate)),
        Col::right("ERRORS", |p| Cell::plain(p.errors)).wide(),
        Col::right("5XX", |p| Cell::plain(p.http_5xx)).wide(),
        Col::left("MODE", |p| Cell::plain(p.mode)).wide(),
        Col::left("BALANCE", |p| Cell::plain(p.algorithm)).wide(),
        Col::right("AGE", |p| age_cell(p.age_ms, Health::Fresh)),
        Col::left("SOURCE", |p| {
            let mut kinds: Vec<&str> = p.sources.iter().filter_map(|s| s.split_whitespace().next()).collect();
            kinds.dedup();
            Cell::new(kinds.join(","), Tone::Dim)
        })
        .narrow(),
        Col::left("SOURCE", |p| Cell::new(p.sources.join(", "), Tone::Dim)).wide(),
        Col::left("NOTE", |p| match p.drifted_servers {
            0 => Cell::default(),
            n => Cell::new(format!("{n} lost on next reload"), Tone::Warn),
        }),
    ]
}
