//! Engines as small capabilities: every engine observes, the rest is optional and says why it is missing.

pub mod handle;
pub mod haproxy;
pub mod inverse;
pub mod keepalived;
pub mod relay;
pub mod unusable;

pub use handle::NodeHandle;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{
    AddServer, Certificate, Change, EngineKind, NodeName, NodeObs, NodeReading, Problem, ServerRef, Session, StickTable,
    StickTableEntry, Target, VrrpObs, Worker, sanitize,
};
use crate::transport::TransportError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The engine said no; its words, sanitised.
    #[error("{at}: {command}: {reply}")]
    Refused { at: String, command: String, reply: String, hint: Option<String> },
    /// The reply makes no sense (truncated, other format).
    #[error("{at}: {what}")]
    Malformed { at: String, what: String },
    /// Socket level or build does not allow it.
    #[error("{at}: {what}")]
    NotAllowed { at: String, what: String, hint: String },
}

impl EngineError {
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport(e) => e.is_transient(),
            Self::Malformed { .. } => true,
            Self::Refused { .. } | Self::NotAllowed { .. } => false,
        }
    }
    /// In words for whoever looks, sanitised.
    pub fn problem(&self) -> Problem {
        Problem {
            what: sanitize(&self.to_string()).into_owned(),
            hint: self.hint().map(|h| sanitize(h).into_owned()),
            retry: self.is_transient(),
        }
    }
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Transport(e) => e.hint(),
            Self::Refused { hint, .. } => hint.as_deref(),
            Self::NotAllowed { hint, .. } => Some(hint),
            Self::Malformed { .. } => None,
        }
    }
}

pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// How much an observation costs: the cheapest that answers the question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want<'a> {
    /// Statistics of everything, admin state, drift: what the console polls.
    All,
    /// One pool only (`show stat` filtered, `show servers state POOL`): what a drain waits on.
    Pool(&'a str),
}

/// One thing that is sent to an engine: exactly these bytes, shown in the plan beforehand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// One line on the statistics socket, without the line feed.
    Socket(String),
    /// The form fields of a POST to the HTTP statistics page.
    HttpForm(Vec<(String, String)>),
    /// One request to the agent's control API. `path` begins after the host; `body` is JSON, empty for none.
    Api { method: ApiMethod, path: String, body: String },
    /// Waits until `show servers conn` says that the server can be removed (HAProxy before 3.0 cannot wait by itself).
    AwaitRemovable(ServerRef),
}

/// Methods that change something by the agent's control API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApiMethod {
    Post,
    Patch,
    Delete,
}

impl ApiMethod {
    pub const fn word(self) -> &'static str {
        match self {
            ApiMethod::Post => "POST",
            ApiMethod::Patch => "PATCH",
            ApiMethod::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Socket(line) => write!(f, "{line}"),
            Command::HttpForm(fields) => {
                write!(f, "POST ")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i == 0 { "" } else { "&" })?;
                }
                Ok(())
            }
            Command::Api { method, path, body } if body.is_empty() => write!(f, "{} {path}", method.word()),
            Command::Api { method, path, body } => write!(f, "{} {path} {body}", method.word()),
            Command::AwaitRemovable(server) => write!(f, "(wait until {server} is removable)"),
        }
    }
}

/// The engine of one node.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {
    fn kind(&self) -> EngineKind;
    fn node(&self) -> &NodeName;
    /// Names the engine among all engines of its host, whoever looks (`haproxy:/run/haproxy/admin.sock`): the key of locks.
    fn identity(&self) -> String;
    /// For people: where data comes from.
    fn source(&self) -> String;

    async fn observe(&self, want: Want<'_>, deadline: Duration) -> Result<NodeObs>;

    /// For engines that tell by themselves; the others are polled.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }
    fn admin(&self) -> Option<&dyn Admin> {
        None
    }
    fn sessions(&self) -> Option<&dyn Sessions> {
        None
    }
    fn tables(&self) -> Option<&dyn Tables> {
        None
    }
    fn certificates(&self) -> Option<&dyn Certificates> {
        None
    }
    fn workers(&self) -> Option<&dyn Workers> {
        None
    }
    fn node_readings(&self) -> Option<&dyn NodeReadings> {
        None
    }
}

/// What moves a node's VIPs, beside its engine.
#[async_trait]
pub trait Vrrp: Send + Sync + fmt::Debug {
    /// Names it on its host, whoever looks: part of the key of locks.
    fn identity(&self) -> String;
    /// For people: where data comes from.
    fn source(&self) -> String;
    /// `anew` asks the daemon even where it told a moment ago.
    async fn observe(&self, anew: bool, deadline: Duration) -> Result<VrrpObs>;
    /// What stands in front of argv that changes it (`sudo -n --`).
    fn rights(&self) -> &'static [&'static str];
}

/// Readings without polling.
#[async_trait]
pub trait Streams: Send + Sync {
    /// Begins to listen: a reading `every` so often, and at once after a change. `deadline` is for the beginning.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the far side is too old to do this: then it is polled.
    async fn follow(&self, every: Duration, deadline: Duration) -> Result<Box<dyn Follow + '_>>;
}

/// Readings as they come.
#[async_trait]
pub trait Follow: Send {
    /// The next one; None where the far side has ended this in order and another process goes on. Nothing is lost where the call is given up.
    async fn next(&mut self) -> Result<Option<NodeObs>>;
}

/// Changes of run-time state.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Pure: the exact commands for a change on what was seen, or why this engine cannot.
    fn encode(&self, target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String>;
    /// The changes that bring back what was seen (and what is known of the file); empty where nothing can (killed sessions).
    fn inverse(&self, target: &Target, change: &Change, seen: &NodeObs) -> Vec<Change>;
    /// Pure: what the inverse cannot bring back, in words for whoever decides; None where it brings all of it back.
    fn lost(&self, _target: &Target, _change: &Change, _seen: &NodeObs) -> Option<String> {
        None
    }
    /// Sends commands in order over as few connections as possible; stops at the first that is refused. Each reply is read.
    async fn send(&self, commands: &[Command], deadline: Duration) -> Result<Vec<String>>;
    /// What the engine would accept for a new server of the pool (static algorithms cannot).
    fn can_add(&self, pool: &str, server: &AddServer, seen: &NodeObs) -> Result<(), String>;
}

#[async_trait]
pub trait Sessions: Send + Sync {
    /// Sessions, at most `limit`, of one server or of all.
    async fn sessions(&self, of: Option<&ServerRef>, limit: usize, deadline: Duration) -> Result<Vec<Session>>;
}

#[async_trait]
pub trait Tables: Send + Sync {
    async fn tables(&self, deadline: Duration) -> Result<Vec<StickTable>>;
    async fn entries(&self, table: &str, limit: usize, deadline: Duration) -> Result<Vec<StickTableEntry>>;
}

#[async_trait]
pub trait Certificates: Send + Sync {
    async fn certificates(&self, deadline: Duration) -> Result<Vec<Certificate>>;
}

#[async_trait]
pub trait Workers: Send + Sync {
    async fn workers(&self, deadline: Duration) -> Result<Vec<Worker>>;
    /// What process `pid` still holds of a server: sessions, queued requests or connections. None of it where the process
    /// has ended or does not know the server.
    async fn left(&self, pid: u32, of: &ServerRef, deadline: Duration) -> Result<u64>;
    /// Ends what process `pid` holds of a server; gives the commands that were sent.
    async fn kill_sessions(&self, pid: u32, of: &ServerRef, deadline: Duration) -> Result<Vec<String>>;
}

/// The node that the engine runs on: load, memory, disks, network, sockets.
#[async_trait]
pub trait NodeReadings: Send + Sync {
    async fn reading(&self, deadline: Duration) -> Result<NodeReading>;
}
