//! From what the fleet file says of a node to something that can be asked.

use std::sync::Arc;

use crate::config::{Fleet, NodeSpec};
use crate::engine::NodeHandle;
use crate::transport::{Prompt, TransportError};

/// A node that cannot even be set up.
#[derive(Debug, thiserror::Error)]
#[error("node {node}: {source}")]
pub struct ConnectError {
    pub node: String,
    #[source]
    pub source: TransportError,
}

/// One handle a node, in the order of the fleet file. Connects to nothing yet.
pub(super) fn handles(fleet: &Fleet, _prompt: Arc<dyn Prompt>) -> Result<Vec<NodeHandle>, ConnectError> {
    fleet.nodes.iter().map(|spec| handle(spec, fleet)).collect()
}

fn handle(spec: &NodeSpec, _fleet: &Fleet) -> Result<NodeHandle, ConnectError> {
    Ok(NodeHandle { meta: Arc::new(spec.meta.clone()), transport: None, engine: None, lock_dir: spec.lock_dir.clone() })
}
