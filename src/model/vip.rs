//! Virtual addresses over the whole fleet: who may hold each, and who does.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::{FleetView, Health, NodeName, NodeView, VrrpInstance, VrrpObs, VrrpState};

/// One node's part in a VIP.
#[derive(Clone, Debug, Serialize)]
pub struct VipNode {
    pub node: NodeName,
    /// Of the reading of keepalived, not of the node's engine.
    pub health: Health,
    /// The instance that moves the address; None where the interface carries it and no instance claims it.
    pub instance: Option<String>,
    pub vrid: Option<u8>,
    pub state: Option<VrrpState>,
    pub priority: Option<u8>,
    pub base_priority: Option<u8>,
    /// Interfaces that carry the address now.
    pub on: Vec<String>,
    /// Where it is meant to be.
    pub interface: Option<String>,
}

impl VipNode {
    /// The interface carries the address: this is what decides.
    pub fn owns(&self) -> bool {
        !self.on.is_empty()
    }
    pub fn is_fresh(&self) -> bool {
        self.health == Health::Fresh
    }
}

/// A virtual address and all nodes that have to do with it, in the order of the fleet file.
#[derive(Clone, Debug, Serialize)]
pub struct VipView {
    pub address: IpAddr,
    pub nodes: Vec<VipNode>,
}

impl VipView {
    /// Nodes whose interface carries the address; only readings that may be believed count.
    pub fn owners(&self) -> impl Iterator<Item = &VipNode> {
        self.nodes.iter().filter(|n| n.is_fresh() && n.owns())
    }
    /// The one owner; None where nobody or more than one holds it.
    pub fn owner(&self) -> Option<&VipNode> {
        let mut owners = self.owners();
        owners.next().filter(|_| owners.next().is_none())
    }
    pub fn node(&self, name: &NodeName) -> Option<&VipNode> {
        self.nodes.iter().find(|n| n.node == *name)
    }
    /// The node whose configured priority is the highest: where the address is at home.
    pub fn home(&self) -> Option<&VipNode> {
        // Of equals the first in the fleet file.
        self.nodes.iter().rev().filter(|n| n.instance.is_some()).max_by_key(|n| n.base_priority)
    }
}

/// keepalived's reading of a node that may be believed.
pub fn fresh_vrrp(node: &NodeView) -> Option<&VrrpObs> {
    let vrrp = node.vrrp.as_ref()?;
    if vrrp.health == Health::Fresh { vrrp.last.as_deref() } else { None }
}

impl FleetView {
    /// Every VIP that an instance of any node moves, sorted by address.
    pub fn vips(&self) -> Vec<VipView> {
        let mut vips: BTreeMap<IpAddr, Vec<VipNode>> = BTreeMap::new();
        for (node, obs) in self.vrrp_readings() {
            for instance in &obs.instances {
                for vip in &instance.vips {
                    let nodes = vips.entry(vip.address).or_default();
                    // Written twice on one node (two instances): the first is shown, the daemon refuses the other.
                    if !nodes.iter().any(|n| n.node == node.meta.name) {
                        nodes.push(vip_node(node, obs, vip.address, Some(instance)));
                    }
                }
            }
        }
        // Who carries one of these addresses without an instance that says so is part of it too.
        for (node, obs) in self.vrrp_readings() {
            for (address, nodes) in &mut vips {
                if obs.holds(*address) && !nodes.iter().any(|n| n.node == node.meta.name) {
                    nodes.push(vip_node(node, obs, *address, None));
                }
            }
        }
        let order = |name: &NodeName| self.nodes.iter().position(|n| n.meta.name == *name);
        vips.into_iter()
            .map(|(address, mut nodes)| {
                nodes.sort_by_key(|n| order(&n.node));
                VipView { address, nodes }
            })
            .collect()
    }

    fn vrrp_readings(&self) -> impl Iterator<Item = (&Arc<NodeView>, &VrrpObs)> {
        self.nodes.iter().filter_map(|n| Some((n, n.vrrp.as_ref()?.last.as_deref()?)))
    }
}

fn vip_node(node: &NodeView, obs: &VrrpObs, address: IpAddr, instance: Option<&VrrpInstance>) -> VipNode {
    VipNode {
        node: node.meta.name.clone(),
        health: node.vrrp.as_ref().map_or(Health::Dead, |v| v.health),
        instance: instance.map(|i| i.name.clone()),
        vrid: instance.map(|i| i.vrid),
        state: instance.and_then(|i| i.state),
        priority: instance.map(VrrpInstance::priority),
        base_priority: instance.map(|i| i.base_priority),
        on: obs.holders(address).map(|a| a.interface.clone()).collect(),
        interface: instance.and_then(|i| Some(i.interface_of(i.vip(address)?).to_owned())),
    }
}
