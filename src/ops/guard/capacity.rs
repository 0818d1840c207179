//! Capacity: what would be left to serve, on each node and over the fleet. Never takes the last healthy server out.
//!
//! Counted are servers that take traffic now (ready, healthy, with a weight), without all that the plan takes out at once.
//! Backup servers carry traffic only when no other server does, and then HAProxy uses one of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::MinHealthy;
use crate::model::{Health, NodeName, PoolName, PoolObs, ServerName};
use crate::ops::planner::counted;
use crate::ops::{Judgement, Verdict};

use super::{Context, seen, some_names, taken_out, verdict};

/// The floor where the fleet file gives none.
const DEFAULT_FLOOR: MinHealthy = MinHealthy::Count(1);

/// What a pool has on one node, with and without the servers that are taken out.
struct Count {
    before: usize,
    after: usize,
    /// After it only backup servers are left.
    on_backup: bool,
    floor: usize,
    total: usize,
}

fn count(pool: &PoolObs, taken: &BTreeSet<&ServerName>, floor: MinHealthy) -> Count {
    let effective = |without: &dyn Fn(&ServerName) -> bool| {
        let (mut active, mut backup) = (0, 0);
        for server in pool.servers.iter().filter(|s| s.is_serving() && !without(&s.name)) {
            if server.backup { backup += 1 } else { active += 1 }
        }
        if active > 0 { (active, false) } else { (usize::from(backup > 0), backup > 0) }
    };
    let (before, was_on_backup) = effective(&|_| false);
    let (after, on_backup) = effective(&|name| taken.contains(name));
    let active = pool.servers.iter().filter(|s| !s.backup).count();
    let total = if active > 0 { active } else { pool.servers.len() };
    Count { before, after, on_backup: on_backup && !was_on_backup, floor: floor.of(total), total }
}

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let mut by_pool: BTreeMap<&PoolName, Vec<(&NodeName, BTreeSet<&ServerName>)>> = BTreeMap::new();
    for ((node, pool), servers) in taken_out(context.steps) {
        by_pool.entry(pool).or_default().push((node, servers));
    }
    by_pool.into_iter().flat_map(|(pool, nodes)| check_pool(context, pool, &nodes)).collect()
}

fn check_pool(context: &Context<'_>, pool: &PoolName, nodes: &[(&NodeName, BTreeSet<&ServerName>)]) -> Vec<Verdict> {
    let floor = context.known.fleet.policy(pool).and_then(|p| p.min_healthy).unwrap_or(DEFAULT_FLOOR);
    let (mut last, mut below, mut on_backup) = (Vec::new(), Vec::new(), Vec::new());
    let mut fewest: Option<(Count, &NodeName)> = None;
    for (node, taken) in nodes {
        let Some(seen) = seen(context, node).and_then(|o| o.pool(pool.as_str())) else { continue };
        let count = count(seen, taken, floor);
        // What serves nothing now takes nothing away.
        if count.after < count.before || count.on_backup {
            if count.after == 0 {
                last.push(*node);
            } else if count.after < count.floor {
                below.push((*node, count.after, count.floor, count.total));
            }
        }
        if count.on_backup {
            on_backup.push(*node);
        }
        if fewest.as_ref().is_none_or(|(c, _)| count.after < c.after) {
            fewest = Some((count, node));
        }
    }
    let mut verdicts = Vec::new();
    if !last.is_empty() {
        let text = format!("this would take the last healthy server of {pool} out on {}", some_names(last.iter().copied()));
        verdicts.push(verdict("capacity", Judgement::Never, text));
    }
    if let Some((_, after, floor, total)) = below.iter().min_by_key(|(_, after, ..)| *after) {
        let text = format!(
            "{pool} would have {} of {total} in service on {}; min_healthy asks for {floor}",
            counted(*after, "server"),
            some_names(below.iter().map(|(node, ..)| *node))
        );
        verdicts.push(verdict("capacity", Judgement::Refuse, text));
    }
    verdicts.extend(check_sum(context, pool, nodes, floor));
    if !on_backup.is_empty() && last.is_empty() {
        let text = format!("only backup servers of {pool} would be left on {}", some_names(on_backup.iter().copied()));
        verdicts.push(verdict("capacity", Judgement::Warn, text));
    }
    if let Some((count, node)) = fewest.filter(|_| verdicts.is_empty()) {
        let text = if count.before == 0 {
            format!("{pool} has no server in service on {node} already")
        } else {
            format!(
                "{pool} keeps at least {} of {} in service on each of {} (floor {})",
                counted(count.after, "server"),
                count.total,
                counted(nodes.len(), "node"),
                count.floor
            )
        };
        let judgement = if count.before == 0 { Judgement::Warn } else { Judgement::Ok };
        verdicts.push(verdict("capacity", judgement, text));
    }
    verdicts
}

/// Over the fleet: a server counts while at least one node still sends it traffic.
fn check_sum(
    context: &Context<'_>,
    pool: &PoolName,
    nodes: &[(&NodeName, BTreeSet<&ServerName>)],
    floor: MinHealthy,
) -> Option<Verdict> {
    let taken: BTreeMap<&NodeName, &BTreeSet<&ServerName>> = nodes.iter().map(|(node, servers)| (*node, servers)).collect();
    let (mut all, mut before, mut after) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    // A node that cannot be read proves nothing about who serves.
    for node in context.view.nodes.iter().filter(|n| matches!(n.health, Health::Fresh | Health::Stale)) {
        let Some(seen) = node.last.as_deref().and_then(|o| o.pool(pool.as_str())) else { continue };
        for server in seen.servers.iter().filter(|s| !s.backup) {
            all.insert(&server.name);
            if server.is_serving() {
                before.insert(&server.name);
                if !taken.get(&node.meta.name).is_some_and(|t| t.contains(&server.name)) {
                    after.insert(&server.name);
                }
            }
        }
    }
    let floor = floor.of(all.len());
    (after.len() < before.len() && after.len() < floor && !after.is_empty()).then(|| {
        let text = format!(
            "{pool} would have {} of {} in service over the whole fleet; min_healthy asks for {floor}",
            counted(after.len(), "server"),
            all.len()
        );
        verdict("capacity", Judgement::Refuse, text)
    })
}
