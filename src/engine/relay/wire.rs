//! JSON of the agent's control API, shared by the agent that writes it and the console that reads it.
//!
//! Readers ignore fields that they do not know and take the default of those that are missing, so that neighbouring versions
//! understand each other: a field may be added at any time; what a field means never changes within one [`ApiRange`]. Every
//! text is as the agent has it; the console sanitises it where it enters `model` types. docs/agent.md is the reference.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Change, Target};

pub use crate::model::NodeReading;

/// The versions of the control API that this build speaks: the path begins with `/v1`.
pub const API: ApiRange = ApiRange { oldest: 1, newest: 1 };

/// Where the agent listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lbdeck/agent.sock";

/// Versions of the control API that a side understands, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ApiRange {
    pub oldest: u32,
    pub newest: u32,
}

impl ApiRange {
    /// The newest version that both sides speak; None where they have none in common.
    pub fn common(self, other: ApiRange) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl std::fmt::Display for ApiRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.oldest == self.newest { write!(f, "v{}", self.newest) } else { write!(f, "v{} to v{}", self.oldest, self.newest) }
    }
}

/// `GET /hello`: the only path without a version, so that sides that share none can still say so.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub api: ApiRange,
    /// Version of lbdeck that runs as agent (`0.1.0`).
    pub agent: String,
    pub pid: u32,
    pub host: String,
    /// Wall clock of the node.
    pub now: Timestamp,
    pub started: Timestamp,
    #[serde(default)]
    pub phase: Phase,
    /// Counts applied configurations, over restarts.
    #[serde(default)]
    pub generation: u64,
    /// Who restarts the process when it is killed: `systemd`, `lbdeck` or `nobody`.
    #[serde(default)]
    pub supervisor: String,
}

/// What the agent is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Runs without a configuration: it watches the node and keeps leases.
    #[default]
    Idle,
    Serving,
    /// A new process takes over; changes are refused until it has.
    HandingOver,
    /// Has handed over or is being stopped: finishes what is established.
    Draining,
    /// Written by a newer agent.
    #[serde(other)]
    Other,
}

/// Everything that the console polls or streams.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Wall clock of the node when it was made.
    pub at: Timestamp,
    pub agent: String,
    pub pid: u32,
    /// Milliseconds since the process began.
    pub uptime_ms: u64,
    #[serde(default)]
    pub phase: Phase,
    #[serde(default)]
    pub generation: u64,
    #[serde(default)]
    pub listeners: Vec<Listener>,
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub pools: Vec<Pool>,
    /// What lowers the worth of this reading, in words.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Gauges and counters that listeners, routes, pools and servers share. Counters count from the start of the process.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Established connections (listeners, TCP and UDP) or requests in progress (HTTP pools and servers).
    pub sessions: u64,
    pub sessions_max: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_limit: Option<u64>,
    pub sessions_total: u64,
    pub queue: u64,
    /// Over the last whole second.
    pub sessions_rate: u64,
    pub requests_total: u64,
    /// Over the last whole second; None where nothing is counted in requests (TCP, UDP).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_rate: Option<u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connect_errors: u64,
    pub request_errors: u64,
    pub response_errors: u64,
    /// Answers by class, 1xx to 5xx; None where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<[u64; 5]>,
    pub retries: u64,
    /// Means over the last 1,024 requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

impl Traffic {
    /// Counts another's together with these; limits and means stay what they are.
    pub fn add(&mut self, other: &Traffic) {
        self.sessions += other.sessions;
        self.sessions_max += other.sessions_max;
        self.sessions_total += other.sessions_total;
        self.queue += other.queue;
        self.sessions_rate += other.sessions_rate;
        self.requests_total += other.requests_total;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.connect_errors += other.connect_errors;
        self.request_errors += other.request_errors;
        self.response_errors += other.response_errors;
        self.retries += other.retries;
        if let Some(rate) = other.requests_rate {
            *self.requests_rate.get_or_insert(0) += rate;
        }
        if let Some(answers) = other.answers {
            self.answers.get_or_insert([0; 5]).iter_mut().zip(answers).for_each(|(all, one)| *all += one);
        }
    }
}

/// Milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    pub queue_ms: u32,
    pub connect_ms: u32,
    pub response_ms: u32,
    pub total_ms: u32,
}

/// Quantiles since the start of the process, in microseconds, from a histogram of every request.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    /// `http`, `tcp` or `udp`.
    pub mode: String,
    /// `0.0.0.0:443`, `[::]:443`, `unix@/run/x.sock`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// False where an operator disabled it: nothing new is accepted.
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default)]
    pub tls: bool,
    #[serde(default)]
    pub traffic: Traffic,
}

fn yes() -> bool {
    true
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub listener: String,
    pub name: String,
    /// Pools that it sends to, most preferred first.
    #[serde(default)]
    pub pools: Vec<String>,
    #[serde(default)]
    pub traffic: Traffic,
    #[serde(default)]
    pub latency: Latency,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pool {
    pub name: String,
    /// `http`, `tcp` or `udp`.
    pub mode: String,
    /// `roundrobin`, `leastconn` … in HAProxy's words.
    #[serde(default)]
    pub algorithm: String,
    #[serde(default)]
    pub traffic: Traffic,
    #[serde(default)]
    pub servers: Vec<Server>,
}

/// What an operator asked of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    #[default]
    Ready,
    /// Nothing new but what persistence binds to it.
    Drain,
    /// Nothing new at all, and no checks.
    Maint,
}

impl Admin {
    pub const fn word(self) -> &'static str {
        match self {
            Admin::Ready => "ready",
            Admin::Drain => "drain",
            Admin::Maint => "maint",
        }
    }
}

/// What health says of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Up,
    Down,
    /// No checks are configured, or they are switched off.
    Unchecked,
    /// Taken out by outlier ejection for a while.
    Ejected,
    /// Checked, and the first result is still to come.
    Starting,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Server {
    pub name: String,
    /// An IP address or a host name, without the port.
    #[serde(default)]
    pub address: String,
    #[serde(default)]
    pub port: u16,
    #[serde(default)]
    pub admin: Admin,
    #[serde(default)]
    pub health: Health,
    /// Checks passed or failed in a row towards the next state, out of those needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<(u32, u32)>,
    /// Weight that takes effect now (slow start, drain).
    #[serde(default)]
    pub weight: u32,
    /// What the configuration or an operator asked for.
    #[serde(default)]
    pub user_weight: u32,
    /// What the configuration says; 0 for a server that was added at run time with weight 0.
    #[serde(default)]
    pub configured_weight: u32,
    #[serde(default)]
    pub backup: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// Exactly what still ties clients to the server: requests, tunnels and TCP connections in progress.
    #[serde(default)]
    pub in_use: u64,
    /// Kept connections without a request.
    #[serde(default)]
    pub idle: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Health checks are configured and switched on; None where none are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks_on: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Added at run time: not in the configuration file.
    #[serde(default)]
    pub added: bool,
    /// Seconds since the state changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime_s: Option<u64>,
    #[serde(default)]
    pub traffic: Traffic,
    #[serde(default)]
    pub latency: Latency,
}

/// The last health check, in HAProxy's words.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// `L4OK`, `L7STS`, `L4TOUT` …
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u32>,
    pub text: String,
}

/// `PATCH /v1/servers/POOL/SERVER`: what is left out stays as it is. All of it is applied, or nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// 0 to 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// An IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks_on: Option<bool>,
}

/// `POST /v1/servers/POOL/SERVER`: a server that the configuration does not have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewServer {
    /// An IP address.
    pub address: String,
    pub port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    #[serde(default)]
    pub check: bool,
    #[serde(default)]
    pub backup: bool,
    /// The state that it starts in (default: ready).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
}

/// `PATCH /v1/listeners/LISTENER`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerChange {
    pub enabled: bool,
}

/// `POST /v1/cache/purge`: forgets cached responses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Of this host alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// All at or below this path; `/` is everything.
    pub path: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Purged {
    /// Responses.
    pub forgotten: usize,
}

/// `GET /v1/sessions`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Names it in `DELETE /v1/sessions/ID`.
    pub id: String,
    /// `http/1.1`, `h2`, `tcp`, `udp`, `websocket`.
    pub protocol: String,
    /// The client's address and port.
    pub source: String,
    pub listener: String,
    pub pool: String,
    pub server: String,
    pub age_ms: u64,
    /// Until it ends for want of traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// `GET /v1/certificates`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    pub file: String,
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    pub names: Vec<String>,
}

/// `GET /v1/leases`: changes that the agent gives back at their end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lease {
    pub id: String,
    /// The engine of this node that it is held on (`relay:/run/lbdeck/agent.sock`, `haproxy:/run/haproxy/admin.sock`).
    pub engine: String,
    pub target: Target,
    pub change: Change,
    pub inverse: Vec<Change>,
    /// `user@host`.
    pub who: String,
    #[serde(default)]
    pub reason: Option<String>,
    pub made: Timestamp,
    /// None: held until somebody returns it.
    pub ends: Option<Timestamp>,
    /// Seconds left by the agent's own count, which a clock that is set does not move.
    #[serde(default)]
    pub left_s: Option<u64>,
}

/// Something that happened, kept for those who were not there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one; starts at 1 with the process.
    pub seq: u64,
    pub at: Timestamp,
    /// `started`, `stopping`, `server`, `listener`, `config`, `lease`, `upgrade`, `state`, `health` …
    pub kind: String,
    /// What it is about: `web/web1`, a lease, a file.
    #[serde(default)]
    pub subject: String,
    pub text: String,
}

/// One line of `GET /v1/stream`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Snapshot(Box<Snapshot>),
    Event(Event),
    /// The agent ends the stream on purpose (upgrade, stop): connect again at once.
    Bye(String),
}

/// `GET /v1/config`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Config {
    pub generation: u64,
    /// The YAML as it was applied.
    pub text: String,
    /// The file that is read at start and on SIGHUP.
    pub path: String,
    /// The file differs from what is applied.
    pub file_differs: bool,
}

/// `PUT /v1/config` and `POST /v1/config/validate`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigText {
    pub text: String,
    /// Applied only on top of this generation, so that two who edit do not overwrite each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_top_of: Option<u64>,
}

/// What a configuration change did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    pub generation: u64,
    /// `listener web: added`, `server web/web3: removed` …
    pub changes: Vec<String>,
    /// States that operators had set and that hold on.
    pub kept: Vec<String>,
}

/// `POST /v1/upgrade`: another process takes over the listening sockets. Without `binary` it is the same program again.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// How long the new process may take to be ready (default 15).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_within_s: Option<u64>,
}

/// The new process serves; the old one finishes what is established.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Upgraded {
    pub old_pid: u32,
    pub new_pid: u32,
    pub version: String,
    /// Listening sockets that changed hands.
    pub sockets: usize,
}

/// Any answer that is no success.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// A later attempt may succeed without anybody changing anything.
    #[serde(default)]
    pub retry: bool,
    /// Where a configuration is wrong, each with file, line and column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_meet_where_they_overlap() {
        let range = |oldest, newest| ApiRange { oldest, newest };
        assert_eq!(range(1, 2).common(range(2, 5)), Some(2));
        assert_eq!(range(1, 1).common(range(1, 3)), Some(1));
        assert_eq!(range(1, 2).common(range(3, 4)), None);
        assert_eq!((range(1, 1).to_string(), range(1, 3).to_string()), ("v1".into(), "v1 to v3".into()));
    }

    /// A newer agent sends more, an older one less; a state that nobody knew is not an error.
    #[test]
    fn neighbours_are_understood() {
        let text = r#"{"at":"2026-11-23T18:00:00Z","agent":"9.9","pid":7,"uptime_ms":5,"phase":"meditating","colour":"blue",
            "pools":[{"name":"web","mode":"http","servers":[{"name":"w1","health":"sublime","mood":1}]}]}"#;
        let snapshot: Snapshot = serde_json::from_str(text).unwrap();
        assert_eq!(snapshot.phase, Phase::Other);
        let server = &snapshot.pools[0].servers[0];
        assert_eq!((server.admin, server.health, server.traffic.sessions), (Admin::Ready, Health::Unknown, 0));
    }

    /// What an operator asks for must not be guessed at: a field that is not known is refused, not left out.
    #[test]
    fn changes_are_read_strictly() {
        assert!(serde_json::from_str::<ServerChange>(r#"{"wieght": 5}"#).is_err());
        assert!(serde_json::from_str::<ServerChange>(r#"{"admin": "asleep"}"#).is_err());
        let change: ServerChange = serde_json::from_str(r#"{"admin": "drain"}"#).unwrap();
        assert_eq!(serde_json::to_string(&change).unwrap(), r#"{"admin":"drain"}"#);
    }
}
