//! The plan: exact commands for each node, the guards' verdicts, the inverse. Nothing has been sent when it exists.

use serde::Serialize;

use crate::config::ConfirmLevel;
use crate::engine::Command;
use crate::model::{Change, FleetView, NodeName, PoolName, Target};

use super::Request;
use super::agent::AgentPlan;
use super::vip::VipPlan;

/// One change of one target on one node.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub node: NodeName,
    pub target: Target,
    pub change: Change,
    /// Exactly what will be sent.
    #[serde(serialize_with = "commands_as_text")]
    pub commands: Vec<Command>,
    /// What brings the present state back; empty where nothing can.
    pub inverse: Vec<Change>,
    /// What the inverse will not bring back, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// The state as it was seen, in words (`UP, weight 100, 12 sessions`).
    pub now: String,
    /// True where the next reload of the engine undoes it.
    pub lost_on_reload: bool,
    /// Set where nothing needs to be sent because it holds already.
    pub already: bool,
}

fn commands_as_text<S: serde::Serializer>(commands: &[Command], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(commands.iter().map(ToString::to_string))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    Ok,
    Warn,
    /// May be overridden with `--force`.
    Refuse,
    /// May not be overridden (read-only, last healthy server).
    Never,
}

/// What one guard says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `capacity`, `read-only`, `reach`, `capability`, `persistence`, `lease` …
    pub guard: &'static str,
    pub judgement: Judgement,
    pub text: String,
}

/// A command for nodes: no target, no inverse.
#[derive(Clone, Debug, Serialize)]
pub struct ExecPlan {
    pub argv: Vec<String>,
    pub nodes: Vec<NodeName>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub request: Request,
    /// `drain app/web1 on 3 nodes`.
    pub summary: String,
    pub steps: Vec<Step>,
    /// Set for `Verb::Exec`, which has no steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecPlan>,
    /// Set for `Verb::Agent`, which has programs instead of steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentPlan>,
    /// Set for `Verb::Vip`, which has moves instead of steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vip: Option<VipPlan>,
    pub verdicts: Vec<Verdict>,
    /// Nodes that could not be read: they will not be touched, and the result says so.
    pub unreachable: Vec<(NodeName, String)>,
    #[serde(skip)]
    pub confirm: ConfirmLevel,
    /// What must be typed where `confirm` is `Typed`.
    pub confirm_word: String,
    #[serde(skip)]
    pub basis: Basis,
}

/// What a plan was made from, so that it can be made again.
#[derive(Clone, Debug, Default)]
pub struct Basis {
    /// What an undo or a return gives back; empty for other verbs.
    pub given_back: Vec<GiveBack>,
    /// The picture of the fleet: `apply` reads the nodes of the steps again and keeps the rest.
    pub view: Option<FleetView>,
}

/// One recorded change that is to be given back.
#[derive(Clone, PartialEq, Debug)]
pub struct GiveBack {
    pub node: NodeName,
    pub target: Target,
    /// What was done last.
    pub change: Change,
    /// What brings the state before it back, in order.
    pub inverse: Vec<Change>,
    /// Journal entries of this machine's store that are then undone.
    pub journal: Option<(i64, Vec<u32>)>,
    /// The lease that is then closed.
    pub lease: Option<String>,
    /// A later lease that holds the same part of the target: the server stays as it is, and that lease gives back to
    /// the state before this one.
    pub kept_by: Option<String>,
}

impl Plan {
    /// The gravest judgement.
    pub fn judgement(&self) -> Judgement {
        self.verdicts.iter().map(|v| v.judgement).max().unwrap_or(Judgement::Ok)
    }
    /// Pools that the steps touch, sorted: what has to be locked.
    pub fn pools(&self) -> Vec<PoolName> {
        let mut pools: Vec<PoolName> = self.steps.iter().filter_map(|s| s.target.pool().cloned()).collect();
        pools.sort();
        pools.dedup();
        pools
    }
    /// Nothing would be sent.
    pub fn is_empty(&self) -> bool {
        match (&self.agent, &self.vip) {
            (Some(agent), _) => agent.is_empty(),
            (None, Some(vip)) => vip.is_empty(),
            (None, None) => self.exec.is_none() && self.steps.iter().all(|s| s.already),
        }
    }
}
