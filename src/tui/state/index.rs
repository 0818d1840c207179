//! The fleet turned round: from nodes that have servers to servers that are on nodes. Built once for each new picture (never
//! for a frame), in time linear in the number of servers x nodes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::model::{FleetView, Health, NodeView, PoolName, PoolObs, ServerName, ServerObs, ServerRef};

use super::class::{Class, Classes};

/// Where a server stands in a picture: node, pool of the node, server of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellAt {
    pub node: u32,
    pool: u32,
    server: u32,
}

/// One server over all nodes. Sums count fresh nodes only: old numbers are not added to new ones.
#[derive(Clone, Debug)]
pub struct ServerLine {
    pub server: ServerRef,
    cells: Range<usize>,
    /// Of fresh nodes.
    pub classes: Classes,
    pub sessions: u64,
    pub queue: u64,
    pub rate: u64,
    pub errors: u64,
    pub left: u64,
    pub weight: Option<(u32, u32)>,
    pub latency_ms: Option<u32>,
    /// What the fresh nodes disagree on.
    pub disagree: Disagree,
    /// Run time differs from the file on some node.
    pub drift: bool,
    pub address: Option<Arc<str>>,
    /// Nodes that have it but whose reading is old.
    pub stale_nodes: u32,
}

#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Disagree {
    pub state: bool,
    pub weight: bool,
    pub address: bool,
    /// Some fresh node has the pool but not the server.
    pub missing: u32,
}

impl Disagree {
    pub fn any(self) -> bool {
        self.state || self.weight || self.address || self.missing > 0
    }
    pub fn text(self) -> String {
        let mut words = Vec::new();
        if self.state {
            words.push("state".to_owned());
        }
        if self.weight {
            words.push("weight".to_owned());
        }
        if self.address {
            words.push("address".to_owned());
        }
        if self.missing > 0 {
            words.push(format!("missing on {}", self.missing));
        }
        words.join(", ")
    }
}

/// One pool over all nodes.
#[derive(Clone, Debug)]
pub struct PoolLine {
    pub pool: PoolName,
    pub mode: Box<str>,
    pub algorithm: Box<str>,
    /// Fresh nodes that have it, and those whose reading is old.
    pub nodes: u32,
    pub stale_nodes: u32,
    /// Different servers seen under this name.
    pub servers: u32,
    /// Fewest servers that serve on any fresh node, and of how many there.
    pub fewest: Option<(u32, u32)>,
    /// Of server x fresh node.
    pub classes: Classes,
    pub sessions: u64,
    pub queue: u64,
    pub rate: u64,
    pub errors: u64,
    pub http_5xx: u64,
    pub latency_ms: Option<u32>,
    pub disagreements: u32,
    pub drift: bool,
}

#[derive(Debug, Default)]
pub struct Index {
    pub servers: Vec<ServerLine>,
    pub pools: Vec<PoolLine>,
    cells: Vec<CellAt>,
}

#[derive(Default)]
struct Builder {
    servers: Vec<ServerLine>,
    pools: Vec<PoolLine>,
    pool_ids: HashMap<PoolName, u32>,
    /// By pool id.
    server_ids: Vec<HashMap<ServerName, u32>>,
    /// Cells in the order of reading, with the line that each belongs to.
    found: Vec<(u32, CellAt)>,
}

impl Index {
    pub fn build(view: &FleetView) -> Index {
        let mut builder = Builder::default();
        // Nodes of a fleet mostly have the same pools in the same order: what stood here on the node before is tried first.
        let mut guess: Vec<(u32, Vec<u32>)> = Vec::new();
        for (node, seen) in (0u32..).zip(&view.nodes) {
            let Some(obs) = seen.last.as_deref() else { continue };
            let fresh = seen.health == Health::Fresh;
            for (at, pool) in (0u32..).zip(&obs.pools) {
                if guess.len() <= at as usize {
                    guess.push((u32::MAX, Vec::new()));
                }
                if let Some((pool_guess, server_guess)) = guess.get_mut(at as usize) {
                    builder.pool(node, at, pool, fresh, pool_guess, server_guess);
                }
            }
        }
        builder.finish()
    }

    pub fn cells(&self, line: &ServerLine) -> &[CellAt] {
        self.cells.get(line.cells.clone()).unwrap_or_default()
    }
    pub fn server(&self, server: &ServerRef) -> Option<&ServerLine> {
        self.servers.iter().find(|line| line.server == *server)
    }
    pub fn pool(&self, pool: &PoolName) -> Option<&PoolLine> {
        self.pools.iter().find(|line| line.pool == *pool)
    }
}

/// The observation behind a cell, in the picture that the index was built from.
pub fn at(view: &FleetView, cell: CellAt) -> Option<(&Arc<NodeView>, &ServerObs)> {
    let node = view.nodes.get(cell.node as usize)?;
    let server = node.last.as_deref()?.pools.get(cell.pool as usize)?.servers.get(cell.server as usize)?;
    Some((node, server))
}

impl Builder {
    fn pool(&mut self, node: u32, at: u32, pool: &PoolObs, fresh: bool, pool_guess: &mut u32, server_guess: &mut Vec<u32>) {
        let id = match self.pools.get(*pool_guess as usize) {
            Some(line) if line.pool == pool.name => *pool_guess,
            _ => self.pool_id(pool),
        };
        *pool_guess = id;
        let mut serving = 0;
        for (nth, server) in (0u32..).zip(&pool.servers) {
            let guessed = server_guess.get(nth as usize).copied().unwrap_or(u32::MAX);
            let line_id = match self.servers.get(guessed as usize) {
                Some(line) if line.server.server == server.name && line.server.pool == pool.name => guessed,
                _ => self.server_id(id, pool, server),
            };
            match server_guess.get_mut(nth as usize) {
                Some(slot) => *slot = line_id,
                None => server_guess.push(line_id),
            }
            self.found.push((line_id, CellAt { node, pool: at, server: nth }));
            let class = Class::of(server);
            serving += u32::from(class.is_serving());
            if let Some(line) = self.servers.get_mut(line_id as usize) {
                line.add(server, class, fresh);
            }
            if fresh && let Some(line) = self.pools.get_mut(id as usize) {
                line.classes.add(class);
                line.drift |= server.drift.as_ref().is_some_and(|d| !d.is_empty());
            }
        }
        if let Some(line) = self.pools.get_mut(id as usize) {
            line.add(pool, serving, fresh);
        }
    }

    fn pool_id(&mut self, pool: &PoolObs) -> u32 {
        if let Some(id) = self.pool_ids.get(&pool.name) {
            return *id;
        }
        let id = u32::try_from(self.pools.len()).unwrap_or(u32::MAX);
        self.pools.push(PoolLine {
            pool: pool.name.clone(),
            mode: pool.mode.clone(),
            algorithm: pool.algorithm.clone(),
            nodes: 0,
            stale_nodes: 0,
            servers: 0,
            fewest: None,
            classes: Classes::default(),
            sessions: 0,
            queue: 0,
            rate: 0,
            errors: 0,
            http_5xx: 0,
            latency_ms: None,
            disagreements: 0,
            drift: false,
        });
        self.pool_ids.insert(pool.name.clone(), id);
        self.server_ids.push(HashMap::new());
        id
    }

    fn server_id(&mut self, pool_id: u32, pool: &PoolObs, server: &ServerObs) -> u32 {
        let Some(ids) = self.server_ids.get_mut(pool_id as usize) else { return u32::MAX };
        if let Some(id) = ids.get(&server.name) {
            return *id;
        }
        let id = u32::try_from(self.servers.len()).unwrap_or(u32::MAX);
        ids.insert(server.name.clone(), id);
        self.servers.push(ServerLine {
            server: ServerRef { pool: pool.name.clone(), server: server.name.clone() },
            cells: 0..0,
            classes: Classes::default(),
            sessions: 0,
            queue: 0,
            rate: 0,
            errors: 0,
            left: 0,
            weight: None,
            latency_ms: None,
            disagree: Disagree::default(),
            drift: false,
            address: None,
            stale_nodes: 0,
        });
        if let Some(line) = self.pools.get_mut(pool_id as usize) {
            line.servers += 1;
        }
        id
    }

    /// Puts the cells of each line side by side, and says what needs all of them.
    fn finish(mut self) -> Index {
        let mut counts = vec![0usize; self.servers.len()];
        for (line, _) in &self.found {
            if let Some(n) = counts.get_mut(*line as usize) {
                *n += 1;
            }
        }
        let mut start = 0;
        for (line, n) in self.servers.iter_mut().zip(&counts) {
            line.cells = start..start;
            start += n;
        }
        let mut cells = vec![CellAt { node: 0, pool: 0, server: 0 }; start];
        for (id, cell) in &self.found {
            if let Some(line) = self.servers.get_mut(*id as usize) {
                if let Some(slot) = cells.get_mut(line.cells.end) {
                    *slot = *cell;
                }
                line.cells.end += 1;
            }
        }
        for line in &mut self.servers {
            let Some(pool) = self.pool_ids.get(&line.server.pool).and_then(|id| self.pools.get_mut(*id as usize)) else {
                continue;
            };
            line.disagree.state = line.classes.present().count() > 1;
            line.disagree.weight = line.weight.is_some_and(|(least, most)| least != most);
            line.disagree.missing = pool.nodes.saturating_sub(line.classes.total());
            pool.disagreements += u32::from(line.disagree.any());
        }
        Index { servers: self.servers, pools: self.pools, cells }
    }
}

impl ServerLine {
    fn add(&mut self, server: &ServerObs, class: Class, fresh: bool) {
        match (&self.address, &server.address) {
            (None, Some(address)) => self.address = Some(address.clone()),
            (Some(known), Some(address)) if fresh && known != address => self.disagree.address = true,
            _ => {}
        }
        if !fresh {
            self.stale_nodes += 1;
            return;
        }
        self.classes.add(class);
        let g = &server.gauges;
        self.sessions += u64::from(g.sessions);
        self.queue += u64::from(g.queue);
        self.rate += u64::from(g.rate);
        self.errors += g.errors + g.http_5xx.unwrap_or(0);
        self.left += server.left();
        self.latency_ms = self.latency_ms.max(g.total_ms);
        self.weight = Some(match self.weight {
            None => (server.weight, server.weight),
            Some((least, most)) => (least.min(server.weight), most.max(server.weight)),
        });
        self.drift |= server.drift.as_ref().is_some_and(|d| !d.is_empty());
    }
}

impl PoolLine {
    fn add(&mut self, pool: &PoolObs, serving: u32, fresh: bool) {
        if !fresh {
            self.stale_nodes += 1;
            return;
        }
        self.nodes += 1;
        let of = u32::try_from(pool.servers.len()).unwrap_or(u32::MAX);
        if self.fewest.is_none_or(|(least, _)| serving < least) {
            self.fewest = Some((serving, of));
        }
        let g = &pool.gauges;
        self.sessions += u64::from(g.sessions);
        self.queue += u64::from(g.queue);
        self.rate += u64::from(g.rate);
        self.errors += g.errors;
        self.http_5xx += g.http_5xx.unwrap_or(0);
        self.latency_ms = self.latency_ms.max(g.total_ms);
    }
}
