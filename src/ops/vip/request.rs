//! What an operator asks of VIPs.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::NodeName;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VipVerb {
    /// To another node.
    Failover,
    /// Home, to the node whose configured priority is the highest.
    Failback,
    /// Every VIP off a node; then its connections are watched down to zero.
    DrainNode,
    /// A node may hold VIPs again.
    ReturnNode,
}

impl VipVerb {
    pub const fn words(self) -> &'static str {
        match self {
            VipVerb::Failover => "fail over",
            VipVerb::Failback => "fail back",
            VipVerb::DrainNode => "drain node",
            VipVerb::ReturnNode => "return node",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VipRequest {
    pub verb: VipVerb,
    /// Failover and failback: which VIPs.
    pub vips: Vec<IpAddr>,
    /// Drain and return: which node. Failover: where to (default: the best peer).
    pub node: Option<NodeName>,
    /// Put a weighted track file into the configuration where there is none.
    pub add_track_file: bool,
    /// Drain: how long to wait for the last connection; None: do not wait.
    pub wait: Option<Duration>,
}
