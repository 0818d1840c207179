//! A mutation in the words of the field, before any engine turns it into bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{PoolName, ServerRef};

/// What a change acts on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Server(ServerRef),
    Frontend(String),
    Table(String),
    /// Cached responses, as `HOST/PATH`; `*` is every host.
    Cache(String),
}

impl Target {
    /// The pool whose lock guards the change; None for what belongs to no pool.
    pub fn pool(&self) -> Option<&PoolName> {
        match self {
            Target::Server(s) => Some(&s.pool),
            Target::Frontend(_) | Target::Table(_) | Target::Cache(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Server(s) => f.pad(&s.to_string()),
            Target::Frontend(name) => f.pad(&format!("frontend {name}")),
            Target::Table(name) => f.pad(&format!("table {name}")),
            Target::Cache(what) => f.pad(&format!("cache {what}")),
        }
    }
}

/// Largest weight of a server, as HAProxy has it.
pub const MAX_WEIGHT: u16 = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// 0 to 256.
    Absolute(u16),
    /// Percent of the configured weight; may be above 100, the engine stops at weight 256.
    Percent(u16),
}

impl std::str::FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // 256 times the least weight there is.
        const MOST_PERCENT: u16 = 25_600;
        let bad = || format!("'{text}' is not a weight; write 0 to 256, or a percentage of the configured weight such as 50%");
        match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().filter(|p| *p <= MOST_PERCENT).map(Weight::Percent).ok_or_else(bad),
            None => text.trim().parse().ok().filter(|w| *w <= 256).map(Weight::Absolute).ok_or_else(bad),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weight::Absolute(w) => write!(f, "{w}"),
            Weight::Percent(p) => write!(f, "{p}%"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    Health,
    Agent,
}

/// The administrative state that a new server gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    #[default]
    Ready,
    Drain,
    Maint,
}

/// Parameters of a server that is added at run time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AddServer {
    pub address: String,
    pub port: u16,
    pub weight: Option<u16>,
    pub maxconn: Option<u32>,
    /// Keep health checks as the pool's other servers have them.
    pub check: bool,
    pub backup: bool,
    #[serde(default)]
    pub start: Start,
    /// Further words of a `server` line, one a word (`ssl`, `verify`, `none`, `inter`, `2s`).
    pub extra: Vec<String>,
}

/// One mutation of one target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Ready,
    Drain,
    Maint,
    Weight(Weight),
    Address {
        address: String,
        port: Option<u16>,
    },
    MaxConn(u32),
    Checks {
        kind: CheckKind,
        on: bool,
    },
    KillSessions,
    KillSession {
        id: String,
    },
    AddServer(AddServer),
    RemoveServer,
    EnableFrontend,
    DisableFrontend,
    /// One key, or the whole table.
    ClearTable {
        key: Option<String>,
    },
    /// Forgets cached responses of a host, or of all, at or below a path.
    PurgeCache {
        host: Option<String>,
        path: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Change::Ready => "ready".to_owned(),
            Change::Drain => "drain".to_owned(),
            Change::Maint => "maint".to_owned(),
            Change::Weight(w) => format!("weight {w}"),
            Change::Address { address, port: Some(port) } => format!("address {address} port {port}"),
            Change::Address { address, port: None } => format!("address {address}"),
            Change::MaxConn(n) => format!("maxconn {n}"),
            Change::Checks { kind, on } => {
                let kind = match kind {
                    CheckKind::Health => "health",
                    CheckKind::Agent => "agent",
                };
                format!("{kind} checks {}", if *on { "on" } else { "off" })
            }
            Change::KillSessions => "kill sessions".to_owned(),
            Change::KillSession { id } => format!("kill session {id}"),
            Change::AddServer(a) => format!("add server {}:{}", a.address, a.port),
            Change::RemoveServer => "remove server".to_owned(),
            Change::EnableFrontend => "enable".to_owned(),
            Change::DisableFrontend => "disable".to_owned(),
            Change::ClearTable { key: Some(key) } => format!("clear key {key}"),
            Change::ClearTable { key: None } => "clear".to_owned(),
            Change::PurgeCache { .. } => "purge".to_owned(),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_haproxy_reads_them() {
        assert_eq!("256".parse(), Ok(Weight::Absolute(256)));
        assert_eq!(" 50 %".parse(), Ok(Weight::Percent(50)));
        assert_eq!("200%".parse(), Ok(Weight::Percent(200)), "relative weights above 100 % are allowed, and capped at 256");
        for bad in ["257", "-1", "1.5", "", "%", "x%", "99999%"] {
            assert!(bad.parse::<Weight>().is_err_and(|e| e.contains("0 to 256")), "{bad}");
        }
    }
}
