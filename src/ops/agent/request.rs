//! What an operator asks of the agent on nodes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::payload::BinaryInfo;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentVerb {
    /// Make it be there and run, in this build.
    Install,
    /// The same, but only where it is installed already.
    Upgrade,
    /// Back to the build before.
    Rollback,
    /// A new process of the same build.
    Restart,
    Remove,
}

impl fmt::Display for AgentVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AgentVerb::Install => "install the agent",
            AgentVerb::Upgrade => "upgrade the agent",
            AgentVerb::Rollback => "roll the agent back",
            AgentVerb::Restart => "restart the agent",
            AgentVerb::Remove => "remove the agent",
        })
    }
}

/// How many nodes may be worked on at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxUnavailable {
    Count(u32),
    /// Of the selected nodes, rounded down, at least one.
    Percent(u8),
}

impl MaxUnavailable {
    pub fn of(self, nodes: usize) -> usize {
        match self {
            MaxUnavailable::Count(n) => usize::try_from(n).unwrap_or(usize::MAX),
            MaxUnavailable::Percent(p) => nodes * usize::from(p) / 100,
        }
        .max(1)
    }
}

impl FromStr for MaxUnavailable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}': write a number of nodes such as 2, or a share of them such as 25%");
        match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().filter(|p| (1..=100).contains(p)).map(Self::Percent).ok_or_else(bad),
            None => text.trim().parse().ok().filter(|n| *n > 0).map(Self::Count).ok_or_else(bad),
        }
    }
}

impl fmt::Display for MaxUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxUnavailable::Count(n) => write!(f, "{n}"),
            MaxUnavailable::Percent(p) => write!(f, "{p}%"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgentRequest {
    pub verb: AgentVerb,
    /// An agent of the user who logs on, below this folder; None for the agent of the system.
    pub prefix: Option<PathBuf>,
    pub max_unavailable: MaxUnavailable,
    /// Install and upgrade: what is sent.
    pub binary: Option<BinaryInfo>,
    /// Install: the relay's configuration where the node has none yet.
    pub config: Option<String>,
    /// Restart: end the process and start it anew instead of handing over.
    pub hard: bool,
    /// Remove: leave state, configuration and user behind.
    pub keep_state: bool,
    /// Seconds that a new process may take to serve.
    pub ready_within_s: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_down_but_never_to_nothing() {
        let of = |text: &str, nodes| text.parse::<MaxUnavailable>().unwrap().of(nodes);
        assert_eq!((of("25%", 10), of("25%", 3), of("100%", 7), of("3", 2)), (2, 1, 7, 3));
        for bad in ["0", "0%", "101%", "", "-1", "x", "25 %%"] {
            assert!(bad.parse::<MaxUnavailable>().is_err(), "{bad}");
        }
    }
}
