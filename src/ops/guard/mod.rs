//! Guards: each looks at the whole plan and says what stands against it. One file each; a new guard is a new file.

mod agent;
mod capability;
mod capacity;
mod changed;
mod disagreement;
mod lease;
mod persistence;
mod reach;
mod read_only;
#[cfg(test)]
mod tests;
mod undo;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Change, NodeName, NodeObs, PoolName, ServerName, Target, Weight};

use super::agent::AgentPlan;
use super::plan::{ExecPlan, Step, Verdict};
use super::planner::Known;
use super::{Judgement, Request};

/// What guards may look at.
pub struct Context<'a> {
    pub request: &'a Request,
    pub steps: &'a [Step],
    pub exec: Option<&'a ExecPlan>,
    pub agent: Option<&'a AgentPlan>,
    pub unreachable: &'a [(NodeName, String)],
    /// Steps that could not be made, and why.
    pub incapable: &'a [(NodeName, Target, String)],
    pub view: &'a crate::model::FleetView,
    pub known: Known<'a>,
}

type Guard = fn(&Context<'_>) -> Vec<Verdict>;

/// Gravest first, as far as their worst goes.
const GUARDS: &[Guard] = &[
    read_only::check,
    capacity::check,
    capability::check,
    agent::check,
    reach::check,
    changed::check,
    lease::check,
    persistence::check,
    disagreement::check,
    undo::check,
];

pub fn judge(context: &Context<'_>) -> Vec<Verdict> {
    GUARDS.iter().flat_map(|guard| guard(context)).collect()
}

fn verdict(guard: &'static str, judgement: Judgement, text: String) -> Verdict {
    Verdict { guard, judgement, text }
}

type Taken<'a> = BTreeMap<(&'a NodeName, &'a PoolName), BTreeSet<&'a ServerName>>;

/// Servers that the plan takes out of service, by node and pool. Steps are read in order: a later one may undo an earlier.
fn taken_out(steps: &[Step]) -> Taken<'_> {
    let mut taken: BTreeMap<_, BTreeSet<&ServerName>> = BTreeMap::new();
    for step in steps.iter().filter(|s| !s.already) {
        let Target::Server(at) = &step.target else { continue };
        let servers = taken.entry((&step.node, &at.pool)).or_default();
        match step.change {
            Change::Drain | Change::Maint | Change::RemoveServer => {
                servers.insert(&at.server);
            }
            Change::Weight(Weight::Absolute(0) | Weight::Percent(0)) => {
                servers.insert(&at.server);
            }
            Change::Ready => {
                servers.remove(&at.server);
            }
            _ => {}
        }
    }
    taken.retain(|_, servers| !servers.is_empty());
    taken
}

/// The newest reading of a node, however old.
fn seen<'a>(context: &Context<'a>, node: &NodeName) -> Option<&'a NodeObs> {
    context.view.node(node.as_str())?.last.as_deref()
}

/// `lb1, lb2 and 3 more`.
fn some_names<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> String {
    let names: Vec<&str> = names.into_iter().map(NodeName::as_str).collect();
    match names.as_slice() {
        all if all.len() <= 4 => all.join(", "),
        [a, b, c, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len()),
        _ => String::new(),
    }
}
