//! What was seen on one node at one moment. Every text in here is already sanitised.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::{AdminState, InfoLines, NodeName, PoolName, ServerName, ServerStatus};

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    Haproxy,
    /// lbdeck's own agent and its relay.
    Relay,
}

impl EngineKind {
    pub const fn label(self) -> &'static str {
        match self {
            EngineKind::Haproxy => "haproxy",
            EngineKind::Relay => "relay",
        }
    }
}

/// What the socket lets us do (HAProxy `level`). `Unknown` until probed; `StatsAdmin` is the HTTP page with `stats admin`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketLevel {
    Unknown,
    User,
    Operator,
    Admin,
    /// HTTP statistics page that only shows.
    StatsReadOnly,
    /// HTTP statistics page with `stats admin`.
    StatsAdmin,
}

/// The process behind the socket, from `show info`.
#[derive(Clone, Debug, Serialize)]
pub struct EngineInfo {
    pub kind: EngineKind,
    /// As the engine prints it, for instance `2.6.12-1+deb12u1`.
    pub version: String,
    /// (major, minor), where it could be read.
    pub release: Option<(u16, u16)>,
    pub level: SocketLevel,
    pub pid: Option<u32>,
    pub uptime: Option<Duration>,
    /// Every `Name: value` of `show info`, in order.
    pub info: InfoLines,
}

/// Raw fields of a statistics row by the engine's own names: all columns of all versions, on demand.
pub trait Fields: Send + Sync + Debug {
    /// The fields of row `index` in column order, unquoted and sanitised; empty fields are left out.
    fn row(&self, index: u32) -> Vec<(String, String)>;
}

/// The largest that can be told where it does not fit: gauges that count what is there now are narrow, because a console
/// holds those of a hundred thousand servers.
pub fn saturate(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Counters and gauges that frontends, backends and servers share. `None` where the engine left the field empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Gauges {
    /// Current sessions (`scur`).
    pub sessions: u32,
    pub sessions_max: u32,
    /// Session limit (`slim`).
    pub sessions_limit: Option<u32>,
    /// Sessions since start (`stot`).
    pub sessions_total: u64,
    /// Queued requests (`qcur`).
    pub queue: u32,
    /// Sessions per second over the last second (`rate`).
    pub rate: u32,
    /// HTTP requests per second (`req_rate`, frontends) where the engine has it.
    pub request_rate: Option<u32>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// `ereq` + `econ` + `eresp`.
    pub errors: u64,
    /// `hrsp_5xx`.
    pub http_5xx: Option<u64>,
    /// `hrsp_2xx` .. `hrsp_4xx` in all.
    pub http_ok: Option<u64>,
    /// `wretr` + `wredis`.
    pub retries: u64,
    /// Averages over the last 1,024 requests, in milliseconds (`qtime`, `ctime`, `rtime`, `ttime`).
    pub queue_ms: Option<u32>,
    pub connect_ms: Option<u32>,
    pub response_ms: Option<u32>,
    pub total_ms: Option<u32>,
}

/// The last health check of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Check {
    /// `L7OK`, `L4CON` … without the `* ` of a running check.
    pub status: Box<str>,
    pub code: Option<u16>,
    pub duration_ms: Option<u32>,
    /// `last_chk` or `check_desc`, whichever says more.
    pub text: Box<str>,
}

/// A difference between run time and file that the next reload would undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// `admin`, `weight`, `address`, `server` (dynamic), `maxconn` …
    pub what: Box<str>,
    pub runtime: Box<str>,
    pub file: Box<str>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ServerObs {
    pub name: ServerName,
    pub status: ServerStatus,
    pub admin: AdminState,
    /// True where the admin state comes from `show servers state`; false where it was derived from `status`
    /// (the HTTP page), in which case a DOWN server in drain cannot be told from a DOWN server.
    pub admin_exact: bool,
    /// Effective weight.
    pub weight: u32,
    /// Weight that the configuration or an operator asked for, where the engine tells.
    pub user_weight: Option<u32>,
    pub initial_weight: Option<u32>,
    /// Address without port; several pools may hold it.
    /// Shared with earlier readings of the server.
    pub address: Option<Arc<str>>,
    pub port: Option<u16>,
    pub backup: bool,
    pub gauges: Gauges,
    /// `used_conn_cur`: connections to the server in use; None before 2.2 or over HTTP without the column.
    pub used_conns: Option<u32>,
    pub idle_conns: Option<u32>,
    pub maxconn: Option<u32>,
    /// Since the last change of state, in seconds (`lastchg`).
    pub last_change_s: Option<u32>,
    pub downtime_s: Option<u32>,
    pub check: Option<Box<Check>>,
    /// Health and agent checks are switched on (`srv_check_state`, `srv_agent_state`); None where not told or not configured.
    pub health_checks: Option<bool>,
    pub agent_checks: Option<bool>,
    /// Persistence cookie value, where there is one: drain still lets its holders in.
    pub cookie: Option<Box<str>>,
    /// Not null when run time and file differ. None = the file was not read, so nothing is known.
    pub drift: Option<Arc<[Drift]>>,
    /// Row in `NodeObs::fields`.
    pub row: u32,
}

impl ServerObs {
    /// Takes new traffic now: ready, healthy and with a weight.
    pub fn is_serving(&self) -> bool {
        self.admin.is_ready() && self.status.is_healthy() && self.weight > 0
    }
    /// What still ties clients to the server: sessions, queued requests, connections in use.
    pub fn left(&self) -> u64 {
        (u64::from(self.gauges.sessions) + u64::from(self.gauges.queue)).max(self.used_conns.map_or(0, u64::from))
    }
    /// The word to show for the server: admin state where it is not ready, else the status.
    pub fn summary(&self) -> String {
        match (self.admin.word(), self.status.word) {
            ("ready", _) => self.status.to_string(),
            ("drain", super::StatusWord::Drain) | ("maint", super::StatusWord::Maint) => self.status.to_string(),
            (admin, _) => format!("{} ({})", admin.to_uppercase(), self.status),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct PoolObs {
    pub name: PoolName,
    /// `http` or `tcp`, where told.
    pub mode: Box<str>,
    /// Balancing algorithm, where told (`algo`; absent at socket level user).
    pub algorithm: Box<str>,
    pub status: ServerStatus,
    pub gauges: Gauges,
    /// Active and backup servers that are up, as the engine counts them.
    pub active: u32,
    pub backup: u32,
    pub servers: Vec<ServerObs>,
    pub row: u32,
}

impl PoolObs {
    pub fn server(&self, name: &str) -> Option<&ServerObs> {
        self.servers.iter().find(|s| s.name.as_str() == name)
    }
    /// Servers that take new traffic now.
    pub fn serving(&self) -> usize {
        self.servers.iter().filter(|s| s.is_serving()).count()
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct FrontendObs {
    pub name: Box<str>,
    pub mode: Box<str>,
    pub status: ServerStatus,
    pub gauges: Gauges,
    pub row: u32,
}

/// One engine of one node, seen once.
#[derive(Clone, Debug, Serialize)]
pub struct NodeObs {
    pub node: NodeName,
    /// Wall clock of the console when the reply was complete.
    pub at: Timestamp,
    /// The same moment on the monotonic clock: ages are worked out from this one.
    #[serde(skip)]
    pub seen: Instant,
    /// How long the reading took.
    pub took: Duration,
    /// Where it came from, for instance `ssh lb1 streamlocal /run/haproxy/admin.sock`.
    pub source: Arc<str>,
    pub engine: EngineInfo,
    pub frontends: Vec<FrontendObs>,
    pub pools: Vec<PoolObs>,
    /// Old workers that still hold connections after a reload; None where there is no master socket.
    pub workers: Option<Vec<Worker>>,
    /// None where it was not asked for.
    pub certificates: Option<Vec<Certificate>>,
    /// What happened there lately, the youngest first; only where the engine tells.
    pub events: Vec<EngineEvent>,
    /// What lowers the worth of this reading, in words (`level user: the admin state is derived`).
    pub notes: Vec<String>,
    #[serde(skip)]
    pub fields: Option<Arc<dyn Fields>>,
}

impl NodeObs {
    pub fn pool(&self, name: &str) -> Option<&PoolObs> {
        self.pools.iter().find(|p| p.name.as_str() == name)
    }
    pub fn server(&self, pool: &str, server: &str) -> Option<&ServerObs> {
        self.pool(pool)?.server(server)
    }
}

/// Something that an engine says happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineEvent {
    /// By the node's clock.
    pub at: Timestamp,
    /// `server`, `health`, `config`, `certificate`, `lease` …
    pub kind: String,
    /// What it is about: `web/web1`, a lease, a file.
    pub subject: String,
    pub text: String,
}

/// A stream that HAProxy holds, from `show sess`.
#[derive(Clone, Debug, Serialize)]
pub struct Session {
    /// The pointer that names it in `shutdown session`.
    pub id: String,
    pub protocol: String,
    pub source: String,
    pub frontend: String,
    pub backend: String,
    pub server: String,
    pub age: Option<Duration>,
    /// Time until it expires for want of traffic.
    pub expires: Option<Duration>,
    /// The whole line as it came, sanitised.
    pub raw: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct StickTable {
    pub name: String,
    pub kind: String,
    pub size: u64,
    pub used: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct StickTableEntry {
    pub key: String,
    pub fields: Vec<(String, String)>,
}

/// A process of the master-worker family (`show proc`).
#[derive(Clone, Debug, Serialize)]
pub struct Worker {
    pub pid: u32,
    pub kind: String,
    pub reloads: u32,
    pub uptime: String,
    pub old: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    pub file: String,
    pub subject: String,
    pub not_after: Option<Timestamp>,
    pub names: Vec<String>,
}
