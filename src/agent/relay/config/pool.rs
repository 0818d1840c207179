//! A pool: its servers, how they are chosen between, and what may wait and be tried again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::reader::{Reader, Section};
use crate::config::yaml::{Node, Value};

use super::check::{self, CheckConfig, OutlierConfig};
use super::listener::Mode;
use super::{tls, value};
use crate::agent::relay::tls::connect::ConnectConfig;

/// HAProxy's range.
pub const MAX_WEIGHT: u16 = 256;

#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    pub name: Arc<str>,
    pub mode: Mode,
    pub balance: Balance,
    pub servers: Vec<ServerConfig>,
    pub check: Option<CheckConfig>,
    pub outliers: Option<OutlierConfig>,
    pub persistence: Option<Persistence>,
    pub queue: QueueConfig,
    /// How long a server that came up or was made ready takes to reach its full weight.
    pub slowstart: Option<Duration>,
    pub retries: RetryConfig,
    pub idle_connections: IdleConfig,
    pub timeouts: PoolTimeouts,
    /// A PROXY protocol header is the first that servers get.
    pub proxy_protocol: Option<ProxyVersion>,
    pub tls: Option<ConnectConfig>,
    /// HTTP/2 is spoken to servers: by ALPN over TLS, else with prior knowledge.
    pub http2: bool,
}

impl PoolConfig {
    /// A pool of that name with the defaults of the file and no servers.
    pub fn new(name: &str, mode: Mode) -> Self {
        Self {
            name: name.into(),
            mode,
            balance: Balance::RoundRobin,
            servers: Vec::new(),
            check: None,
            outliers: None,
            persistence: None,
            queue: QueueConfig::default(),
            slowstart: None,
            retries: RetryConfig::default(),
            idle_connections: IdleConfig::default(),
            timeouts: PoolTimeouts::default(),
            proxy_protocol: None,
            tls: None,
            http2: false,
        }
    }
}

/// How a server is chosen, in HAProxy's words where it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round-robin, in each data thread.
    #[default]
    RoundRobin,
    /// Fewest sessions for its weight, over all threads.
    LeastConn,
    /// The less loaded of two that are drawn at random.
    PowerOfTwo,
    /// Consistent hash of the client's address.
    Source,
    /// Consistent hash of the path of the request, without its query.
    Uri,
    Random,
    /// The first with a free session, so that the others can be switched off.
    First,
}

impl Balance {
    const WORDS: [(&'static str, Balance); 7] = [
        ("roundrobin", Balance::RoundRobin),
        ("leastconn", Balance::LeastConn),
        ("power_of_two", Balance::PowerOfTwo),
        ("source", Balance::Source),
        ("uri", Balance::Uri),
        ("random", Balance::Random),
        ("first", Balance::First),
    ];

    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, b)| *b == self).map_or("", |(word, _)| word)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    V1,
    V2,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    pub name: Arc<str>,
    pub address: SocketAddr,
    /// 0 to 256; 0 = nothing but what persistence binds to it.
    pub weight: u16,
    /// Sessions at once over all threads; the rest waits in the pool's queue. None = no limit.
    pub maxconn: Option<u32>,
    /// Serves only where no other server can.
    pub backup: bool,
    /// In maintenance until an operator makes it ready.
    pub disabled: bool,
    /// The pool's checks hold for it.
    pub check: bool,
    /// Where checks connect to, if not to the server's own port.
    pub check_port: Option<u16>,
    /// Value of the persistence cookie: the name of the server unless said otherwise.
    pub cookie: Arc<str>,
}

impl ServerConfig {
    /// A server with the defaults of the file.
    pub fn new(name: &str, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            weight: 1,
            maxconn: None,
            backup: false,
            disabled: false,
            check: true,
            check_port: None,
            cookie: name.into(),
        }
    }
}

/// How a client is brought back to the server that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persistence {
    pub by: PersistBy,
    /// Whether a server that is drained still takes the clients that are bound to it.
    pub drain: DrainPersistence,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersistBy {
    /// The relay sets a cookie of that name.
    Cookie { name: Arc<str>, secure: bool, http_only: bool, max_age: Option<Duration> },
    /// A table of client addresses, kept for so long after the last session and of so many entries.
    Source { expire: Duration, size: usize },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrainPersistence {
    /// As HAProxy: bound clients keep coming until their session ends.
    #[default]
    Keep,
    /// Bound clients are given another server at once.
    Move,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// How long a request waits for a server with a free session.
    pub timeout: Duration,
    /// How many may wait in a pool.
    pub length: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), length: 1024 }
    }
}

/// Requests that may be tried again on another server.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// Attempts after connections that could not be made. Nothing was sent: these are for any request and outside of the budget.
    pub connect: u32,
    /// Attempts after the first of idempotent requests that were sent; 0 = never.
    pub attempts: u32,
    /// Share of requests of the last ten seconds that may be retries, 0.0 to 1.0.
    pub budget: f64,
    /// Retries a second that are allowed whatever the budget says.
    pub floor: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { connect: 3, attempts: 2, budget: 0.2, floor: 10 }
    }
}

/// Connections of HTTP/1.1 to servers that wait for another request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleConfig {
    /// Of each server, over all threads; None = no limit, 0 = none are kept.
    pub max: Option<u32>,
    /// So often half of those are closed that were not needed meanwhile.
    pub purge_delay: Duration,
}

impl Default for IdleConfig {
    fn default() -> Self {
        Self { max: None, purge_delay: Duration::from_secs(5) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTimeouts {
    /// For a connection to a server to be established, TLS included.
    pub connect: Duration,
    /// Silence of a server while something is expected of it.
    pub server: Duration,
    /// How long a connection without a request is kept.
    pub idle: Duration,
}

impl Default for PoolTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), server: Duration::from_secs(60), idle: Duration::from_secs(30) }
    }
}

const KEYS: &[&str] = &[
    "name",
    "mode",
    "balance",
    "servers",
    "check",
    "outliers",
    "persistence",
    "queue",
    "slowstart",
    "retries",
    "idle_connections",
    "timeouts",
    "proxy_protocol",
    "http2",
];
const SERVER_KEYS: &[&str] = &["name", "address", "weight", "maxconn", "backup", "disabled", "check", "check_port", "cookie"];
const LEAST: Duration = Duration::from_millis(1);

pub(super) fn read_pools(reader: &mut Reader<'_>, node: &Node) -> Vec<PoolConfig> {
    let Value::List(items) = &node.value else {
        let hint = "write each pool as `- name: app`".to_owned();
        reader.error(node.place, format!("pools are a list, not {}", node.kind()), hint);
        return Vec::new();
    };
    let mut pools: Vec<PoolConfig> = Vec::with_capacity(items.len());
    let mut lines: HashMap<Arc<str>, usize> = HashMap::new();
    for item in items {
        let Some(section) = reader.keys(item, "a pool", &[KEYS, tls::POOL_KEYS]) else { continue };
        let Some(pool) = read_pool(reader, section) else { continue };
        if let Some(line) = lines.insert(pool.name.clone(), section.place().line) {
            let what = format!("pool '{}' stands here twice, first in line {line}", pool.name);
            reader.error(section.place(), what, "every pool has a name of its own".to_owned());
        }
        pools.push(pool);
    }
    pools
}

fn read_pool(reader: &mut Reader<'_>, section: Section<'_>) -> Option<PoolConfig> {
    let name = value::name(reader, section, "a pool")?;
    let mode = section.get("mode").and_then(|n| reader.word(n, "mode", &Mode::WORDS)).unwrap_or_default();
    let mut pool = PoolConfig::new(&name, mode);
    if let Some(balance) = section.get("balance").and_then(|n| reader.word(n, "balance", &Balance::WORDS)) {
        pool.balance = balance;
        if balance == Balance::Uri && mode != Mode::Http {
            let hint = "source is the consistent hash for other modes".to_owned();
            reader.error(section.key_place("balance"), "'balance': uri needs mode: http", hint);
        }
    }
    pool.check = section.get("check").and_then(|n| check::read_check(reader, n));
    pool.outliers = section.get("outliers").and_then(|n| check::read_outliers(reader, n));
    pool.persistence = section.get("persistence").and_then(|n| read_persistence(reader, n, mode));
    if let Some(node) = section.get("queue") {
        read_queue(reader, node, &mut pool.queue);
    }
    pool.slowstart = section.get("slowstart").and_then(|n| reader.duration(n, "slowstart", LEAST));
    if let Some(node) = section.get("retries") {
        read_retries(reader, node, &mut pool.retries);
    }
    if let Some(node) = section.get("idle_connections")
        && let Some(idle) = reader.keys(node, "idle_connections", &[&["max", "purge_delay"]])
    {
        pool.idle_connections.max = idle.get("max").and_then(|n| reader.number(n, "max", 0..=10_000_000)).map(|n| n as u32);
        value::duration(reader, idle, "purge_delay", Duration::from_secs(1), &mut pool.idle_connections.purge_delay);
    }
    if let Some(node) = section.get("timeouts")
        && let Some(timeouts) = reader.keys(node, "timeouts", &[&["connect", "server", "idle"]])
    {
        value::duration(reader, timeouts, "connect", LEAST, &mut pool.timeouts.connect);
        value::duration(reader, timeouts, "server", LEAST, &mut pool.timeouts.server);
        value::duration(reader, timeouts, "idle", Duration::ZERO, &mut pool.timeouts.idle);
    }
    let versions = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    pool.proxy_protocol = section.get("proxy_protocol").and_then(|n| reader.word(n, "proxy_protocol", &versions));
    pool.http2 = section.get("http2").and_then(|n| reader.boolean(n, "http2")).unwrap_or(false);
    pool.tls = tls::read_pool(reader, section, mode, pool.http2);
    pool.servers = read_servers(reader, section, &name, pool.check.is_some());
    if mode != Mode::Http && section.get("idle_connections").is_some() {
        let what = format!("'idle_connections' has no meaning for mode: {}", mode.word());
        reader.error(section.key_place("idle_connections"), what, None);
    }
    if mode == Mode::Udp {
        for key in
            ["retries", "queue", "proxy_protocol", "http2"].iter().chain(tls::POOL_KEYS).filter(|k| section.get(k).is_some())
        {
            reader.error(section.key_place(key), format!("'{key}' has no meaning for mode: udp"), None);
        }
    }
    Some(pool)
}

fn read_servers(reader: &mut Reader<'_>, section: Section<'_>, pool: &str, checked: bool) -> Vec<ServerConfig> {
    let hint = || "write servers: and below it `- {name: a1, address: 10.0.0.5:80}`".to_owned();
    let Some(node) = section.get("servers") else {
        reader.error(section.place(), format!("pool '{pool}' has no servers"), hint());
        return Vec::new();
    };
    let Value::List(items) = &node.value else {
        reader.error(node.place, format!("servers are a list, not {}", node.kind()), hint());
        return Vec::new();
    };
    if items.is_empty() {
        reader.error(node.place, format!("pool '{pool}' has no servers"), hint());
    }
    let mut servers: Vec<ServerConfig> = Vec::with_capacity(items.len());
    let mut lines: HashMap<Arc<str>, usize> = HashMap::new();
    let mut cookies: HashMap<Arc<str>, usize> = HashMap::new();
    for item in items {
        let Some(server_section) = reader.keys(item, "a server", &[SERVER_KEYS]) else { continue };
        let Some(server) = read_server(reader, server_section, checked) else { continue };
        let place = server_section.place();
        if let Some(line) = lines.insert(server.name.clone(), place.line) {
            let what = format!("server '{}' stands in this pool twice, first in line {line}", server.name);
            reader.error(place, what, "every server of a pool has a name of its own".to_owned());
        } else if let Some(line) = cookies.insert(server.cookie.clone(), place.line) {
            let what = format!("cookie '{}' is another server's too, in line {line}", server.cookie);
            reader.error(place, what, "clients of the one would be sent to the other".to_owned());
        }
        servers.push(server);
    }
    servers
}

fn read_server(reader: &mut Reader<'_>, section: Section<'_>, checked: bool) -> Option<ServerConfig> {
    let name = value::name(reader, section, "a server");
    let Some(address) = section.get("address") else {
        reader.error(section.place(), "a server needs 'address'", "for instance address: 10.0.0.5:80".to_owned());
        return None;
    };
    let address = value::socket_address(reader, address, "address").filter(|a| {
        if a.port() == 0 {
            reader.error(section.key_place("address"), "'address': port 0 is no port of a server", None);
        }
        true
    });
    let mut server = ServerConfig::new(&name?, address?);
    if let Some(weight) = section.get("weight").and_then(|n| reader.number(n, "weight", 0..=u64::from(MAX_WEIGHT))) {
        server.weight = weight as u16;
    }
    if let Some(n) = section.get("maxconn").and_then(|n| reader.number(n, "maxconn", 0..=10_000_000)) {
        server.maxconn = (n > 0).then_some(n as u32);
    }
    let flag = |reader: &mut Reader<'_>, key: &str| section.get(key).and_then(|n| reader.boolean(n, key));
    server.backup = flag(reader, "backup").unwrap_or(false);
    server.disabled = flag(reader, "disabled").unwrap_or(false);
    server.check = flag(reader, "check").unwrap_or(true);
    if section.get("check").is_some() && server.check && !checked {
        let hint = "write check: in the pool to say how servers are checked".to_owned();
        reader.error(section.key_place("check"), "'check': the pool has no checks", hint);
    }
    server.check_port = section.get("check_port").and_then(|n| reader.port(n, "check_port"));
    if let Some(node) = section.get("cookie")
        && let Some(text) = reader.text(node, "cookie")
    {
        // What RFC 6265 lets stand in a cookie's value.
        if text.bytes().all(|b| b.is_ascii_graphic() && !b"\",;\\".contains(&b)) {
            server.cookie = text.into();
        } else {
            reader.error(node.place, "'cookie': holds what a cookie's value cannot", None);
        }
    }
    Some(server)
}

fn read_persistence(reader: &mut Reader<'_>, node: &Node, mode: Mode) -> Option<Persistence> {
    let section = reader.keys(node, "persistence", &[&["cookie", "source", "drain"]])?;
    let modes = [("keep", DrainPersistence::Keep), ("move", DrainPersistence::Move)];
    let drain = section.get("drain").and_then(|n| reader.word(n, "drain", &modes)).unwrap_or_default();
    let by = match (section.get("cookie"), section.get("source")) {
        (Some(_), Some(_)) => {
            reader.error(section.key_place("source"), "persistence is by cookie or by source, not both", None);
            return None;
        }
        (Some(node), None) => {
            if mode != Mode::Http {
                let hint = "source works in every mode".to_owned();
                reader.error(section.key_place("cookie"), "persistence by cookie needs mode: http", hint);
            }
            read_cookie(reader, node)?
        }
        (None, Some(node)) => {
            let source = reader.keys(node, "source", &[&["expire", "size"]])?;
            let mut expire = Duration::from_secs(30 * 60);
            value::duration(reader, source, "expire", Duration::from_secs(1), &mut expire);
            let size = source.get("size").and_then(|n| reader.number(n, "size", 1..=100_000_000));
            PersistBy::Source { expire, size: size.map_or(100_000, |n| n as usize) }
        }
        (None, None) => {
            let hint = "write cookie: {name: srv} or source: {expire: 30m}".to_owned();
            reader.error(section.place(), "persistence by what?", hint);
            return None;
        }
    };
    Some(Persistence { by, drain })
}

fn read_cookie(reader: &mut Reader<'_>, node: &Node) -> Option<PersistBy> {
    let section = reader.keys(node, "cookie", &[&["name", "secure", "http_only", "max_age"]])?;
    let Some(name) = section.get("name") else {
        reader.error(section.place(), "a cookie needs 'name'", None);
        return None;
    };
    let text = reader.text(name, "name")?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
        reader.error(name.place, format!("'name': '{text}' is no name of a cookie"), None);
        return None;
    }
    Some(PersistBy::Cookie {
        name: text.into(),
        secure: section.get("secure").and_then(|n| reader.boolean(n, "secure")).unwrap_or(false),
        http_only: section.get("http_only").and_then(|n| reader.boolean(n, "http_only")).unwrap_or(true),
        max_age: section.get("max_age").and_then(|n| reader.duration(n, "max_age", Duration::from_secs(1))),
    })
}

fn read_queue(reader: &mut Reader<'_>, node: &Node, queue: &mut QueueConfig) {
    let Some(section) = reader.keys(node, "queue", &[&["timeout", "length"]]) else { return };
    value::duration(reader, section, "timeout", LEAST, &mut queue.timeout);
    if let Some(length) = section.get("length").and_then(|n| reader.number(n, "length", 0..=10_000_000)) {
        queue.length = length as usize;
    }
}

fn read_retries(reader: &mut Reader<'_>, node: &Node, retries: &mut RetryConfig) {
    let Some(section) = reader.keys(node, "retries", &[&["connect", "attempts", "budget", "floor"]]) else { return };
    if let Some(n) = section.get("connect").and_then(|n| reader.number(n, "connect", 0..=10)) {
        retries.connect = n as u32;
    }
    if let Some(n) = section.get("attempts").and_then(|n| reader.number(n, "attempts", 0..=10)) {
        retries.attempts = n as u32;
    }
    if let Some(share) = section.get("budget").and_then(|n| value::percent(reader, n, "budget")) {
        retries.budget = share;
    }
    if let Some(n) = section.get("floor").and_then(|n| reader.number(n, "floor", 0..=1_000_000)) {
        retries.floor = n as u32;
    }
}
