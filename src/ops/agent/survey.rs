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

/// A node, and the way to run commands on it where there is one.
pub type Reached = (NodeName, Option<Arc<dyn Transport>>);

/// The selected nodes with their transports, in the order of the fleet file.
pub fn selected(inner: &Inner, selector: &Selector, view: &FleetView) -> Result<Vec<Reached>, PlanError> {
    let nodes = targets::nodes(selector, view)?;
    Ok(nodes
        .into_iter()
        .map(|n| {
            let name = n.meta.name.clone();
            let transport = inner.node(&name).and_then(|h| h.transport.clone());
            (name, transport)
        })
        .collect())
}

/// Looks at every selected node.
pub async fn survey(inner: &Inner, selector: &Selector, paths: &AgentPaths, view: &FleetView) -> Result<Vec<Seen>, PlanError> {
    let nodes = selected(inner, selector, view)?;
    Ok(join_all(nodes.into_iter().map(|(name, transport)| async move {
        let seen = match transport {
            Some(transport) => facts::look(transport.as_ref(), paths).await,
            None => Err(FarError::Wrong { what: "there is no way to run commands there (neither ssh nor local)".into() }),
        };
        (name, seen)
    }))
    .await)
}
