//! Nodes that see the same server in different states: whoever changes it should know.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeName, Target};
use crate::ops::{Judgement, Verdict};

use super::{Context, some_names, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let targets: BTreeSet<_> = context
        .steps
        .iter()
        .filter_map(|s| match &s.target {
            Target::Server(at) => Some(at),
            _ => None,
        })
        .collect();
    let mut verdicts = Vec::new();
    for at in targets {
        let mut states: BTreeMap<String, Vec<&NodeName>> = BTreeMap::new();
        for (node, server) in context.view.cells(at) {
            if let Some(server) = server {
                let state = format!("{} with weight {}", server.admin.word(), server.user_weight.unwrap_or(server.weight));
                states.entry(state).or_default().push(&node.meta.name);
            }
        }
        if states.len() > 1 {
            let told: Vec<String> =
                states.iter().map(|(state, nodes)| format!("{state} on {}", some_names(nodes.iter().copied()))).collect();
            verdicts.push(verdict("disagreement", Judgement::Warn, format!("nodes disagree on {at}: {}", told.join("; "))));
        }
    }
    verdicts
}
