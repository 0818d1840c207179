//! From a selector to servers on nodes. A word that matches nothing is an error that names what comes nearest.

use std::sync::Arc;

use crate::model::{FleetView, NodeView, ServerRef};

use super::{Matcher, PlanError, Selector};

/// Names nearer than this (Jaro-Winkler) are offered instead of one that was not found.
const NEAR: f64 = 0.75;

/// A server on a node, as the selector found it.
pub struct Found<'v> {
    pub node: &'v Arc<NodeView>,
    pub server: ServerRef,
}

fn matcher(selector: Selector) -> Result<Matcher, PlanError> {
    selector
        .matcher()
        .map_err(|what| PlanError::Invalid { what, hint: Some("write POOL/SERVER; globs know *, ?, [ab] and {a,b}".into()) })
}

/// The nodes that the selector's node conditions leave, in the order of the fleet file.
pub fn nodes<'v>(selector: &Selector, view: &'v FleetView) -> Result<Vec<&'v Arc<NodeView>>, PlanError> {
    let left = |selector: Selector| -> Result<Vec<&'v Arc<NodeView>>, PlanError> {
        let matcher = matcher(selector)?;
        Ok(view.nodes.iter().filter(|n| matcher.node(&n.meta)).collect())
    };
    for word in &selector.nodes {
        if left(Selector { nodes: vec![word.clone()], ..Selector::default() })?.is_empty() {
            let names = view
                .nodes
                .iter()
                .flat_map(|n| std::iter::once(n.meta.name.as_str()).chain(n.meta.groups.iter().map(String::as_str)));
            return Err(not_found("node or group", word, names, ""));
        }
    }
    let metas = || view.nodes.iter().map(|n| &n.meta);
    if let Some(zone) = selector.zone.as_deref().filter(|z| !metas().any(|m| m.zone.as_deref() == Some(z))) {
        return Err(not_found("zone", zone, metas().filter_map(|m| m.zone.as_deref()), ""));
    }
    if let Some(role) = selector.role.as_deref().filter(|r| !metas().any(|m| m.role.as_deref() == Some(r))) {
        return Err(not_found("role", role, metas().filter_map(|m| m.role.as_deref()), ""));
    }
    if let Some(tag) = selector.tag.as_deref().filter(|t| !metas().any(|m| m.tags.iter().any(|x| x == t))) {
        return Err(not_found("tag", tag, metas().flat_map(|m| m.tags.iter().map(String::as_str)), ""));
    }
    let chosen = left(selector.clone())?;
    if chosen.is_empty() {
        let hint = if view.nodes.is_empty() { "the fleet file names no node" } else { "leave one of the conditions out" };
        return Err(PlanError::NotFound { what: "no node meets all conditions".into(), hint: Some(hint.into()) });
    }
    Ok(chosen)
}

/// Every server that the selector means on the nodes given. Nodes that were never read contribute nothing.
pub fn servers<'v>(selector: &Selector, nodes: &[&'v Arc<NodeView>]) -> Result<Vec<Found<'v>>, PlanError> {
    if selector.names_no_server() {
        return Err(PlanError::Invalid {
            what: "no server was named".into(),
            hint: Some("give POOL/SERVER (globs are fine) or --address".into()),
        });
    }
    let unread: Vec<&str> = nodes.iter().filter(|n| n.last.is_none()).map(|n| n.meta.name.as_str()).collect();
    if unread.len() == nodes.len() {
        let problem = nodes.iter().find_map(|n| n.problem.as_ref());
        let why = problem.map(|p| format!(": {}", p.what)).unwrap_or_default();
        return Err(PlanError::Unreachable {
            what: format!("no node could be read ({}){why}", unread.join(", ")),
            hint: problem.and_then(|p| p.hint.clone()),
        });
    }
    let on = match unread.as_slice() {
        [] => String::new(),
        names => format!(" on the nodes that could be read (not: {})", names.join(", ")),
    };
    for word in &selector.servers {
        let one = matcher(Selector { servers: vec![word.clone()], ..Selector::default() })?;
        if found(&one, nodes).is_empty() {
            let known = names(nodes, word.contains('/'));
            return Err(not_found("server", word, known.iter().map(String::as_str), &on));
        }
    }
    if let Some(address) = &selector.address {
        let one = matcher(Selector { address: Some(address.clone()), ..Selector::default() })?;
        if found(&one, nodes).is_empty() {
            return Err(PlanError::NotFound {
                what: format!("no server has the address {address}{on}"),
                hint: Some("`lbdeck server list -o wide` shows every address".into()),
            });
        }
    }
    let found = found(&matcher(selector.clone())?, nodes);
    if found.is_empty() {
        return Err(PlanError::NotFound {
            what: format!("no server has both that name and that address{on}"),
            hint: Some("leave one of the conditions out".into()),
        });
    }
    Ok(found)
}

fn found<'v>(matcher: &Matcher, nodes: &[&'v Arc<NodeView>]) -> Vec<Found<'v>> {
    let mut found = Vec::new();
    for node in nodes {
        for pool in node.last.iter().flat_map(|o| &o.pools) {
            let servers = pool.servers.iter().filter(|s| matcher.server(pool.name.as_str(), s));
            found.extend(servers.map(|s| Found { node, server: ServerRef { pool: pool.name.clone(), server: s.name.clone() } }));
        }
    }
    found
}

fn names(nodes: &[&Arc<NodeView>], with_pool: bool) -> Vec<String> {
    let mut names: Vec<String> = nodes
        .iter()
        .flat_map(|n| n.last.iter().flat_map(|o| &o.pools))
        .flat_map(|p| {
            p.servers.iter().map(move |s| if with_pool { format!("{}/{}", p.name, s.name) } else { s.name.to_string() })
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn not_found<'a>(what: &str, text: &str, names: impl Iterator<Item = &'a str>, place: &str) -> PlanError {
    let mut near: Vec<(f64, &str)> =
        names.map(|n| (strsim::jaro_winkler(text, n), n)).filter(|(score, _)| *score > NEAR).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup();
    let near: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
    PlanError::NotFound {
        what: format!("no {what} '{text}'{place}"),
        hint: (!near.is_empty()).then(|| format!("did you mean {}?", near.join(", "))),
    }
}
