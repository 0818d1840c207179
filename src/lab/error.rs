//! Why the lab could not start or its proof failed, in words that say how to mend it.

use std::io;
use std::path::PathBuf;

use crate::model::Exit;

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("haproxy was not found{}", tried.as_ref().map(|p| format!(" at {}", p.display())).unwrap_or_default())]
    NoHaproxy { tried: Option<PathBuf> },
    #[error("--haproxy names a program that --engine relay does not run")]
    HaproxyOnRelay,
    #[error("--agent {}: is no file", tried.display())]
    NoBuild { tried: PathBuf },
    /// The verb that failed has told why.
    #[error("the agent of {node} was not installed")]
    Agent { node: String },
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
            Self::NoHaproxy { tried: None } => {
                Some("without --engine haproxy nothing needs to be installed; as root: apt-get install haproxy")
            }
            Self::NoHaproxy { tried: Some(_) } => {
                Some("leave out --haproxy to use the one in PATH; as root: apt-get install haproxy")
            }
            Self::HaproxyOnRelay => Some("leave out --haproxy, or say --engine haproxy"),
            Self::Agent { .. } => Some(
                "its words are above; another process may have taken a port in that moment: try again; --keep leaves logs behind",
            ),
            Self::Folder { .. } => {
                Some("set TMPDIR to a folder with room that you may write to, with a short path without quotes")
            }
            Self::Haproxy { .. } => {
                Some("another process may have taken a port in that moment: try again; --keep leaves logs and configuration")
            }
            Self::NotHealthy { .. } => Some("the machine may be very busy; --keep leaves logs and configuration"),
            Self::NoBuild { .. } => Some("leave out --agent to install this program"),
            Self::Io { .. } | Self::Key(_) | Self::Open(_) | Self::Proof(_) => None,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::HaproxyOnRelay | Self::NoBuild { .. } => Exit::InvalidInput,
            _ => Exit::Failed,
        }
    }

    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
