//! The whole fleet as it is known now: one immutable value, replaced as a whole, cheap to share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::{NodeName, NodeObs, PoolName, ServerObs, ServerRef, VrrpObs};

/// What the fleet file says of a node and every view needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeMeta {
    pub name: NodeName,
    pub address: String,
    pub zone: Option<String>,
    pub role: Option<String>,
    pub tags: Vec<String>,
    /// Groups of the fleet file that hold the node.
    pub groups: Vec<String>,
}

/// Can the last observation be believed?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing has been read yet and nothing has failed.
    Connecting,
    /// The last reading succeeded and is younger than three intervals.
    Fresh,
    /// There is a reading, but the newest attempts failed or are late.
    Stale,
    /// Never read, or failing for longer than `dead_after`.
    Dead,
}

/// Why a node cannot be read: what failed where, whether it is retried, how to mend it. Sanitised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub what: String,
    pub hint: Option<String>,
    /// False where a retry cannot help (changed host key, permission denied).
    pub retry: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    pub meta: Arc<NodeMeta>,
    pub health: Health,
    pub last: Option<Arc<NodeObs>>,
    /// The newest error; None after a success.
    pub problem: Option<Problem>,
    /// Failures in a row.
    pub failures: u32,
    #[serde(skip)]
    pub next_try: Option<Instant>,
    /// keepalived beside the engine; None where the fleet file names none. It is read, and fails, by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrrp: Option<VrrpView>,
}

/// What is known of keepalived on a node.
#[derive(Clone, Debug, Serialize)]
pub struct VrrpView {
    pub health: Health,
    pub last: Option<Arc<VrrpObs>>,
    /// The newest error; None after a success.
    pub problem: Option<Problem>,
}

impl NodeView {
    /// Age of the data shown, on the monotonic clock.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.last.as_ref().map(|o| now.saturating_duration_since(o.seen))
    }
    /// The observation, only where it may be acted upon.
    pub fn fresh(&self) -> Option<&NodeObs> {
        match self.health {
            Health::Fresh => self.last.as_deref(),
            _ => None,
        }
    }
}

/// One consistent picture. Nodes keep the order of the fleet file.
#[derive(Clone, Debug, Serialize)]
pub struct FleetView {
    pub at: Timestamp,
    #[serde(skip)]
    pub now: Instant,
    pub nodes: Vec<Arc<NodeView>>,
}

impl FleetView {
    pub fn node(&self, name: &str) -> Option<&Arc<NodeView>> {
        self.nodes.iter().find(|n| n.meta.name.as_str() == name)
    }

    /// Every node's cell for a server, in node order; None where the node is unread or has no such server.
    pub fn cells(&self, server: &ServerRef) -> Vec<(&Arc<NodeView>, Option<&ServerObs>)> {
        self.nodes
            .iter()
            .map(|n| (n, n.last.as_deref().and_then(|o| o.server(server.pool.as_str(), server.server.as_str()))))
            .collect()
    }

    /// All pools seen anywhere, sorted.
    pub fn pool_names(&self) -> Vec<PoolName> {
        let mut names: Vec<PoolName> =
            self.nodes.iter().filter_map(|n| n.last.as_deref()).flat_map(|o| o.pools.iter().map(|p| p.name.clone())).collect();
        names.sort();
        names.dedup();
        names
    }

    /// All servers seen anywhere, sorted.
    pub fn server_refs(&self) -> Vec<ServerRef> {
        let mut refs: Vec<ServerRef> = self
            .nodes
            .iter()
            .filter_map(|n| n.last.as_deref())
            .flat_map(|o| {
                o.pools.iter().flat_map(|p| p.servers.iter().map(|s| ServerRef { pool: p.name.clone(), server: s.name.clone() }))
            })
            .collect();
        refs.sort();
        refs.dedup();
        refs
    }
}
