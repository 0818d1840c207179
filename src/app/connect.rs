//! From what the fleet file says of a node to something that can be asked.

use std::sync::Arc;

use crate::config::{Fleet, NodeSpec, Reach};
use crate::engine::haproxy::Haproxy;
use crate::engine::{Engine, EngineError, NodeHandle};
use crate::transport::ssh::{SshEnv, SshTransport};
use crate::transport::{LocalTransport, Prompt, Transport};

/// A node that cannot even be set up.
#[derive(Debug, thiserror::Error)]
#[error("node {node}: {source}")]
pub struct ConnectError {
    pub node: String,
    #[source]
    pub source: EngineError,
}

/// One handle a node, in the order of the fleet file. Connects to nothing yet.
pub(super) fn handles(fleet: &Fleet, prompt: Arc<dyn Prompt>) -> Result<Vec<NodeHandle>, ConnectError> {
    // Shared by all nodes: configuration files, keys and jump hosts are read, unlocked and connected once.
    let ssh = Arc::new(SshEnv::new(prompt));
    fleet
        .nodes
        .iter()
        .map(|spec| handle(spec, fleet, &ssh).map_err(|source| ConnectError { node: spec.meta.name.to_string(), source }))
        .collect()
}

fn handle(spec: &NodeSpec, fleet: &Fleet, ssh: &Arc<SshEnv>) -> Result<NodeHandle, EngineError> {
    let transport: Option<Arc<dyn Transport>> = match &spec.reach {
        Reach::Ssh(over) => Some(Arc::new(SshTransport::new(over, ssh.clone())?)),
        Reach::Local => Some(Arc::new(LocalTransport)),
        Reach::None => None,
    };
    let engine: Option<Arc<dyn Engine>> = match &spec.haproxy {
        Some(haproxy) => Some(Arc::new(Haproxy::new(spec.meta.name.clone(), haproxy, transport.clone(), &fleet.settings)?)),
        None => None,
    };
    Ok(NodeHandle { meta: Arc::new(spec.meta.clone()), transport, engine, lock_dir: spec.lock_dir.clone() })
}
