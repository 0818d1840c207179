//! What only shows over all nodes: policies that guard nothing, groups that hold nobody. Pure.

use std::collections::BTreeSet;

use crate::config::Fleet;
use crate::model::NodeObs;

use super::{Finding, Findings};

/// `seen` are the engines that could be read, `unread` how many could not: pools that only those have are not known.
pub fn check_fleet(fleet: &Fleet, seen: &[&NodeObs], unread: usize) -> Vec<Finding> {
    let mut found = Findings::new(None);
    found.ok("file", format!("{}: {} nodes, {} policies", fleet.path.display(), fleet.nodes.len(), fleet.policies.len()));
    let pools: BTreeSet<&str> = seen.iter().flat_map(|o| o.pools.iter().map(|p| p.name.as_str())).collect();
    for policy in &fleet.policies {
        let Ok(glob) = globset::Glob::new(&policy.pool) else { continue };
        let matcher = glob.compile_matcher();
        if pools.iter().any(|p| matcher.is_match(p)) {
            continue;
        }
        let doubt =
            if unread > 0 { format!(" among those of the nodes that could be read ({unread} could not)") } else { String::new() };
        let remedy = match crate::config::nearest(&policy.pool, pools.iter().copied()) {
            Some(pool) => format!("did you mean '{pool}'?"),
            None => "see `lbdeck pool list` for the names; until then the policy guards nothing".to_owned(),
        };
        found.warn("policies", format!("the policy for '{}' matches no pool{doubt}", policy.pool), remedy);
    }
    for group in &fleet.groups {
        if !fleet.nodes.iter().any(|n| n.meta.groups.contains(group)) {
            found.warn("groups", format!("the group '{group}' holds no node"), "name its nodes, or remove it");
        }
    }
    found.found
}
