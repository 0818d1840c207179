//! What the store holds, as the layers above see it: who acted, operations, their journal, leases.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Change, Exit, NodeName, PoolName, Target, sanitize};

/// Who acts, and from where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Who {
    pub user: String,
    /// The machine that lbdeck runs on.
    pub host: String,
    /// `tty /dev/pts/3`, `ssh 10.0.0.9`, `cron` … whatever the environment tells.
    pub from: String,
}

impl Who {
    /// The person and place behind this process: behind `sudo` it is the one who called it.
    pub fn here() -> Who {
        let user = std::env::var("SUDO_USER")
            .ok()
            .filter(|name| !name.is_empty())
            .or_else(|| nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|u| u.name))
            .unwrap_or_else(|| nix::unistd::getuid().to_string());
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let terminal = nix::unistd::ttyname(std::io::stdin()).ok().map(|path| path.display().to_string());
        let client = std::env::var("SSH_CONNECTION").ok().and_then(|c| c.split(' ').next().map(str::to_owned));
        let from = match (client, terminal) {
            (Some(client), Some(tty)) => format!("ssh {client} {tty}"),
            (Some(client), None) => format!("ssh {client}"),
            (None, Some(tty)) => format!("tty {tty}"),
            (None, None) => "no terminal".to_owned(),
        };
        Who { user: sanitize(&user).into_owned(), host: sanitize(&host).into_owned(), from: sanitize(&from).into_owned() }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    Running,
    Finished,
    /// Its process died before it could finish; its changes may still hold.
    Abandoned,
}

/// One line of the audit: an operation from its start to its outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    pub id: i64,
    pub began: Timestamp,
    pub ended: Option<Timestamp>,
    pub who: Who,
    pub state: OperationState,
    /// `drain app/web1`.
    pub summary: String,
    pub reason: Option<String>,
    pub pools: Vec<PoolName>,
    /// None until it has finished.
    pub exit: Option<Exit>,
    /// The request, the plan and the outcome as they were, in JSON.
    pub request: serde_json::Value,
    pub plan: serde_json::Value,
    pub outcome: Option<serde_json::Value>,
    /// What became of the line for each node's own syslog.
    pub syslog: Option<String>,
}

/// Which operations to list; `None` means any. Newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub since: Option<Timestamp>,
    pub pool: Option<String>,
    /// A user, or `user@host`.
    pub who: Option<String>,
    /// At most so many (default 100).
    pub limit: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// Written before anything is sent: it may or may not have been.
    Intent,
    Done,
    Failed,
    Undone,
}

/// One change of one target on one node, with what brings the earlier state back.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct JournalEntry {
    /// Order within the operation, from 0.
    pub seq: u32,
    pub node: NodeName,
    pub target: Target,
    pub change: Change,
    pub inverse: Vec<Change>,
    pub state: JournalState,
    pub text: Option<String>,
}

/// An operation whose process is gone before it finished: what it may have left behind.
#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    pub operation: i64,
    pub summary: String,
    pub who: Who,
    pub began: Timestamp,
    pub reason: Option<String>,
    /// Changes that were about to be sent or were sent, and were not undone.
    pub left: Vec<JournalEntry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    Open,
    Returned,
    /// Somebody else changed the server since: it was left as it is.
    Overtaken,
}

/// What a lease holds on one node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LeaseHold {
    pub node: NodeName,
    /// What was done here last (a drain may have ended in maintenance).
    pub change: Change,
    /// What gives the earlier state back, in order.
    pub inverse: Vec<Change>,
    pub state: LeaseState,
    pub returned_at: Option<Timestamp>,
}

/// A change that is to be given back: at its end, by `lease return`, `undo` or `ready`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The same on every node and every machine (8 hexadecimal digits).
    pub id: String,
    /// The operation in this machine's store; None where another machine made it.
    pub operation: Option<i64>,
    pub target: Target,
    /// What was done (`drain`).
    pub change: Change,
    pub who: Who,
    pub reason: Option<String>,
    pub made: Timestamp,
    /// None: held until somebody returns it.
    pub ends: Option<Timestamp>,
    pub holds: Vec<LeaseHold>,
}

impl Lease {
    pub fn is_open(&self) -> bool {
        self.holds.iter().any(|h| h.state == LeaseState::Open)
    }
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
    /// Time left; None without an end, zero once it has passed.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.ends.map(|ends| Duration::try_from(ends.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}
