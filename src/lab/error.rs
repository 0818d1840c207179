//! Why the lab could not start or its proof failed, in words that say how to mend it.

use std::io;
use std::path::PathBuf;

use crate::model::Exit;

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("haproxy was not found{}", tried.as_ref().map(|p| format!(" at {}", p.display())).unwrap_or_default())]
    NoHaproxy { tried: Option<PathBuf> },
    #[error("the temporary folder {folder}: {why}")]
    Folder { folder: PathBuf, why: String },
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error("making SSH keys: {0}")]
    Key(String),
    #[error("haproxy of {node} did not come up: {said}")]
    Haproxy { node: String, said: String },
    #[error("the console could not open the lab's fleet: {0}")]
    Open(String),
    #[error("after {after_s} s the lab is not healthy: {what}")]
    NotHealthy { after_s: u64, what: String },
    /// A step of the proof did not hold.
    #[error("{0}")]
    Proof(String),
}

impl LabError {
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoHaproxy { tried: None } => Some("the lab runs real haproxy; as root: apt-get install haproxy"),
            Self::NoHaproxy { tried: Some(_) } => {
                Some("leave out --haproxy to use the one in PATH; as root: apt-get install haproxy")
            }
            Self::Folder { .. } => Some("set TMPDIR to a folder that you may write to, with a short path without quotes"),
            Self::Haproxy { .. } => {
                Some("another process may have taken a port in that moment: try again; --keep leaves logs and configuration")
            }
            Self::NotHealthy { .. } => Some("the machine may be very busy; --keep leaves logs and configuration"),
            Self::Io { .. } | Self::Key(_) | Self::Open(_) | Self::Proof(_) => None,
        }
    }

    pub fn exit(&self) -> Exit {
        Exit::Failed
    }

    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
