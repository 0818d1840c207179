//! What the agent needs of a data plane. The relay is one; the agent itself knows no other.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::relay::wire::{self, Applied, NewServer, ServerChange};
use crate::model::ServerRef;

use super::events::Events;

/// Why the data plane did not do what was asked. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    /// It is there already, still in use, or somebody else was faster.
    #[error("{0}")]
    Conflict(String),
    /// A configuration that is wrong, each place in words with file, line and column.
    #[error("the configuration is wrong in {} place{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Config(Vec<String>),
    /// The system refused (address in use, too many open files).
    #[error("{0}")]
    System(String),
}

/// What an operator asked of one server; it outlives restarts, reboots and configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerMemory {
    /// Set where the server was added at run time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<NewServer>,
    pub set: ServerChange,
}

/// By `pool/server`.
pub type Memories = BTreeMap<String, ServerMemory>;

/// What is known of one server's health by checks and by traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerHealth {
    /// Where clients are sent to: what is known of another address says nothing.
    pub address: String,
    /// What checks ask, in words; empty where there are none.
    pub check: String,
    /// By checks; None before the first.
    pub up: Option<bool>,
    /// Milliseconds since its state last changed.
    pub held_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<wire::Check>,
    /// Ejected for failing requests until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_until: Option<Timestamp>,
    /// How often in a row.
    pub ejections: u32,
}

/// What is known of servers at one moment, for the next process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healths {
    pub at: Timestamp,
    /// By `pool/server`.
    pub servers: BTreeMap<String, ServerHealth>,
}

/// A listening socket on its way from one process to the next, with a name that is the same in both.
pub type HandedSocket = (String, OwnedFd);

/// What is seen of the data plane at one moment.
#[derive(Debug, Default)]
pub struct Picture {
    pub listeners: Vec<wire::Listener>,
    pub routes: Vec<wire::Route>,
    pub pools: Vec<wire::Pool>,
    pub notes: Vec<String>,
}

/// A data plane that runs.
#[async_trait]
pub trait Plane: Send + Sync {
    /// Everything, or one pool with its servers alone.
    fn picture(&self, pool: Option<&str>) -> Picture;
    /// What is known of servers, for the next process.
    fn health(&self) -> Healths;
    /// All of the change or nothing.
    fn change_server(&self, at: &ServerRef, change: &ServerChange) -> Result<(), PlaneError>;
    fn add_server(&self, at: &ServerRef, server: &NewServer) -> Result<(), PlaneError>;
    /// Refused while anything is in use.
    fn remove_server(&self, at: &ServerRef) -> Result<(), PlaneError>;
    fn enable_listener(&self, name: &str, enabled: bool) -> Result<(), PlaneError>;
    /// At most `limit`, of one server or of all.
    async fn sessions(&self, of: Option<&ServerRef>, limit: usize) -> Vec<wire::Session>;
    /// False where there is no such session.
    async fn kill_session(&self, id: &str) -> bool;
    /// How many were ended.
    async fn kill_sessions(&self, of: &ServerRef) -> Result<usize, PlaneError>;
    fn certificates(&self) -> Vec<wire::Certificate>;
    /// Replaces the configuration as a whole, without a dropped connection; a wrong one changes nothing.
    async fn apply(&self, text: &str) -> Result<Applied, PlaneError>;
    /// Prometheus' text format.
    fn metrics(&self) -> String;
    /// Copies of all listening sockets, for the next process.
    fn sockets(&self) -> std::io::Result<Vec<HandedSocket>>;
    /// Forgets what is cached of a host (of all where `None`) at or below a path; how many responses that were.
    fn purge(&self, host: Option<&str>, path: &str) -> usize;
    /// Stops accepting, lets what is established end (kept connections without a request within `idle`), cuts what is left at the deadline.
    /// How many were cut.
    async fn finish(&self, idle: Duration, deadline: Duration) -> usize;
}

/// Starts data planes and judges their configuration.
#[async_trait]
pub trait Planes: Send + Sync {
    /// What a configuration would change on a running plane (or on none), without doing it.
    fn validate(&self, text: &str, running: Option<&dyn Plane>) -> Result<Applied, PlaneError>;
    /// Begins with what a process before this one knew of servers. Takes over `sockets` whose address the configuration still names and closes the others. What happens by itself from then on is told to
    /// `events`.
    async fn start(
        &self,
        text: &str,
        memories: &Memories,
        known: Healths,
        sockets: Vec<HandedSocket>,
        events: Arc<Events>,
    ) -> Result<Arc<dyn Plane>, PlaneError>;
}
