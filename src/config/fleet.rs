//! The typed fleet, after defaults were merged in and every reference was checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{NodeMeta, PoolName};

use super::{AgentPaths, SecretRef};

#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// The file it came from.
    pub path: PathBuf,
    pub nodes: Vec<NodeSpec>,
    /// Names of groups in the order of the file, empty ones too; each node knows which of them hold it.
    pub groups: Vec<String>,
    pub policies: Vec<PoolPolicy>,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How often the console reads each node (default 1s).
    pub refresh: Duration,
    /// Deadline of one reading (default 5s).
    pub timeout: Duration,
    /// A node that fails for so long is dead, not stale (default 15s).
    pub dead_after: Duration,
    /// Refuse every change, whatever the policies say.
    pub read_only: bool,
    /// How far an engine's reply may grow (default 64 MiB).
    pub max_reply: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            dead_after: Duration::from_secs(15),
            read_only: false,
            max_reply: 64 << 20,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct NodeSpec {
    pub meta: NodeMeta,
    pub reach: Reach,
    pub haproxy: Option<HaproxySpec>,
    /// lbdeck's own agent; a node has one engine, so `haproxy` is None then.
    pub relay: Option<RelaySpec>,
    /// What moves the node's VIPs; it runs beside the engine.
    pub keepalived: Option<KeepalivedSpec>,
    /// Where locks and leases live on the node (default /run/lock/lbdeck).
    pub lock_dir: PathBuf,
}

/// How the node itself is reached (its sockets, commands and files).
#[derive(Clone, Debug, PartialEq)]
pub enum Reach {
    Ssh(Box<SshSpec>),
    Local,
    /// Only what the engine answers over HTTP or TCP.
    None,
}

/// Overrides of what `~/.ssh/config` says for the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SshSpec {
    /// The name that is looked up in `~/.ssh/config` (default: the node's address).
    pub host: String,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<PathBuf>,
    pub proxy_jump: Option<String>,
    pub known_hosts: Option<PathBuf>,
    /// Another file than `~/.ssh/config`.
    pub config_file: Option<PathBuf>,
    pub password: Option<SecretRef>,
    pub passphrase: Option<SecretRef>,
    pub connect_timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HaproxySpec {
    pub access: HaproxyAccess,
    /// The built-in Prometheus endpoint, where one is to be read too.
    pub metrics_url: Option<String>,
    /// Master CLI socket (`haproxy -S`).
    pub master_socket: Option<PathBuf>,
    /// The file that a reload reads (default: /etc/haproxy/haproxy.cfg where the node has files), for drift.
    pub config_file: Option<PathBuf>,
}

/// lbdeck's own agent on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct RelaySpec {
    /// Its control socket on the node, reached through `Reach` (default /run/lbdeck/agent.sock).
    pub socket: PathBuf,
    /// Where it answers over TLS from here; else its socket is used.
    pub tcp: Option<RelayTcp>,
}

impl Default for RelaySpec {
    fn default() -> Self {
        Self { socket: AgentPaths::system().socket(), tcp: None }
    }
}

/// keepalived on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepalivedSpec {
    /// Its configuration on the node; None: what the running daemon's command line names, else /etc/keepalived/keepalived.conf.
    pub config: Option<PathBuf>,
    /// Ask and change it by `sudo -n`.
    pub sudo: bool,
    /// How often the daemon itself is asked (default 10s): it logs a line each time. Interfaces are read at every refresh, and the daemon is asked at
    /// once when they have changed.
    pub ask_every: Duration,
}

impl Default for KeepalivedSpec {
    fn default() -> Self {
        Self { config: None, sudo: false, ask_every: Duration::from_secs(10) }
    }
}

/// The agent's control API over TLS (`lbdeck agent run --listen`).
#[derive(Clone, Debug, PartialEq)]
pub struct RelayTcp {
    /// `host:port`.
    pub address: String,
    /// The name in its certificate (default: the host of the address).
    pub server_name: Option<String>,
    /// Authorities that sign agents' certificates, and what this console shows; PEM files of this machine.
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Where run-time statistics and commands go.
#[derive(Clone, Debug, PartialEq)]
pub enum HaproxyAccess {
    /// A unix socket on the node, reached through `Reach`.
    Socket(PathBuf),
    /// A TCP statistics socket. Reached from the node's side through SSH where `Reach` is SSH, else from here.
    Tcp(String),
    /// The HTTP statistics page, from here.
    Stats { url: String, user: Option<String>, password: Option<SecretRef>, ca_file: Option<PathBuf> },
}

/// A floor on servers that serve.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MinHealthy {
    Count(u32),
    /// Of the pool's servers, rounded up.
    Percent(u8),
}

impl MinHealthy {
    pub fn of(self, servers: usize) -> usize {
        match self {
            MinHealthy::Count(n) => n as usize,
            MinHealthy::Percent(p) => (servers * usize::from(p)).div_ceil(100),
        }
    }
}

/// How much asking a change needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConfirmLevel {
    /// Safe changes go at once (they are still planned, guarded and recorded).
    None,
    /// A yes, or --yes.
    Ask,
    /// The name of the target must be typed, or given with --confirm.
    Typed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PoolPolicy {
    /// A glob over pool names; the first policy that matches holds.
    pub pool: String,
    pub min_healthy: Option<MinHealthy>,
    pub read_only: bool,
    pub confirm: Option<ConfirmLevel>,
}

impl Fleet {
    /// The policy of a pool: the first whose glob matches.
    pub fn policy(&self, pool: &PoolName) -> Option<&PoolPolicy> {
        self.policies
            .iter()
            .find(|p| globset::Glob::new(&p.pool).is_ok_and(|glob| glob.compile_matcher().is_match(pool.as_str())))
    }
    pub fn node(&self, name: &str) -> Option<&NodeSpec> {
        self.nodes.iter().find(|n| n.meta.name.as_str() == name)
    }
}
