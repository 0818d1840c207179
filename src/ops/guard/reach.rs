//! Nodes that cannot be read are not touched, and so are not drained: it says so before and after.

use std::collections::BTreeSet;

use crate::config::duration::show_duration;
use crate::model::Health;
use crate::ops::{Judgement, Verdict};

use super::{Context, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = context
        .unreachable
        .iter()
        .map(|(node, why)| verdict("reach", Judgement::Warn, format!("{node} cannot be read and will not be touched: {why}")))
        .collect();
    let touched: BTreeSet<_> = context.steps.iter().map(|s| &s.node).collect();
    for node in touched {
        let Some(view) = context.view.node(node.as_str()).filter(|v| v.health == Health::Stale) else { continue };
        let age = view.age(context.view.now).map(show_duration).unwrap_or_default();
        verdicts.push(verdict(
            "reach",
            Judgement::Warn,
            format!("{node} was last read {age} ago: it is read again before anything is sent"),
        ));
    }
    let nothing = context.agent.is_none_or(|a| a.nodes.is_empty() && a.unfit.is_empty());
    if nothing
        && context.steps.is_empty()
        && context.exec.is_none()
        && context.incapable.is_empty()
        && !context.unreachable.is_empty()
    {
        verdicts.push(verdict("reach", Judgement::Never, "no node that this concerns can be read".into()));
    }
    verdicts
}
