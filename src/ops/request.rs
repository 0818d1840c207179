//! What an operator asks for, before anything was looked at.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Change, Target};

use super::agent::AgentRequest;
use super::vip::VipRequest;

/// Which servers, on which nodes. Every given condition must hold; `None` and empty mean any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// `pool/server`, both globs; a name alone is a server glob in all pools.
    pub servers: Vec<String>,
    /// Only nodes of these names (globs) or groups.
    pub nodes: Vec<String>,
    pub zone: Option<String>,
    pub tag: Option<String>,
    pub role: Option<String>,
    /// `address` or `address:port` of the server: finds it in all pools.
    pub address: Option<String>,
}

/// What happens to a drain whose sessions are not gone at the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtDeadline {
    /// Kill what is left.
    Kill,
    /// Put it into maintenance; sessions that are up live on.
    Maint,
    /// Give the server back.
    Return,
    /// Leave it draining and report failure.
    #[default]
    Fail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainOptions {
    /// How long to wait for the last session; None waits until the operator stops it.
    pub deadline: Option<Duration>,
    pub then: AtDeadline,
    /// False returns as soon as every node has accepted the drain.
    pub wait: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Drain with proof: guarded, waited for, leased.
    Drain(DrainOptions),
    /// Any other change of the selected servers.
    Server(Change),
    /// A change of something named that is not a server (frontend, table), or of a server that is not there yet.
    Named { target: Target, change: Change },
    /// Give back what an operation of this machine changed.
    Undo { operation: i64 },
    /// Give back a lease, whoever made it.
    ReturnLease { lease: String },
    /// Run argv on the selected nodes.
    Exec { argv: Vec<String> },
    /// The agent's own life on the selected nodes.
    Agent(AgentRequest),
    /// VIPs moved between nodes; a whole node out of service and back.
    Vip(VipRequest),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub verb: Verb,
    pub selector: Selector,
    pub reason: Option<String>,
    /// Give the change back after this time.
    pub lease: Option<Duration>,
    /// Override the capacity guard (audited, asks for the typed confirmation).
    pub force: bool,
}
