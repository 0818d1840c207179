//! Sums of each node and of the fleet. A node that has no new reading is not counted again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{FleetView, Health, NodeView};

use super::class::{Class, Classes};

/// What one node carries.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct NodeSums {
    pub classes: Classes,
    pub sessions: u64,
    pub rate: u64,
    pub queue: u64,
    pub pools: u32,
}

impl NodeSums {
    fn of(node: &NodeView) -> NodeSums {
        let mut sums = NodeSums::default();
        let Some(obs) = &node.last else { return sums };
        for pool in &obs.pools {
            sums.pools += 1;
            sums.sessions += u64::from(pool.gauges.sessions);
            sums.rate += u64::from(pool.gauges.rate);
            sums.queue += u64::from(pool.gauges.queue);
            for server in &pool.servers {
                sums.classes.add(Class::of(server));
            }
        }
        sums
    }
}

/// One zone, or the whole fleet.
#[derive(Clone, Default, Debug)]
pub struct ZoneSums {
    pub nodes: u32,
    pub fresh: u32,
    pub stale: u32,
    pub dead: u32,
    /// Of fresh nodes.
    pub classes: Classes,
    pub sessions: u64,
    pub rate: u64,
    pub queue: u64,
}

impl ZoneSums {
    fn add(&mut self, node: &NodeView, sums: &NodeSums) {
        self.nodes += 1;
        match node.health {
            Health::Fresh => self.fresh += 1,
            Health::Stale => self.stale += 1,
            Health::Dead => self.dead += 1,
            Health::Connecting => {}
        }
        if node.health == Health::Fresh {
            self.classes.merge(&sums.classes);
            self.sessions += sums.sessions;
            self.rate += sums.rate;
            self.queue += sums.queue;
        }
    }
}

#[derive(Default)]
pub struct FleetSums {
    pub nodes: Vec<(Arc<NodeView>, NodeSums)>,
    pub whole: ZoneSums,
    /// By zone; nodes without one under the empty name.
    pub zones: BTreeMap<String, ZoneSums>,
    newest: Option<Instant>,
    oldest: Option<Instant>,
}

impl FleetSums {
    pub fn update(&mut self, view: &FleetView) {
        let mut before = std::mem::take(&mut self.nodes).into_iter();
        self.nodes = view
            .nodes
            .iter()
            .map(|node| match before.next() {
                Some((known, sums)) if Arc::ptr_eq(&known, node) => (known, sums),
                _ => (node.clone(), NodeSums::of(node)),
            })
            .collect();
        self.whole = ZoneSums::default();
        self.zones.clear();
        (self.newest, self.oldest) = (None, None);
        for (node, sums) in &self.nodes {
            self.whole.add(node, sums);
            let zone = node.meta.zone.as_deref().unwrap_or_default();
            match self.zones.get_mut(zone) {
                Some(known) => known.add(node, sums),
                None => self.zones.entry(zone.to_owned()).or_default().add(node, sums),
            }
            if let Some(obs) = &node.last {
                self.newest = self.newest.max(Some(obs.seen));
                self.oldest = Some(self.oldest.map_or(obs.seen, |oldest| oldest.min(obs.seen)));
            }
        }
    }

    /// Age of the newest and of the oldest reading that is shown; None where nothing was read yet.
    pub fn ages(&self, now: Instant) -> Option<(Duration, Duration)> {
        Some((now.saturating_duration_since(self.newest?), now.saturating_duration_since(self.oldest?)))
    }
}
