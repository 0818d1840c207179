//! A listener: where clients connect, what is spoken with them, and which pool serves them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::diagnostic::Place;
use crate::config::reader::{Reader, Section};
use crate::config::yaml::{Node, Value};

use crate::agent::relay::tls::terminate::TerminateConfig;

use super::{PoolNames, content, log, protect, route, tls, value};

/// What a listener and a pool speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    #[default]
    Http,
    Tcp,
    Udp,
}

impl Mode {
    pub(super) const WORDS: [(&'static str, Mode); 3] = [("http", Mode::Http), ("tcp", Mode::Tcp), ("udp", Mode::Udp)];

    pub const fn word(self) -> &'static str {
        match self {
            Mode::Http => "http",
            Mode::Tcp => "tcp",
            Mode::Udp => "udp",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// Port 0 lets the system choose one; the relay's snapshot tells which.
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindAddress::Ip(address) => address.fmt(f),
            BindAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListenerConfig {
    pub name: Arc<str>,
    pub mode: Mode,
    /// At least one.
    pub bind: Vec<BindAddress>,
    /// The pool of what no route takes elsewhere; None only where routes say it all.
    pub pool: Option<Arc<str>>,
    /// Client connections at once (UDP: sessions); None = no limit of its own.
    pub maxconn: Option<usize>,
    /// Networks whose connections must begin with a PROXY protocol header; others must not. Empty = nobody sends one.
    pub proxy_protocol_from: Vec<IpNet>,
    pub timeouts: ListenerTimeouts,
    /// A client that closes before it has its response ends the request at the server too, where its method may be repeated.
    pub abort_on_close: bool,
    pub tls: Option<TerminateConfig>,
    pub routes: route::Routes,
    pub protect: protect::Protect,
    pub content: content::Content,
    pub log: log::Log,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// Silence of a client while something is expected of it. UDP: silence of both sides after which a session ends.
    pub client: Duration,
    /// For the whole head of a request (and a PROXY protocol header, and a TLS handshake) to arrive.
    pub request: Duration,
    /// Silence between requests of one connection.
    pub keepalive: Duration,
    /// Silence of both sides of a tunnel (TCP mode, WebSocket, CONNECT).
    pub tunnel: Duration,
}

impl ListenerTimeouts {
    fn of(mode: Mode) -> Self {
        let client = Duration::from_secs(if mode == Mode::Udp { 30 } else { 60 });
        Self { client, request: Duration::from_secs(10), keepalive: Duration::from_secs(60), tunnel: Duration::from_secs(3600) }
    }
}

const KEYS: &[&str] = &["name", "mode", "bind", "pool", "maxconn", "proxy_protocol_from", "timeouts", "abort_on_close"];
/// UDP has no end of a connection to count by: without a limit, one sender of forged addresses takes all memory.
const UDP_SESSIONS: usize = 10_000;

pub(super) fn read_listeners(reader: &mut Reader<'_>, node: &Node, pools: &PoolNames) -> Vec<ListenerConfig> {
    let Value::List(items) = &node.value else {
        let hint = "write each listener as `- name: web`".to_owned();
        reader.error(node.place, format!("listeners are a list, not {}", node.kind()), hint);
        return Vec::new();
    };
    let mut found: Vec<ListenerConfig> = Vec::with_capacity(items.len());
    let mut lines: HashMap<Arc<str>, usize> = HashMap::new();
    let mut bound = Bound::default();
    for item in items {
        let known = &[KEYS, tls::LISTENER_KEYS, route::KEYS, protect::KEYS, content::KEYS, log::KEYS];
        let Some(section) = reader.keys(item, "a listener", known) else { continue };
        let Some(listener) = read_listener(reader, section, pools, &mut bound) else { continue };
        if let Some(line) = lines.insert(listener.name.clone(), section.place().line) {
            let what = format!("listener '{}' stands here twice, first in line {line}", listener.name);
            reader.error(section.place(), what, "every listener has a name of its own".to_owned());
        }
        found.push(listener);
    }
    found
}

fn read_listener(reader: &mut Reader<'_>, section: Section<'_>, pools: &PoolNames, bound: &mut Bound) -> Option<ListenerConfig> {
    let name = value::name(reader, section, "a listener")?;
    let mode = section.get("mode").and_then(|n| reader.word(n, "mode", &Mode::WORDS)).unwrap_or_default();
    let bind = read_bind(reader, section, &name, mode, bound);
    let pool = section.get("pool").and_then(|n| pools.read(reader, n, "pool", mode));
    let mut timeouts = ListenerTimeouts::of(mode);
    if let Some(node) = section.get("timeouts") {
        read_timeouts(reader, node, &mut timeouts);
    }
    let routes = route::read(reader, section, pools);
    if section.get("pool").is_none() && !routes.is_complete() {
        let hint = "write pool: NAME, the pool of what no route takes elsewhere".to_owned();
        reader.error(section.place(), format!("listener '{name}' has no pool"), hint);
    }
    let maxconn = section.get("maxconn").and_then(|n| reader.number(n, "maxconn", 1..=10_000_000)).map(|n| n as usize);
    let listener = ListenerConfig {
        name: name.into(),
        mode,
        bind,
        pool,
        maxconn: maxconn.or((mode == Mode::Udp).then_some(UDP_SESSIONS)),
        proxy_protocol_from: section
            .get("proxy_protocol_from")
            .map_or_else(Vec::new, |n| value::networks(reader, n, "proxy_protocol_from")),
        timeouts,
        abort_on_close: section.get("abort_on_close").and_then(|n| reader.boolean(n, "abort_on_close")).unwrap_or(true),
        tls: tls::read_listener(reader, section, mode),
        routes,
        protect: protect::read(reader, section),
        content: content::read(reader, section),
        log: log::read(reader, section),
    };
    if mode != Mode::Http {
        for key in [route::KEYS, content::KEYS, &["abort_on_close"]].concat() {
            if section.get(key).is_some() {
                let what = format!("'{key}' needs mode: http; listener '{}' has mode: {}", listener.name, mode.word());
                reader.error(section.key_place(key), what, None);
            }
        }
    }
    if mode == Mode::Udp {
        for key in ["proxy_protocol_from"].iter().chain(tls::LISTENER_KEYS) {
            if section.get(key).is_some() {
                reader.error(section.key_place(key), format!("'{key}' has no meaning for mode: udp"), None);
            }
        }
    }
    Some(listener)
}

fn read_timeouts(reader: &mut Reader<'_>, node: &Node, timeouts: &mut ListenerTimeouts) {
    const LEAST: Duration = Duration::from_millis(1);
    let Some(section) = reader.keys(node, "timeouts", &[&["client", "request", "keepalive", "tunnel"]]) else { return };
    value::duration(reader, section, "client", LEAST, &mut timeouts.client);
    value::duration(reader, section, "request", LEAST, &mut timeouts.request);
    value::duration(reader, section, "keepalive", LEAST, &mut timeouts.keepalive);
    value::duration(reader, section, "tunnel", LEAST, &mut timeouts.tunnel);
}

/// Addresses that listeners before this one took; UDP and TCP have ports of their own.
#[derive(Default)]
struct Bound {
    taken: Vec<(BindAddress, bool, String, Place)>,
}

impl Bound {
    /// The listener and line that took an address before, itself or by taking all addresses of the machine.
    fn before(&self, address: &BindAddress, udp: bool) -> Option<(&str, usize)> {
        self.taken
            .iter()
            .find(|(other, other_udp, ..)| *other_udp == udp && clash(other, address))
            .map(|(_, _, name, place)| (name.as_str(), place.line))
    }
}

fn clash(a: &BindAddress, b: &BindAddress) -> bool {
    match (a, b) {
        (BindAddress::Ip(a), BindAddress::Ip(b)) => {
            let same_family = a.is_ipv4() == b.is_ipv4();
            a.port() != 0
                && a.port() == b.port()
                && (a.ip() == b.ip() || same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()))
        }
        (BindAddress::Unix(a), BindAddress::Unix(b)) => a == b,
        _ => false,
    }
}

fn read_bind(reader: &mut Reader<'_>, section: Section<'_>, name: &str, mode: Mode, bound: &mut Bound) -> Vec<BindAddress> {
    let Some(node) = section.get("bind") else {
        let hint = "write bind: 0.0.0.0:80, or a list of addresses".to_owned();
        reader.error(section.place(), format!("listener '{name}' needs 'bind'"), hint);
        return Vec::new();
    };
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() {
        reader.error(node.place, format!("listener '{name}' is bound to nothing"), None);
    }
    let mut addresses = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = reader.text(item, "bind") else { continue };
        let Some(path) = value::unix_path(reader, item, "bind", &text) else { continue };
        if path.is_some() && mode == Mode::Udp {
            reader.error(item.place, "'bind': mode: udp needs an IP address and a port", None);
            continue;
        }
        let address = match path {
            Some(path) => BindAddress::Unix(path),
            // `:80` and `*:80` are how HAProxy's users write all addresses of the machine.
            None => match text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).map(|port| format!("0.0.0.0:{port}")) {
                Some(all) if all.parse::<SocketAddr>().is_ok() => {
                    reader.error(item.place, format!("'bind': write {all} instead of {text}"), "or \"[::]:PORT\"".to_owned());
                    continue;
                }
                _ => match value::socket_address(reader, item, "bind") {
                    Some(address) => BindAddress::Ip(address),
                    None => continue,
                },
            },
        };
        if let Some((other, line)) = bound.before(&address, mode == Mode::Udp) {
            let what = format!("'bind': {address} is taken already, by listener '{other}' in line {line}");
            reader.error(item.place, what, "give it another port or address".to_owned());
        }
        bound.taken.push((address.clone(), mode == Mode::Udp, name.to_owned(), item.place));
        addresses.push(address);
    }
    addresses
}
