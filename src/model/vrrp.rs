//! VRRP as it was seen on one node: instances, what the daemon says of them, which addresses the interfaces really carry.
//!
//! The daemon's word and the interface are kept apart, because they may disagree: who owns a VIP is what the interface says.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::NodeName;

/// States of a VRRP instance, as keepalived numbers them (0 init, 1 backup, 2 master, 3 fault).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VrrpState {
    Init,
    Backup,
    Master,
    Fault,
    /// The daemon is being stopped.
    Stop,
    Unknown,
}

impl VrrpState {
    pub const fn label(self) -> &'static str {
        match self {
            VrrpState::Init => "INIT",
            VrrpState::Backup => "BACKUP",
            VrrpState::Master => "MASTER",
            VrrpState::Fault => "FAULT",
            VrrpState::Stop => "STOP",
            VrrpState::Unknown => "?",
        }
    }
    /// The number in keepalived's JSON.
    pub const fn of_number(number: i64) -> VrrpState {
        match number {
            0 => VrrpState::Init,
            1 => VrrpState::Backup,
            2 => VrrpState::Master,
            3 | 97 => VrrpState::Fault,
            98 => VrrpState::Stop,
            _ => VrrpState::Unknown,
        }
    }
    /// The word in keepalived's data dump, or in a configuration.
    pub fn of_word(word: &str) -> VrrpState {
        match word.trim().to_ascii_uppercase().as_str() {
            "INIT" => VrrpState::Init,
            "BACKUP" => VrrpState::Backup,
            "MASTER" => VrrpState::Master,
            "FAULT" => VrrpState::Fault,
            "STOP" => VrrpState::Stop,
            _ => VrrpState::Unknown,
        }
    }
}

impl fmt::Display for VrrpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// How advertisements are authenticated. The password is there to be compared, never to be shown.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VrrpAuth {
    #[default]
    None,
    Pass(#[serde(skip)] String),
    /// IPsec authentication header.
    Ah(#[serde(skip)] String),
}

impl VrrpAuth {
    pub const fn label(&self) -> &'static str {
        match self {
            VrrpAuth::None => "none",
            VrrpAuth::Pass(_) => "PASS",
            VrrpAuth::Ah(_) => "AH",
        }
    }
}

impl fmt::Debug for VrrpAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// An address that an instance moves between nodes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Vip {
    pub address: IpAddr,
    /// Bits of the network, where told.
    pub prefix: Option<u8>,
    /// Where it is to be set, if not on the interface of the instance.
    pub interface: Option<String>,
    /// `virtual_ipaddress_excluded`: moved, but not advertised.
    pub excluded: bool,
}

/// A file whose number moves the priority of an instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TrackFile {
    pub name: String,
    pub path: String,
    /// Multiplies the number in the file; 0: any number but 0 is a fault.
    pub weight: i32,
    /// What the file says now; None where it is missing or holds no number.
    pub value: Option<i64>,
    pub status: TrackFileStatus,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackFileStatus {
    /// It can be written by whom lbdeck is there.
    Writable,
    Missing,
    /// It is there, but belongs to somebody else; owner and mode in words.
    NotOurs(String),
    /// It was not looked at.
    Unknown,
}

/// Counters of one instance since keepalived started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct VrrpCounters {
    pub adverts_received: u64,
    pub adverts_sent: u64,
    pub became_master: u64,
    pub released_master: u64,
    pub priority_zero_received: u64,
    pub priority_zero_sent: u64,
    /// Packets of a wrong length, hop limit, type, address list.
    pub packet_errors: u64,
    /// Packets with another advertisement interval than ours.
    pub interval_errors: u64,
    /// Packets whose authentication was of another type or failed.
    pub auth_errors: u64,
}

/// One `vrrp_instance`: the configuration as written, with what the running daemon says of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VrrpInstance {
    pub name: String,
    pub interface: String,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// None where the daemon did not tell (not running, not allowed, signal ignored).
    pub state: Option<VrrpState>,
    pub wanted: Option<VrrpState>,
    pub base_priority: u8,
    pub effective_priority: Option<u8>,
    /// Of the master that is heard, where this is not the master.
    pub master_priority: Option<u8>,
    #[serde(rename = "advert_interval_ms", serialize_with = "milliseconds")]
    pub advert_interval: Duration,
    /// VRRP version, 2 or 3.
    pub version: u8,
    pub nopreempt: bool,
    #[serde(rename = "preempt_delay_ms", serialize_with = "milliseconds")]
    pub preempt_delay: Duration,
    pub auth: VrrpAuth,
    pub vips: Vec<Vip>,
    /// By the node's clock.
    pub last_transition: Option<Timestamp>,
    pub counters: Option<VrrpCounters>,
    pub track_files: Vec<TrackFile>,
    /// Names of scripts and processes that may lower the priority too.
    pub track_scripts: Vec<String>,
    /// Interfaces whose loss is a fault or lowers the priority.
    pub track_interfaces: Vec<String>,
    pub unicast_peers: Vec<IpAddr>,
    /// The `vrrp_sync_group` that it moves with.
    pub sync_group: Option<String>,
    /// The daemon knows it, but it is not in the configuration file as it is now (or the other way round).
    pub drift: Option<String>,
}

fn milliseconds<S: serde::Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl VrrpInstance {
    pub fn vip(&self, address: IpAddr) -> Option<&Vip> {
        self.vips.iter().find(|v| v.address == address)
    }
    /// Where an address of this instance is to be set.
    pub fn interface_of<'a>(&'a self, vip: &'a Vip) -> &'a str {
        vip.interface.as_deref().unwrap_or(&self.interface)
    }
    /// What its priority is now: the daemon's word, else the configured one.
    pub fn priority(&self) -> u8 {
        self.effective_priority.unwrap_or(self.base_priority)
    }
    /// What peers must have in common to hear each other, where it differs: the keyword, and how.
    pub fn differences(&self, other: &VrrpInstance) -> Vec<(&'static str, String)> {
        let (a, b) = (self, other);
        let mut all = Vec::new();
        if a.vrid != b.vrid {
            all.push(("virtual_router_id", format!("{} and {}", a.vrid, b.vrid)));
        }
        if a.version != b.version {
            all.push(("VRRP version", format!("{} and {}", a.version, b.version)));
        }
        if a.advert_interval != b.advert_interval && a.version == 2 {
            all.push(("advert_int", format!("{:?} and {:?}", a.advert_interval, b.advert_interval)));
        }
        if a.auth.label() != b.auth.label() {
            all.push(("authentication", format!("{} and {}", a.auth.label(), b.auth.label())));
        } else if a.auth != b.auth {
            all.push(("auth_pass", "their passwords are not the same".to_owned()));
        }
        all
    }
    /// The track file that can move the priority without a fault.
    pub fn weighted_file(&self) -> Option<&TrackFile> {
        self.track_files.iter().find(|f| f.weight != 0)
    }
}

/// An address that an interface carries now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct InterfaceAddress {
    pub interface: String,
    pub address: IpAddr,
    pub prefix: u8,
}

/// A running keepalived (the parent; its children do the work).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VrrpDaemon {
    pub pid: u32,
    /// The configuration that its command line names.
    pub config: String,
    /// Folder for its dumps, as the process sees it.
    pub tmp: String,
    /// The systemd unit that it runs in.
    pub unit: Option<String>,
}

/// A file that makes up the configuration.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct VrrpConfigFile {
    pub path: String,
    pub lines: usize,
    /// As it is, with passwords: shown by nobody.
    #[serde(skip)]
    pub text: Arc<str>,
}

impl fmt::Debug for VrrpConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} lines)", self.path, self.lines)
    }
}

/// A `virtual_server` that keepalived writes into the IPVS table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ManagedService {
    /// `10.0.0.9:80`, or the firewall mark or group as written.
    pub service: String,
    pub protocol: String,
    pub scheduler: String,
    pub method: String,
    pub real_servers: Vec<ManagedRealServer>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ManagedRealServer {
    pub server: String,
    pub weight: Option<i32>,
    pub inhibit_on_failure: bool,
    /// Kinds of its checks: `TCP_CHECK`, `FILE_CHECK` …
    pub checks: Vec<String>,
}

/// keepalived on one node, seen once.
#[derive(Clone, Debug, Serialize)]
pub struct VrrpObs {
    pub node: NodeName,
    /// Wall clock of the console when the addresses were read.
    pub at: Timestamp,
    #[serde(skip)]
    pub seen: Instant,
    pub took: Duration,
    pub source: Arc<str>,
    /// As keepalived prints it (`2.2.7`); empty where it is not installed.
    pub version: String,
    pub daemons: Vec<VrrpDaemon>,
    pub instances: Vec<VrrpInstance>,
    pub services: Vec<ManagedService>,
    pub addresses: Vec<InterfaceAddress>,
    /// TCP sockets that listen on the node.
    pub listening: Vec<SocketAddr>,
    pub config: Vec<VrrpConfigFile>,
    /// How the daemon told: `json`, `data`; None where it did not.
    pub told_by: Option<&'static str>,
    /// When the daemon told, on the monotonic clock: it is asked less often than the interfaces, because it logs each time.
    #[serde(skip)]
    pub told: Option<Instant>,
    /// What lowers the worth of this reading, in words.
    pub notes: Vec<String>,
}

impl VrrpObs {
    pub fn instance(&self, name: &str) -> Option<&VrrpInstance> {
        self.instances.iter().find(|i| i.name == name)
    }
    /// Interfaces that carry the address.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &InterfaceAddress> {
        self.addresses.iter().filter(move |a| a.address == address)
    }
    pub fn holds(&self, address: IpAddr) -> bool {
        self.holders(address).next().is_some()
    }
    /// Somebody listens on this port of the address, or of all addresses.
    pub fn listens(&self, address: IpAddr, port: u16) -> bool {
        self.listening.iter().any(|s| s.port() == port && (s.ip() == address || s.ip().is_unspecified()))
    }
}
