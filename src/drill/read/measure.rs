//! The section `measure` of a drill file.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::yaml::{Node, Value};
use crate::drill::spec::{Measure, ProbeAsk, StreamAsk};
use crate::probe::MAX_HZ;

/// Probes of one drill at most: more are no measurement but a load.
const MAX_PROBES: usize = 8;
const MAX_STREAMS: u64 = 1000;
const PROBE_KEYS: &[&str] = &["http", "tcp", "to", "port", "host", "hz", "timeout", "new_conn"];

pub fn read_measure(reader: &mut Reader<'_>, node: &Node) -> Measure {
    let mut measure = Measure { probes: Vec::new(), streams: None, from_agents: Vec::new() };
    let Some(section) = reader.keys(node, "measure", &[&["probes", "streams", "from_agents"]]) else { return measure };
    match section.get("probes") {
        Some(Node { value: Value::List(items), .. }) if !items.is_empty() && items.len() <= MAX_PROBES => {
            measure.probes = items.iter().filter_map(|item| read_probe(reader, item)).collect();
        }
        Some(node) => {
            let hint = "write probes: [{http: /healthz, hz: 20, timeout: 500ms}]".to_owned();
            reader.error(node.place, format!("'probes' is a list of 1 to {MAX_PROBES} probes"), hint);
        }
        None => reader.error(section.place(), "'measure' needs 'probes'", "write probes: [{http: /, hz: 20}]".to_owned()),
    }
    measure.streams = section.get("streams").and_then(|n| read_streams(reader, n));
    if let Some(node) = section.get("from_agents") {
        measure.from_agents = reader.texts(node, "from_agents").into_iter().map(|(text, _)| text).collect();
    }
    measure
}

fn read_probe(reader: &mut Reader<'_>, node: &Node) -> Option<ProbeAsk> {
    let section = reader.keys(node, "a probe", &[PROBE_KEYS])?;
    let mut ask = ProbeAsk {
        http: None,
        host: section.get("host").and_then(|n| reader.text(n, "host")),
        to: section.get("to").and_then(|n| reader.host_port(n, "to")),
        port: 80,
        hz: 20,
        timeout: Duration::from_millis(500),
        new_conn: true,
    };
    match (section.get("http"), section.get("tcp")) {
        (Some(http), None) => {
            let path = reader.text(http, "http")?;
            if path.starts_with("http://") || path.starts_with("https://") {
                let hint = "write the path here, and the place as to: HOST:PORT; probes speak plain HTTP and TCP".to_owned();
                reader.error(http.place, format!("'http' is a path, not '{path}'"), hint);
                return None;
            }
            if !path.starts_with('/') || path.contains(' ') {
                reader.error(http.place, format!("'http': '{path}' is no path"), "it begins with / and has no blank".to_owned());
                return None;
            }
            ask.http = Some(path);
        }
        (None, Some(tcp)) => ask.port = reader.port(tcp, "tcp")?,
        (Some(_), Some(tcp)) => {
            reader.error(tcp.place, "a probe is 'http' or 'tcp', not both", "write two probes".to_owned());
            return None;
        }
        (None, None) => {
            let hint = "write http: /healthz, or tcp: 443".to_owned();
            reader.error(section.place(), "a probe needs 'http' (a path) or 'tcp' (a port)", hint);
            return None;
        }
    }
    if let Some(n) = section.get("port") {
        if ask.http.is_none() {
            reader.error(n.place, "the port of a TCP probe is the value of 'tcp'", "leave 'port' out".to_owned());
        }
        ask.port = reader.port(n, "port").unwrap_or(ask.port);
    }
    if let Some(n) = section.get("hz") {
        ask.hz = reader.number(n, "hz", 1..=u64::from(MAX_HZ)).and_then(|n| u32::try_from(n).ok()).unwrap_or(ask.hz);
    }
    if let Some(n) = section.get("timeout") {
        ask.timeout = reader.duration(n, "timeout", Duration::from_millis(10)).unwrap_or(ask.timeout);
        if ask.timeout > Duration::from_secs(10) {
            reader.error(n.place, "'timeout': longer than 10s, so a dead service would look slow", None);
        }
    }
    if let Some(n) = section.get("new_conn") {
        ask.new_conn = reader.boolean(n, "new_conn").unwrap_or(true);
    }
    Some(ask)
}

fn read_streams(reader: &mut Reader<'_>, node: &Node) -> Option<StreamAsk> {
    let section = reader.keys(node, "streams", &[&["tcp", "keepalive"]])?;
    let connections = match section.get("tcp") {
        Some(n) => reader.number(n, "tcp", 1..=MAX_STREAMS)?,
        None => {
            reader.error(section.place(), "'streams' needs 'tcp', the number of held connections", "write tcp: 50".to_owned());
            return None;
        }
    };
    let keepalive = match section.get("keepalive") {
        Some(n) => reader.duration(n, "keepalive", Duration::from_millis(20))?,
        None => Duration::from_millis(200),
    };
    Some(StreamAsk { connections: u16::try_from(connections).ok()?, keepalive })
}
