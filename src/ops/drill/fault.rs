//! What a drill breaks, in the words of the field. Scripts are made of it elsewhere.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::duration::show_duration;
use crate::model::ServerRef;

/// Signals that end a process without asking it, or ask it to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KillSignal {
    #[default]
    Kill,
    Term,
    Abrt,
    Segv,
}

impl KillSignal {
    pub const WORDS: &'static [(&'static str, KillSignal)] =
        &[("KILL", KillSignal::Kill), ("TERM", KillSignal::Term), ("ABRT", KillSignal::Abrt), ("SEGV", KillSignal::Segv)];

    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, s)| *s == self).map_or("KILL", |(word, _)| word)
    }
}

/// How a process is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Killing {
    pub signal: KillSignal,
    /// It stays dead until the end: masked at run time under systemd, killed again elsewhere. Else what starts it again
    /// (`Restart=`) is what gets measured.
    pub hold_down: bool,
}

/// Which way packets are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    In,
    Out,
    #[default]
    Both,
}

impl Direction {
    pub fn includes_in(self) -> bool {
        self != Direction::Out
    }
    pub fn includes_out(self) -> bool {
        self != Direction::In
    }
}

/// What netem does to packets that leave an interface.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Netem {
    pub interface: String,
    pub delay: Option<Duration>,
    pub jitter: Option<Duration>,
    /// Percent.
    pub loss: Option<f64>,
    /// Percent.
    pub duplicate: Option<f64>,
    /// Percent.
    pub corrupt: Option<f64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An orderly stop: VRRP says goodbye with priority 0, which is a fast hand-over and no crash.
    Stop {
        unit: String,
    },
    Kill {
        unit: String,
        how: Killing,
    },
    /// SIGSTOP: it is there and does nothing.
    Freeze {
        unit: String,
    },
    /// VRRP packets are dropped.
    VrrpDrop {
        direction: Direction,
    },
    /// Everything is dropped save loopback and the management SSH flow.
    Isolate,
    Netem(Netem),
    /// An interface goes down.
    Link {
        interface: String,
    },
    /// The engine of the node is killed.
    EngineKill {
        how: Killing,
    },
    /// A server behind the load balancers is killed, on the node of the fleet that has its address.
    ServerKill {
        server: ServerRef,
        how: Killing,
    },
    /// A track file of keepalived gets a value: a planned failover.
    TrackFile {
        file: PathBuf,
        value: i32,
    },
}

impl Fault {
    /// The word of drill files.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Stop { .. } => "stop",
            Fault::Kill { .. } => "kill",
            Fault::Freeze { .. } => "freeze",
            Fault::VrrpDrop { .. } => "vrrp_drop",
            Fault::Isolate => "isolate",
            Fault::Netem(_) => "netem",
            Fault::Link { .. } => "link",
            Fault::EngineKill { .. } => "engine_kill",
            Fault::ServerKill { .. } => "server_kill",
            Fault::TrackFile { .. } => "track_file",
        }
    }
    /// The node hands over in order: its figures are no crash's, and reports keep them apart.
    pub fn is_graceful(&self) -> bool {
        matches!(self, Fault::Stop { .. } | Fault::TrackFile { .. })
    }
    pub fn needs_nft(&self) -> bool {
        matches!(self, Fault::VrrpDrop { .. } | Fault::Isolate)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killing = |how: &Killing| {
            let held = if how.hold_down { ", held down" } else { ", may be started again" };
            format!("SIG{}{held}", how.signal.word())
        };
        match self {
            Fault::Stop { unit } => write!(f, "stop {unit}"),
            Fault::Kill { unit, how } => write!(f, "kill {unit} ({})", killing(how)),
            Fault::Freeze { unit } => write!(f, "freeze {unit}"),
            Fault::VrrpDrop { direction: Direction::Both } => f.write_str("drop VRRP both ways"),
            Fault::VrrpDrop { direction: Direction::In } => f.write_str("drop incoming VRRP"),
            Fault::VrrpDrop { direction: Direction::Out } => f.write_str("drop outgoing VRRP"),
            Fault::Isolate => f.write_str("isolate the node"),
            Fault::Netem(netem) => {
                write!(f, "netem on {}", netem.interface)?;
                if let Some(delay) = netem.delay {
                    write!(f, ", delay {}", show_duration(delay))?;
                }
                if let Some(jitter) = netem.jitter {
                    write!(f, " ± {}", show_duration(jitter))?;
                }
                for (word, percent) in [("loss", netem.loss), ("duplicate", netem.duplicate), ("corrupt", netem.corrupt)] {
                    if let Some(percent) = percent {
                        write!(f, ", {word} {percent}%")?;
                    }
                }
                Ok(())
            }
            Fault::Link { interface } => write!(f, "link {interface} down"),
            Fault::EngineKill { how } => write!(f, "kill the engine ({})", killing(how)),
            Fault::ServerKill { server, how } => write!(f, "kill server {server} ({})", killing(how)),
            Fault::TrackFile { file, value } => write!(f, "track file {} = {value}", file.display()),
        }
    }
}
