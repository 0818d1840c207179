//! The node itself as its agent reads it: load, memory, disks, network, sockets. Plain data, as it goes over the control API.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sanitize;

/// What the system does not tell is None or empty.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReading {
    pub at: Option<Timestamp>,
    pub hostname: String,
    pub kernel: String,
    pub uptime_s: u64,
    pub cores: u32,
    /// Over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Percent of all cores since the reading before: user, system, waiting for disks, stolen by the hypervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUse>,
    pub memory: MemoryUse,
    pub disks: Vec<DiskUse>,
    pub interfaces: Vec<NetworkInterface>,
    /// Entries in use and the most there may be; None without conntrack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<(u64, u64)>,
    /// File handles in use and the most there may be, of the whole system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<(u64, u64)>,
    pub tcp: TcpStates,
    pub listening: Vec<ListeningSocket>,
    /// The agent itself.
    pub agent: AgentUse,
    /// What could not be read, and why.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUse {
    pub user: f64,
    pub system: f64,
    pub iowait: f64,
    pub steal: f64,
    pub idle: f64,
}

/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUse {
    pub total: u64,
    pub available: u64,
    pub swap_total: u64,
    pub swap_free: u64,
}

/// Bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskUse {
    pub mount: String,
    pub device: String,
    pub kind: String,
    pub total: u64,
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkInterface {
    pub name: String,
    pub up: bool,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes a second since the reading before; None at the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_out: Option<u64>,
    /// Errors and drops, both directions.
    pub errors: u64,
    pub drops: u64,
}

/// How many TCP sockets of the node are in which state, IPv4 and IPv6 together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpStates {
    pub established: u64,
    pub syn_sent: u64,
    pub syn_recv: u64,
    pub fin_wait: u64,
    pub time_wait: u64,
    pub close_wait: u64,
    pub last_ack: u64,
    pub listen: u64,
    pub closing: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListeningSocket {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `0.0.0.0:443`, `[::]:443`.
    pub address: String,
    /// Connections that wait to be accepted (TCP), bytes that wait to be read (UDP).
    pub waiting: u64,
    /// Process, where it may be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentUse {
    /// Resident memory in bytes.
    pub memory: u64,
    pub open_files: u64,
    pub open_files_limit: u64,
    pub threads: u64,
    /// CPU milliseconds since the start.
    pub cpu_ms: u64,
}

impl NodeReading {
    /// Every text in a form that a terminal may be shown.
    #[must_use]
    pub fn sanitized(mut self) -> Self {
        let clean = |text: &mut String| {
            if let std::borrow::Cow::Owned(cleaned) = sanitize(text) {
                *text = cleaned;
            }
        };
        for text in [&mut self.hostname, &mut self.kernel].into_iter().chain(&mut self.notes) {
            clean(text);
        }
        for disk in &mut self.disks {
            [&mut disk.mount, &mut disk.device, &mut disk.kind].into_iter().for_each(clean);
        }
        self.interfaces.iter_mut().for_each(|i| clean(&mut i.name));
        for socket in &mut self.listening {
            [&mut socket.protocol, &mut socket.address].into_iter().chain(&mut socket.process).for_each(clean);
        }
        self
    }
}
