//! Stands in for the engine of a node that could not be set up, so that the node is shown with the reason beside the others.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{EngineKind, NodeName, NodeObs};

use super::{Engine, EngineError, Result, Want};

#[derive(Debug)]
pub struct Unusable {
    node: NodeName,
    why: EngineError,
}

impl Unusable {
    pub fn new(node: NodeName, why: EngineError) -> Self {
        Self { node, why }
    }
}

#[async_trait]
impl Engine for Unusable {
    fn kind(&self) -> EngineKind {
        EngineKind::Haproxy
    }
    fn node(&self) -> &NodeName {
        &self.node
    }
    fn identity(&self) -> String {
        format!("unusable:{}", self.node)
    }
    fn source(&self) -> String {
        "nothing: the node could not be set up".into()
    }
    async fn observe(&self, _: Want<'_>, _: Duration) -> Result<NodeObs> {
        Err(self.why.clone())
    }
}
