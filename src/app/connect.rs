//! From what the fleet file says of a node to something that can be asked.

use std::sync::Arc;

use crate::config::{Fleet, NodeSpec, Reach};
use crate::engine::haproxy::Haproxy;
use crate::engine::keepalived::Keepalived;
use crate::engine::relay::Relay;
use crate::engine::unusable::Unusable;
use crate::engine::{Engine, EngineError, NodeHandle, Vrrp};
use crate::model::NodeName;
use crate::transport::ssh::{SshEnv, SshTransport};
use crate::transport::{LocalTransport, Prompt, Transport};

/// A node that cannot even be set up (a CA file that is not there, a key that is a folder).
#[derive(Debug)]
pub(super) struct SetupError {
    pub node: NodeName,
    pub source: EngineError,
}

/// One handle a node, or why there is none, in the order of the fleet file. Connects to nothing yet.
pub(super) fn each(fleet: &Fleet, prompt: Arc<dyn Prompt>) -> impl Iterator<Item = Result<NodeHandle, SetupError>> {
    // Shared by all nodes: configuration files, keys and jump hosts are read, unlocked and connected once.
    let ssh = Arc::new(SshEnv::new(prompt));
    fleet
        .nodes
        .iter()
        .map(move |spec| handle(spec, fleet, &ssh).map_err(|source| SetupError { node: spec.meta.name.clone(), source }))
}

/// One handle a node. A node that cannot be set up is there too, as one that answers every question with the reason: one
/// node's fault must not hide the others.
pub(super) fn handles(fleet: &Fleet, prompt: Arc<dyn Prompt>) -> Vec<NodeHandle> {
    fleet
        .nodes
        .iter()
        .zip(each(fleet, prompt))
        .map(|(spec, handle)| {
            handle.unwrap_or_else(|error| NodeHandle {
                meta: Arc::new(spec.meta.clone()),
                transport: None,
                engine: Some(Arc::new(Unusable::new(error.node, error.source))),
                vrrp: None,
                lock_dir: spec.lock_dir.clone(),
            })
        })
        .collect()
}

fn handle(spec: &NodeSpec, fleet: &Fleet, ssh: &Arc<SshEnv>) -> Result<NodeHandle, EngineError> {
    let transport: Option<Arc<dyn Transport>> = match &spec.reach {
        Reach::Ssh(over) => Some(Arc::new(SshTransport::new(over, ssh.clone())?)),
        Reach::Local => Some(Arc::new(LocalTransport)),
        Reach::None => None,
    };
    let (name, settings) = (spec.meta.name.clone(), &fleet.settings);
    let vrrp: Option<Arc<dyn Vrrp>> = match (&spec.keepalived, &transport) {
        (Some(keepalived), Some(transport)) => {
            Some(Arc::new(Keepalived::new(name.clone(), keepalived, Arc::clone(transport), settings)))
        }
        _ => None,
    };
    let engine: Option<Arc<dyn Engine>> = match (&spec.haproxy, &spec.relay) {
        (Some(haproxy), _) => Some(Arc::new(Haproxy::new(name, haproxy, transport.clone(), settings)?)),
        (None, Some(relay)) => Some(Arc::new(Relay::new(name, relay, transport.clone(), settings)?)),
        (None, None) => None,
    };
    Ok(NodeHandle { meta: Arc::new(spec.meta.clone()), transport, engine, vrrp, lock_dir: spec.lock_dir.clone() })
}
