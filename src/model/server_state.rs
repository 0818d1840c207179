//! What an operator asked of a server (administrative state) and what the engine says of it (status).

use std::fmt;

use serde::{Deserialize, Serialize};

/// HAProxy's `srv_admin_state`: a *decimal* bit mask (management guide, `show servers state`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdminState(pub u8);

impl AdminState {
    /// Maintenance asked for by an operator.
    pub const FMAINT: u8 = 1;
    /// Maintenance inherited from a tracked server.
    pub const IMAINT: u8 = 2;
    /// The configuration says `disabled`. It is only a memory of that: maintenance itself is FMAINT, so a server that was
    /// made ready since has CMAINT alone and serves.
    pub const CMAINT: u8 = 4;
    /// Drain asked for by an operator (or weight 0 by agent).
    pub const FDRAIN: u8 = 8;
    /// Drain inherited from a tracked server.
    pub const IDRAIN: u8 = 16;
    /// Maintenance because the name does not resolve.
    pub const RMAINT: u8 = 32;
    /// Maintenance because of `set server fqdn`.
    pub const HMAINT: u8 = 64;

    pub const READY: AdminState = AdminState(0);

    pub fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }
    pub fn is_maint(self) -> bool {
        self.has(Self::FMAINT | Self::IMAINT | Self::RMAINT | Self::HMAINT)
    }
    pub fn is_drain(self) -> bool {
        self.has(Self::FDRAIN | Self::IDRAIN)
    }
    /// Takes new connections as far as operators are concerned.
    pub fn is_ready(self) -> bool {
        !self.is_maint() && !self.is_drain()
    }
    /// An operator asked for drain or maintenance at run time, other than what the configuration asks for (a server that is
    /// `disabled` there starts with FMAINT and CMAINT).
    pub fn is_asked_for(self) -> bool {
        self.has(Self::FDRAIN) || (self.has(Self::FMAINT) && !self.has(Self::CMAINT))
    }
    /// `ready`, `drain` or `maint`: maintenance wins because it stops traffic altogether.
    pub fn word(self) -> &'static str {
        if self.is_maint() {
            "maint"
        } else if self.is_drain() {
            "drain"
        } else {
            "ready"
        }
    }
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.word(), self.0)
    }
}

/// The first word of HAProxy's `status` column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusWord {
    Up,
    Down,
    Nolb,
    Drain,
    Maint,
    NoCheck,
    Open,
    Stop,
    #[default]
    Unknown,
}

impl StatusWord {
    pub const fn label(self) -> &'static str {
        match self {
            StatusWord::Up => "UP",
            StatusWord::Down => "DOWN",
            StatusWord::Nolb => "NOLB",
            StatusWord::Drain => "DRAIN",
            StatusWord::Maint => "MAINT",
            StatusWord::NoCheck => "no check",
            StatusWord::Open => "OPEN",
            StatusWord::Stop => "STOP",
            StatusWord::Unknown => "?",
        }
    }
}

/// `UP 1/3`, `DOWN (agent)`, `MAINT (via b/s)`: the word, the progress towards the next state, the cause.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServerStatus {
    pub word: StatusWord,
    /// Checks passed or failed so far out of those needed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress: Option<(u32, u32)>,
    /// The text in parentheses, sanitised (`agent`, `resolution`, `via b/s`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<Box<str>>,
}

impl ServerStatus {
    pub fn of(word: StatusWord) -> Self {
        Self { word, progress: None, cause: None }
    }
    /// Serves traffic now, as far as health is concerned (a server without checks is believed).
    pub fn is_healthy(&self) -> bool {
        matches!(self.word, StatusWord::Up | StatusWord::NoCheck | StatusWord::Open)
    }
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.word.label().to_owned();
        if let Some((done, of)) = self.progress {
            text.push_str(&format!(" {done}/{of}"));
        }
        if let Some(cause) = &self.cause {
            text.push_str(&format!(" ({cause})"));
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As HAProxy 2.6 shows a server with `disabled` in the file: at start, made ready, drained, in maintenance again.
    #[test]
    fn disabled_in_the_file() {
        for (bits, word, asked) in
            [(5, "maint", false), (4, "ready", false), (12, "drain", true), (1, "maint", true), (2, "maint", false)]
        {
            let state = AdminState(bits);
            assert_eq!((state.word(), state.is_asked_for()), (word, asked), "{bits}");
        }
    }
}
