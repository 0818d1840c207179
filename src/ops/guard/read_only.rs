//! Read-only mode of the fleet and of pools. Nothing overrides it.

use std::collections::BTreeSet;

use crate::ops::{Judgement, Verdict};

use super::{Context, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let fleet = context.known.fleet;
    if fleet.settings.read_only {
        let text = format!("the fleet is read-only (`read_only` in {})", fleet.path.display());
        return vec![verdict("read-only", Judgement::Never, text)];
    }
    let pools: BTreeSet<_> = context.steps.iter().filter_map(|s| s.target.pool()).collect();
    pools
        .into_iter()
        .filter_map(|pool| fleet.policy(pool).filter(|p| p.read_only).map(|policy| (pool, policy)))
        .map(|(pool, policy)| {
            verdict("read-only", Judgement::Never, format!("pool {pool} is read-only (policy for '{}')", policy.pool))
        })
        .collect()
}
