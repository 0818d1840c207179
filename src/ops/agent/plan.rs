//! The plan of the agent's life on nodes: part of [`crate::ops::Plan`], so that it passes the same gate as every change.

use serde::Serialize;

use crate::config::AgentPaths;
use crate::model::NodeName;
use crate::ops::Judgement;

use super::facts::{NodeFacts, Privilege};
use super::payload::Payload;
use super::program::{self, Step, describe};
use super::request::AgentRequest;

/// The steps of one node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeProgram {
    pub node: NodeName,
    /// What was seen, in words.
    pub now: String,
    #[serde(skip)]
    pub paths: AgentPaths,
    pub privilege: Privilege,
    pub steps: Vec<Step>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AgentPlan {
    pub request: AgentRequest,
    /// Nodes at once.
    pub at_once: usize,
    pub nodes: Vec<NodeProgram>,
    /// Nodes where it cannot be done, and why; they are not touched.
    pub unfit: Vec<(NodeName, String)>,
    #[serde(skip)]
    pub payload: Option<Payload>,
}

impl AgentPlan {
    /// Pure: from what was seen of each node to its steps.
    pub fn new(request: AgentRequest, payload: Option<Payload>, seen: Vec<(NodeName, NodeFacts)>) -> AgentPlan {
        let (mut nodes, mut unfit) = (Vec::new(), Vec::new());
        for (node, facts) in seen {
            match program::program(&request, &facts) {
                Ok(draft) => nodes.push(NodeProgram {
                    node,
                    now: draft.now,
                    paths: facts.paths,
                    privilege: facts.privilege,
                    steps: draft.steps,
                    notes: draft.notes,
                }),
                Err(why) => unfit.push((node, format!("{why} (now: {})", describe(&facts)))),
            }
        }
        let at_once = request.max_unavailable.of(nodes.len() + unfit.len());
        AgentPlan { request, at_once, nodes, unfit, payload }
    }

    /// Nodes on which something would be done.
    pub fn busy(&self) -> impl Iterator<Item = &NodeProgram> {
        self.nodes.iter().filter(|n| !n.steps.is_empty())
    }
    pub fn is_empty(&self) -> bool {
        self.busy().next().is_none()
    }
    /// How grave it is that it cannot be done on some nodes.
    pub fn judgement_of_unfit(&self) -> Judgement {
        if self.nodes.is_empty() { Judgement::Never } else { Judgement::Refuse }
    }
}
