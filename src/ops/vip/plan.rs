//! The plan of VIP moves: part of [`crate::ops::Plan`], so that it passes the same gate as every change. Pure.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::engine::NodeHandle;
use crate::model::{FleetView, NodeName};
use crate::ops::{PlanError, Verdict};

use super::request::VipRequest;
use super::{checks, moves};

/// How a VIP is made to move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A weighted track file lowers the priority below the peer's: nothing is lost but what is open in that moment.
    LowerPriority,
    /// The track file that holds the new owner down is set back.
    RaisePriority,
    /// A track file of weight 0 puts the instance into FAULT.
    Fault,
    /// keepalived is stopped; it says so to its peers.
    Stop,
    /// keepalived is started on the node that it goes to.
    Start,
    /// Nothing moves: the node gets its priority back and stays where it is.
    OnlyPriority,
}

impl Way {
    pub const fn words(self) -> &'static str {
        match self {
            Way::LowerPriority => "its priority is lowered by a weighted track file",
            Way::RaisePriority => "the priority of the node that it goes to is set back",
            Way::Fault => "a track file of weight 0 puts it into FAULT",
            Way::Stop => "keepalived is stopped there",
            Way::Start => "keepalived is started where it goes to",
            Way::OnlyPriority => "its priority is set back; nothing moves",
        }
    }
}

/// One command on a node: exactly this argv, with this on its stdin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VipAction {
    pub node: NodeName,
    pub argv: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stdin: String,
    /// What undoes it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<(Vec<String>, String)>,
    /// What it is for, in words.
    pub what: String,
    /// Its text is a configuration: shown by its difference, because it holds passwords.
    #[serde(skip)]
    pub secret: bool,
}

impl fmt::Display for VipAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.argv.join(" "))?;
        match (self.stdin.as_str(), self.secret) {
            ("", _) => Ok(()),
            (text, false) => write!(f, " <<< {text:?}"),
            (text, true) => write!(f, " <<< ({} bytes)", text.len()),
        }
    }
}

/// VIPs that move together from one node to another.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VipMove {
    pub vips: Vec<IpAddr>,
    /// Instances on the node that gives them up.
    pub instances: Vec<String>,
    pub from: NodeName,
    pub to: NodeName,
    pub way: Way,
    pub actions: Vec<VipAction>,
    /// Clients are expected to see nothing for so long, in milliseconds; what docs/vips.md measured.
    pub expected_outage_ms: u64,
    /// How long the move may take before it is given up.
    #[serde(skip)]
    pub within: Duration,
    /// Lines that go into configurations, as a difference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<String>,
    /// TCP ports that answer on the VIP: probed afterwards.
    pub ports: Vec<u16>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VipPlan {
    pub request: VipRequest,
    pub moves: Vec<VipMove>,
    /// In words, for what holds already.
    pub already: Vec<String>,
}

impl VipPlan {
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.request.wait.is_none()
    }
    /// Nodes that something is sent to or that take a VIP, each once.
    pub fn nodes(&self) -> Vec<NodeName> {
        let mut all: Vec<NodeName> = self.moves.iter().flat_map(|m| [m.from.clone(), m.to.clone()]).collect();
        all.extend(self.moves.iter().flat_map(|m| m.actions.iter().map(|a| a.node.clone())));
        all.extend(self.request.wait.and(self.request.node.clone()));
        all.sort();
        all.dedup();
        all
    }
    pub fn summary(&self) -> String {
        let words = self.request.verb.words();
        let list = |m: &VipMove| m.vips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match (&self.request.node, self.moves.as_slice()) {
            (Some(node), []) if self.request.vips.is_empty() => format!("{words} {node}: no VIP moves"),
            (_, []) => format!("{words}: nothing to do"),
            (_, moves) => {
                let told: Vec<String> = moves
                    .iter()
                    .map(|m| match m.way {
                        Way::OnlyPriority => format!("{} (priority only)", m.from),
                        _ => format!("{} from {} to {}", list(m), m.from, m.to),
                    })
                    .collect();
                format!("{words} {}", told.join("; "))
            }
        }
    }
}

/// What stands in the fleet now, to the moves that do what was asked, with the guards' verdicts.
///
/// # Errors
/// The VIP or node is not known, nothing of it can be read, or it holds already.
pub fn plan(
    request: &VipRequest,
    view: &FleetView,
    nodes: &[NodeHandle],
    now: Timestamp,
) -> Result<(VipPlan, Vec<Verdict>), PlanError> {
    let world = moves::World { view, nodes, now, vips: view.vips() };
    let (moves, already) = moves::of(request, &world)?;
    let plan = VipPlan { request: request.clone(), moves, already };
    let verdicts = checks::check(&plan, &world);
    Ok((plan, verdicts))
}
