//! What one probe asks, how often, and how long it waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A connection is made and closed.
    Tcp,
    /// `GET path`; good below status 400.
    Http { path: String, host: Option<String> },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// `address:port`.
    pub to: String,
    pub kind: ProbeKind,
    /// Probes a second, 1 to [`super::MAX_HZ`].
    pub hz: u32,
    pub timeout: Duration,
    /// A connection for each probe; else connections are kept and used again.
    pub new_conn: bool,
}

impl ProbeSpec {
    /// Time between two probes: what is shorter is not seen.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.hz.max(1)
    }
    /// `http://10.0.0.1:80/healthz`, `tcp://10.0.0.1:443`.
    pub fn name(&self) -> String {
        match &self.kind {
            ProbeKind::Tcp => format!("tcp://{}", self.to),
            ProbeKind::Http { path, .. } => format!("http://{}{path}", self.to),
        }
    }
}
