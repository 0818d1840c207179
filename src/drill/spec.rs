//! A drill as its file says it, typed and with its defaults.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::ops::drill::Fault;

use super::window::Window;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Drill {
    /// The file that it came from, or `built-in`.
    pub source: String,
    pub name: String,
    pub description: Option<String>,
    pub scope: Scope,
    pub window: Window,
    pub steady: Steady,
    pub measure: Measure,
    /// All are injected together, in this order, and undone together, last first.
    pub faults: Vec<Fault>,
    /// How long they stay.
    pub hold: Duration,
    pub abort: Abort,
    pub expect: Expect,
    pub restore: Restore,
}

/// Where it happens.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Scope {
    /// Whose move is measured; a file may leave it to `--vip`.
    pub vip: Option<IpAddr>,
    pub target: Target,
    /// The directors among which the VIP moves: names, globs or groups; empty means every node that runs commands.
    pub nodes: Vec<String>,
}

/// Which node is broken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Who holds the VIP when the drill begins.
    CurrentMaster,
    /// The director that does not hold it.
    Standby,
    Node(String),
    /// The node that has the address of the server (`server_kill`).
    Server,
}

/// What must hold before, and again afterwards.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Steady {
    /// How long it is looked at before the fault.
    pub baseline: Duration,
    pub vip_owner: bool,
    pub peer_healthy: bool,
    /// Percent of probes that are good.
    pub probe_ok: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Measure {
    pub probes: Vec<ProbeAsk>,
    pub streams: Option<StreamAsk>,
    /// Nodes whose agents probe too.
    pub from_agents: Vec<String>,
}

/// One probe before it is known where the VIP is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ProbeAsk {
    /// Path of an HTTP probe; None for TCP.
    pub http: Option<String>,
    /// Host header.
    pub host: Option<String>,
    /// `address:port`; else the VIP with `port`.
    pub to: Option<String>,
    pub port: u16,
    pub hz: u32,
    pub timeout: Duration,
    pub new_conn: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StreamAsk {
    pub connections: u16,
    pub keepalive: Duration,
}

/// When it is broken off.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Abort {
    pub outage_gt: Option<Duration>,
    pub two_owners_gt: Option<Duration>,
    pub no_owner_gt: Option<Duration>,
    /// The node restores by itself when it has not heard of us for so long.
    pub heartbeat_lost: Duration,
}

/// What makes it a success. None means: whatever it is.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Expect {
    /// The longest outage between fault and restoring.
    pub outage_ms: Option<u64>,
    pub failed: Option<u64>,
    pub resets: Option<u64>,
    pub failback_outage_ms: Option<u64>,
    /// Percent of a year, with the failovers of a year.
    pub availability: Option<Availability>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Availability {
    /// Percent, 99.99 for instance.
    pub target: f64,
    pub failovers_per_year: u32,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Restore {
    /// From arming to when the node restores by itself, whatever happens. Never extended.
    pub deadline: Duration,
    /// The steady state must be seen to hold again.
    pub verify: bool,
    /// How long is waited for that, and looked at it.
    pub settle: Duration,
}

impl Drill {
    /// Probes and owner are about the VIP.
    pub fn wants_vip(&self) -> bool {
        self.scope.target != Target::Server || self.measure.probes.iter().any(|p| p.to.is_none()) || self.steady.vip_owner
    }
}
