//! The relay as the agent's data plane.

use std::sync::Arc;

use async_trait::async_trait;

use crate::engine::relay::wire::Applied;

use super::plane::{HandedSocket, Memories, Plane, PlaneError, Planes};

/// Starts relays.
#[derive(Debug, Default)]
pub struct RelayPlanes;

#[async_trait]
impl Planes for RelayPlanes {
    fn validate(&self, _: &str, _: Option<&dyn Plane>) -> Result<Applied, PlaneError> {
        Err(PlaneError::Invalid("this build has no relay yet".to_owned()))
    }
    async fn start(&self, _: &str, _: &Memories, _: Vec<HandedSocket>) -> Result<Arc<dyn Plane>, PlaneError> {
        Err(PlaneError::Invalid("this build has no relay yet".to_owned()))
    }
}
