//! The last minutes of each node, pool and server, for sparklines and charts.
//!
//! Bounded: a fleet of more than [`MOST_CELLS`] servers x nodes keeps the history of nodes and pools, and of those servers that
//! a view asked for ([`History::keep`]).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Gauges, NodeName, NodeObs, PoolName, ServerName, ServerRef, saturate};

/// Samples kept: two minutes at one reading a second.
const KEPT: usize = 120;
/// Above so many servers x nodes only servers that were asked for are sampled.
const MOST_CELLS: usize = 5_000;

/// One reading. Rates are per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at: Instant,
    /// New sessions per second, as the engine counted them over the last second.
    pub rate: u32,
    pub sessions: u32,
    pub queue: u32,
    /// Average total time of the last 1,024 requests, in milliseconds.
    pub latency_ms: u32,
    /// Errors and 5xx answers per second since the sample before.
    pub errors: u32,
}

#[derive(Debug, Default)]
pub struct History {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    nodes: HashMap<NodeName, NodeHistory>,
    kept: HashSet<ServerRef>,
    /// Servers in the newest reading of all nodes together.
    cells: usize,
}

#[derive(Debug, Default)]
struct NodeHistory {
    cells: usize,
    whole: Series,
    pools: HashMap<PoolName, PoolHistory>,
}

#[derive(Debug, Default)]
struct PoolHistory {
    whole: Series,
    servers: HashMap<ServerName, Series>,
}

#[derive(Debug, Default)]
struct Series {
    samples: VecDeque<Sample>,
    /// Counter of errors at the last sample, to tell the rate.
    errors_total: Option<u64>,
}

impl History {
    pub fn server(&self, node: &NodeName, server: &ServerRef) -> Vec<Sample> {
        self.read(|inner| inner.nodes.get(node)?.pools.get(&server.pool)?.servers.get(&server.server))
    }

    pub fn pool(&self, node: &NodeName, pool: &PoolName) -> Vec<Sample> {
        self.read(|inner| inner.nodes.get(node)?.pools.get(pool).map(|p| &p.whole))
    }

    pub fn node(&self, node: &NodeName) -> Vec<Sample> {
        self.read(|inner| inner.nodes.get(node).map(|n| &n.whole))
    }

    /// From now on this server has a history on every node, however large the fleet is.
    pub fn keep(&self, server: &ServerRef) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).kept.insert(server.clone());
    }

    pub(super) fn record(&self, seen: &NodeObs) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { nodes, kept, cells } = &mut *inner;
        let node = nodes.entry(seen.node.clone()).or_default();
        let now_cells: usize = seen.pools.iter().map(|p| p.servers.len()).sum();
        *cells = (*cells + now_cells).saturating_sub(node.cells);
        node.cells = now_cells;

        let mut whole = Gauges::default();
        let mut latency_weighted = 0u64;
        let every_server = *cells <= MOST_CELLS;
        // What has gone from the engine goes from the history too.
        node.pools.retain(|name, _| seen.pools.iter().any(|p| p.name == *name));
        for pool in &seen.pools {
            let g = &pool.gauges;
            whole.sessions = whole.sessions.saturating_add(g.sessions);
            whole.queue = whole.queue.saturating_add(g.queue);
            whole.rate = whole.rate.saturating_add(g.rate);
            whole.errors += g.errors;
            whole.http_5xx = Some(whole.http_5xx.unwrap_or(0) + g.http_5xx.unwrap_or(0));
            latency_weighted += u64::from(g.total_ms.unwrap_or(0)) * u64::from(g.rate);
            let history = node.pools.entry(pool.name.clone()).or_default();
            history.whole.push(g, seen.seen);
            if every_server || !kept.is_empty() {
                if history.servers.len() > pool.servers.len() {
                    history.servers.retain(|name, _| pool.servers.iter().any(|s| s.name == *name));
                }
                for server in &pool.servers {
                    let wanted =
                        every_server || kept.contains(&ServerRef { pool: pool.name.clone(), server: server.name.clone() });
                    if wanted {
                        history.servers.entry(server.name.clone()).or_default().push(&server.gauges, seen.seen);
                    }
                }
            }
        }
        whole.total_ms = latency_weighted.checked_div(u64::from(whole.rate)).map(saturate);
        node.whole.push(&whole, seen.seen);
    }

    fn read(&self, find: impl Fn(&Inner) -> Option<&Series>) -> Vec<Sample> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        find(&inner).map(|series| series.samples.iter().copied().collect()).unwrap_or_default()
    }
}

impl Series {
    fn push(&mut self, g: &Gauges, at: Instant) {
        let total = g.errors + g.http_5xx.unwrap_or(0);
        let since = self.samples.back().map_or(Duration::ZERO, |s| at.saturating_duration_since(s.at));
        // A counter that fell was reset by a restart: there is no rate to tell.
        let errors = match self.errors_total {
            Some(before) if total >= before && !since.is_zero() => {
                saturate(((total - before) as f64 / since.as_secs_f64()).round() as u64)
            }
            _ => 0,
        };
        self.errors_total = Some(total);
        if self.samples.len() >= KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at,
            rate: g.rate,
            sessions: g.sessions,
            queue: g.queue,
            latency_ms: g.total_ms.unwrap_or(0),
            errors,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_rates_survive_a_restart() {
        let mut series = Series::default();
        let start = Instant::now();
        let gauges = |errors| Gauges { errors, ..Gauges::default() };
        for (second, errors) in [(0, 10), (1, 14), (2, 3), (4, 9)] {
            series.push(&gauges(errors), start + Duration::from_secs(second));
        }
        assert_eq!(series.samples.iter().map(|s| s.errors).collect::<Vec<_>>(), [0, 4, 0, 3]);
    }

    #[test]
    fn history_is_bounded() {
        let mut series = Series::default();
        let start = Instant::now();
        for i in 0..500 {
            series.push(&Gauges { sessions: i, ..Gauges::default() }, start + Duration::from_secs(i.into()));
        }
        assert_eq!(series.samples.len(), KEPT);
        assert_eq!(series.samples.back().map(|s| s.sessions), Some(499));
    }
}
