//! A node as the upper layers hold it: what the fleet file says, how it is reached, what runs on it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{NodeMeta, NodeName};
use crate::transport::Transport;

use super::{Engine, Vrrp};

#[derive(Clone, Debug)]
pub struct NodeHandle {
    pub meta: Arc<NodeMeta>,
    /// None where the node is only known over HTTP or TCP: it then has no place for locks and no commands.
    pub transport: Option<Arc<dyn Transport>>,
    pub engine: Option<Arc<dyn Engine>>,
    /// keepalived, where the fleet file names it.
    pub vrrp: Option<Arc<dyn Vrrp>>,
    pub lock_dir: PathBuf,
}

impl NodeHandle {
    pub fn name(&self) -> &NodeName {
        &self.meta.name
    }
}
