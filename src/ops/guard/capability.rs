//! What an engine cannot do, and why. A part that can be done is only done with `--force`.

use crate::ops::{Judgement, Verdict};

use super::{Context, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let judgement = if context.steps.is_empty() { Judgement::Never } else { Judgement::Refuse };
    let mut verdicts: Vec<Verdict> = context
        .incapable
        .iter()
        .map(|(node, target, why)| verdict("capability", judgement, format!("{node}: {target}: {why}")))
        .collect();
    if let Some(exec) = context.exec {
        let without: Vec<_> = exec
            .nodes
            .iter()
            .filter(|name| !context.known.nodes.iter().any(|h| h.name() == *name && h.transport.is_some()))
            .collect();
        if !without.is_empty() {
            let judgement = if without.len() == exec.nodes.len() { Judgement::Never } else { Judgement::Warn };
            let text = format!("no way to run commands on {}", super::some_names(without));
            verdicts.push(verdict("capability", judgement, text));
        }
    }
    verdicts
}
