//! Health checks of a pool and the ejection of outliers.

use std::sync::Arc;
use std::time::Duration;

use crate::config::reader::{Reader, Section};
use crate::config::yaml::Node;

use super::value;

/// Active checks, in HAProxy's words and with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConfig {
    pub kind: CheckKind,
    /// Checks are spoken over TLS (the certificate is not looked at: a check asks whether the server works).
    pub tls: bool,
    /// Server name in the TLS handshake.
    pub sni: Option<Arc<str>>,
    /// Between the checks of a server whose state is settled.
    pub inter: Duration,
    /// Between checks while the state is about to change; None = `inter`.
    pub fastinter: Option<Duration>,
    /// Between checks of a server that is down; None = `inter`.
    pub downinter: Option<Duration>,
    /// Good checks in a row that make a server up.
    pub rise: u32,
    /// Bad checks in a row that make a server down.
    pub fall: u32,
    /// For the whole of one check.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// A connection can be established.
    Tcp,
    Http(HttpCheck),
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpCheck {
    pub method: Arc<str>,
    pub path: Arc<str>,
    /// Value of Host; None = the server's address.
    pub host: Option<Arc<str>>,
    /// Ranges of status codes that are good, both ends included.
    pub status: Vec<(u16, u16)>,
    /// Text that the body must hold.
    pub body: Option<Arc<str>>,
}

impl CheckConfig {
    /// What is asked, in a few words that stay the same from version to version: what one process learned by it holds for the next.
    pub fn about(&self) -> String {
        let tls = if self.tls { "tls " } else { "" };
        match &self.kind {
            CheckKind::Tcp => format!("{tls}tcp"),
            CheckKind::Http(http) => format!("{tls}http {} {}", http.method, http.path),
        }
    }
}

/// Ejection of servers that fail real requests.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierConfig {
    /// Failures in a row (5xx answers, connections refused, timeouts) that eject a server.
    pub consecutive: u32,
    /// How long it is out for the first time; each time again it is as much longer, up to ten times.
    pub eject: Duration,
    /// Share of a pool's servers that may be out at once, 0.0 to 1.0. The last one that serves never is.
    pub max_ejected: f64,
}

const KEYS: &[&str] = &[
    "type",
    "tls",
    "sni",
    "inter",
    "fastinter",
    "downinter",
    "rise",
    "fall",
    "timeout",
    "method",
    "path",
    "host",
    "status",
    "body",
];
const HTTP_KEYS: &[&str] = &["method", "path", "host", "status", "body"];
const LEAST: Duration = Duration::from_millis(10);

pub(super) fn read_check(reader: &mut Reader<'_>, node: &Node) -> Option<CheckConfig> {
    let section = reader.keys(node, "check", &[KEYS])?;
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Tcp,
        Http,
    }
    let kinds = [("tcp", Kind::Tcp), ("http", Kind::Http)];
    let written = section.get("type").and_then(|n| reader.word(n, "type", &kinds));
    let says_http = HTTP_KEYS.iter().find(|k| section.get(k).is_some());
    let kind = written.unwrap_or(if says_http.is_some() { Kind::Http } else { Kind::Tcp });
    if let (Kind::Tcp, Some(key)) = (kind, says_http) {
        reader.error(section.key_place(key), format!("'{key}' needs type: http"), None);
    }
    let inter = section.get("inter").and_then(|n| reader.duration(n, "inter", LEAST)).unwrap_or(Duration::from_secs(2));
    let other = |reader: &mut Reader<'_>, key: &str| section.get(key).and_then(|n| reader.duration(n, key, LEAST));
    let (fastinter, downinter) = (other(reader, "fastinter"), other(reader, "downinter"));
    let timeout = other(reader, "timeout").unwrap_or(inter.min(Duration::from_secs(10)));
    if timeout > inter {
        let place = if section.get("timeout").is_some() { "timeout" } else { "inter" };
        let hint = "a check must have ended before the next one begins".to_owned();
        reader.error(section.key_place(place), "'timeout' is longer than 'inter'", hint);
    }
    let count = |reader: &mut Reader<'_>, key: &str, default: u32| {
        section.get(key).and_then(|n| reader.number(n, key, 1..=1000)).map_or(default, |n| n as u32)
    };
    let (rise, fall) = (count(reader, "rise", 2), count(reader, "fall", 3));
    let tls = section.get("tls").and_then(|n| reader.boolean(n, "tls")).unwrap_or(false);
    let sni = section.get("sni").and_then(|n| reader.text(n, "sni")).map(Arc::from);
    if sni.is_some() && !tls {
        reader.error(section.key_place("sni"), "'sni' needs tls: true", None);
    }
    let kind = match kind {
        Kind::Tcp => CheckKind::Tcp,
        Kind::Http => CheckKind::Http(read_http(reader, section)),
    };
    Some(CheckConfig { kind, tls, sni, inter, fastinter, downinter, rise, fall, timeout })
}

fn read_http(reader: &mut Reader<'_>, section: Section<'_>) -> HttpCheck {
    let words = [("GET", "GET"), ("HEAD", "HEAD"), ("OPTIONS", "OPTIONS"), ("POST", "POST")];
    let method = section.get("method").and_then(|n| reader.word(n, "method", &words)).unwrap_or("GET");
    // What goes into a request head may not end a line of it; spaces would end the path.
    let plain = |reader: &mut Reader<'_>, key: &str, good: fn(&str) -> bool| {
        let node = section.get(key)?;
        let text = reader.text(node, key)?;
        if !good(&text) {
            reader.error(node.place, format!("'{key}': '{text}' cannot stand in a request"), None);
            return None;
        }
        Some(Arc::<str>::from(text))
    };
    let path = plain(reader, "path", |t| t.starts_with('/') && t.bytes().all(|b| b.is_ascii_graphic()));
    let host = plain(reader, "host", |t| t.bytes().all(|b| b.is_ascii_graphic()));
    let body = section.get("body").and_then(|n| reader.text(n, "body")).map(Arc::from);
    if body.is_some() && method == "HEAD" {
        reader.error(section.key_place("body"), "'body': an answer to HEAD has none", "write method: GET".to_owned());
    }
    HttpCheck {
        method: method.into(),
        path: path.unwrap_or_else(|| "/".into()),
        host,
        status: section.get("status").map_or_else(|| vec![(200, 399)], |n| read_status(reader, n)),
        body,
    }
}

/// `200`, `200-299`, or a list of both.
fn read_status(reader: &mut Reader<'_>, node: &Node) -> Vec<(u16, u16)> {
    let mut ranges = Vec::new();
    for (text, place) in reader.texts(node, "status") {
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        match (from.trim().parse::<u16>(), to.trim().parse::<u16>()) {
            (Ok(from), Ok(to)) if (100..=599).contains(&from) && (from..=599).contains(&to) => ranges.push((from, to)),
            _ => {
                let hint = "write for instance 200, 200-299 or [200, 204]".to_owned();
                reader.error(place, format!("'status': '{text}' is no status code"), hint);
            }
        }
    }
    ranges
}

pub(super) fn read_outliers(reader: &mut Reader<'_>, node: &Node) -> Option<OutlierConfig> {
    let section = reader.keys(node, "outliers", &[&["consecutive", "eject", "max_ejected"]])?;
    let mut config = OutlierConfig { consecutive: 5, eject: Duration::from_secs(30), max_ejected: 0.5 };
    if let Some(n) = section.get("consecutive").and_then(|n| reader.number(n, "consecutive", 1..=10_000)) {
        config.consecutive = n as u32;
    }
    value::duration(reader, section, "eject", LEAST, &mut config.eject);
    if let Some(share) = section.get("max_ejected").and_then(|n| value::percent(reader, n, "max_ejected")) {
        config.max_ejected = share;
    }
    Some(config)
}
