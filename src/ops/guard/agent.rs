//! Nodes on which the agent cannot be installed or changed, and why. The others are only worked on with `--force`.

use crate::ops::Verdict;

use super::{Context, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let Some(agent) = context.agent else { return Vec::new() };
    let judgement = agent.judgement_of_unfit();
    agent.unfit.iter().map(|(node, why)| verdict("capability", judgement, format!("{node}: {why}"))).collect()
}
