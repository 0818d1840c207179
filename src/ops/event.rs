//! What happens while an operation runs. TUI, CLI and JSON output render the same events.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Exit, NodeName, Target};

#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Number of the operation in the store.
    pub operation: i64,
    pub at: Timestamp,
    pub node: Option<NodeName>,
    pub target: Option<Target>,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    Started {
        summary: String,
    },
    Locked {
        token: u64,
    },
    /// The node has no place for a lock; only this machine's store excludes others.
    LockedHereOnly {
        why: String,
    },
    Sent {
        command: String,
        reply: String,
    },
    /// The change was seen to hold by observing again.
    Verified {
        state: String,
    },
    /// Part of a step is done; bytes.
    Progress {
        what: String,
        done: u64,
        total: u64,
    },
    Waiting {
        sessions: u64,
        queue: u64,
        connections: Option<u64>,
        /// Worked out from the rate at which sessions left so far.
        eta: Option<Duration>,
        waited: Duration,
    },
    /// No session, no queued request, no connection in use.
    Drained {
        after: Duration,
        /// What nobody could look at, in words: the proof does not cover it.
        unseen: Option<String>,
    },
    /// The change was lost behind our back (reload, another operator); `again` when it was done once more.
    Lost {
        what: String,
        again: bool,
    },
    DeadlineReached {
        left: u64,
        then: String,
    },
    Warning {
        text: String,
    },
    Failed {
        error: String,
        hint: Option<String>,
    },
    Returned,
    /// A line that a command on the node wrote (`stdout` or `stderr`), sanitised.
    Output {
        stream: &'static str,
        line: String,
    },
    Finished {
        outcome: Outcome,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeResult {
    Done,
    Already,
    /// Accepted, but sessions were left.
    NotDrained,
    Unreachable,
    Failed,
    Returned,
    /// Not begun because the operation was stopped or a lock was missing.
    NotStarted,
}

#[derive(Clone, Debug, Serialize)]
pub struct NodeOutcome {
    pub node: NodeName,
    pub target: Option<Target>,
    pub result: NodeResult,
    /// In words, with what is left.
    pub text: String,
    /// What nobody could look at, in words (a process from before a reload): `done` is not proven for it.
    pub unseen: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub exit: Exit,
    pub summary: String,
    pub nodes: Vec<NodeOutcome>,
    /// How to go on, as commands or advice.
    pub next: Vec<String>,
    /// Leases that the operation made; `lease return ID` gives one back.
    pub leases: Vec<String>,
}
