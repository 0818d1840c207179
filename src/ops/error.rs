//! Why no plan could be made: nothing was sent, nothing was locked.

use crate::model::Exit;
use crate::store::StoreError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum PlanError {
    /// A selector, name or value that makes no sense.
    #[error("{what}")]
    Invalid { what: String, hint: Option<String> },
    /// The selector matched nothing that is known.
    #[error("{what}")]
    NotFound { what: String, hint: Option<String> },
    /// No node could be read, so nothing is known.
    #[error("{what}")]
    Unreachable { what: String, hint: Option<String> },
    /// There is nothing left to do (an operation that was undone already).
    #[error("{what}")]
    Nothing { what: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PlanError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Invalid { .. } | Self::NotFound { .. } => Exit::InvalidInput,
            Self::Unreachable { .. } | Self::Store(_) => Exit::Failed,
            Self::Nothing { .. } => Exit::Ok,
        }
    }
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid { hint, .. } | Self::NotFound { hint, .. } | Self::Unreachable { hint, .. } => hint.clone(),
            Self::Nothing { .. } => None,
            Self::Store(e) => Some(e.hint()),
        }
    }
}
