//! Looks at the agent on many nodes side by side, for plans and for `agent status`.

use std::sync::Arc;

use futures::future::join_all;

use crate::config::AgentPaths;
use crate::model::{FleetView, NodeName};
use crate::ops::inner::Inner;
use crate::ops::{PlanError, Selector, targets};
use crate::transport::Transport;

use super::facts::{self, NodeFacts};
use super::far::FarError;

/// One node, and what was seen of it.
pub type Seen = (NodeName, Result<NodeFacts, FarError>);

/// A node, the way to run commands on it where there is one, and where things are there.
pub type Reached = (NodeName, Option<Arc<dyn Transport>>, AgentPaths);

/// The selected nodes with their transports, in the order of the fleet file.
pub fn selected(inner: &Inner, selector: &Selector, paths: &AgentPaths, view: &FleetView) -> Result<Vec<Reached>, PlanError> {
    let nodes = targets::nodes(selector, view)?;
    Ok(nodes
        .into_iter()
        .map(|n| {
            let name = n.meta.name.clone();
            let handle = inner.node(&name);
            let transport = handle.and_then(|h| h.transport.clone());
            let paths = handle.map_or_else(|| paths.clone(), |h| paths.clone().with_locks_in(&h.lock_dir));
            (name, transport, paths)
        })
        .collect())
}

/// Looks at every selected node.
pub async fn survey(inner: &Inner, selector: &Selector, paths: &AgentPaths, view: &FleetView) -> Result<Vec<Seen>, PlanError> {
    let nodes = selected(inner, selector, paths, view)?;
    Ok(join_all(nodes.into_iter().map(|(name, transport, paths)| async move {
        let seen = match transport {
            Some(transport) => facts::look(transport.as_ref(), &paths).await,
            None => Err(FarError::Wrong { what: "there is no way to run commands there (neither ssh nor local)".into() }),
        };
        (name, seen)
    }))
    .await)
}
