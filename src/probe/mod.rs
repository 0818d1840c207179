//! Probes of a service: begun at a fixed rate whatever the answers are, timed on a monotonic clock, classed by how they end.
//!
//! Console and agent use the same probes. Nothing here knows of drills, nodes or operations.

pub mod analysis;
mod exchange;
mod prober;
mod streams;
mod target;

pub use analysis::{Analysis, Outage, Tracker, analyse};
pub use prober::{Item, MAX_HZ, Prober};
pub use streams::StreamSpec;
pub use target::{ProbeKind, ProbeSpec};

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a probe ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Connected (TCP), or answered with a status below 400 (HTTP).
    Ok,
    /// Nobody listens there.
    Refused,
    /// No answer within the probe's timeout.
    Timeout,
    /// The connection was cut before it had answered.
    Reset,
    /// HTTP 500 to 599.
    #[serde(rename = "5xx")]
    ServerError,
    /// Anything else: no route, another status, no HTTP.
    Other,
}

impl Class {
    /// All of them, good first.
    pub const ALL: [Class; 6] = [Class::Ok, Class::Refused, Class::Timeout, Class::Reset, Class::ServerError, Class::Other];

    pub fn is_ok(self) -> bool {
        self == Class::Ok
    }
    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Class::Ok => "ok",
            Class::Refused => "refused",
            Class::Timeout => "timeout",
            Class::Reset => "reset",
            Class::ServerError => "5xx",
            Class::Other => "other",
        }
    }
    /// One cell of a time line.
    pub const fn cell(self) -> char {
        match self {
            Class::Ok => '.',
            Class::Refused => 'r',
            Class::Timeout => 't',
            Class::Reset => 'x',
            Class::ServerError => '5',
            Class::Other => '?',
        }
    }
    pub fn of_cell(cell: char) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.cell() == cell)
    }
}

/// One probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Which of the prober's probes, from 0.
    pub probe: u8,
    /// Counts the probes of one kind from 0, without gaps, in the order in which they were begun.
    pub n: u64,
    /// When it was begun, since the prober began, by the monotonic clock.
    pub start: Duration,
    pub took: Duration,
    pub class: Class,
}

/// What happened to a held connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamEvent {
    /// Which of the held connections, from 0.
    pub stream: u16,
    /// Since the prober began.
    pub at: Duration,
    /// `Ok` where it was established, else how it broke or could not be made.
    pub class: Class,
    /// It had been established before it broke.
    pub held: bool,
}
