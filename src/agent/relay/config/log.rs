//! The access log: what a listener logs, and where the relay's log goes.

use std::path::PathBuf;

use crate::agent::relay::log::sample::SampleConfig;
use crate::agent::relay::log::sink::Target;
use crate::agent::relay::log::{DEFAULT_BUFFER, Format, LogConfig, request_id};
use crate::agent::relay::route::edit::check_name;
use crate::config::reader::{Reader, Section};
use crate::config::yaml::{Node, Value};

/// What a listener says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Whether its requests are logged, where the relay has a log.
    pub enabled: bool,
    /// Header that carries a request's id to the server and back; None = requests get no id.
    pub request_id: Option<Box<str>>,
}

impl Default for Log {
    fn default() -> Self {
        Self { enabled: true, request_id: None }
    }
}

/// Keys of a listener that are read here.
pub const KEYS: &[&str] = &["access_log", "request_id"];

/// Reads the keys of a listener.
pub fn read(reader: &mut Reader<'_>, listener: Section<'_>) -> Log {
    let mut log = Log::default();
    if let Some(enabled) = listener.get("access_log").and_then(|n| reader.boolean(n, "access_log")) {
        log.enabled = enabled;
    }
    log.request_id = listener.get("request_id").and_then(|node| {
        if let Value::Bool(on) = node.value {
            return on.then(|| request_id::DEFAULT_HEADER.into());
        }
        let name = reader.text(node, "request_id")?;
        match check_name(&name) {
            Ok(()) => Some(name.into()),
            Err(why) => {
                reader.error(node.place, format!("'request_id': {why}"), format!("for instance {}", request_id::DEFAULT_HEADER));
                None
            }
        }
    });
    log
}

/// What `global` says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobalLog {
    /// None = no access log.
    pub access: Option<LogConfig>,
}

/// Keys of `global` that are read here.
pub const GLOBAL_KEYS: &[&str] = &["access_log"];

/// Reads the keys of `global`.
pub fn read_global(reader: &mut Reader<'_>, global: Section<'_>) -> GlobalLog {
    GlobalLog { access: global.get("access_log").and_then(|n| read_access_log(reader, n)) }
}

fn read_access_log(reader: &mut Reader<'_>, node: &Node) -> Option<LogConfig> {
    const FORMATS: [(&str, Format); 2] = [("haproxy", Format::Haproxy), ("json", Format::Json)];
    let s = reader.keys(node, "access_log", &[&["to", "format", "sample", "buffer"]])?;
    let Some(to) = s.get("to") else {
        reader.error(s.place(), "access_log needs 'to'", Some(TARGETS.to_owned()));
        return None;
    };
    let target = read_target(reader, to);
    let format = s.get("format").and_then(|n| reader.word(n, "format", &FORMATS)).unwrap_or_default();
    let sample = s.get("sample").and_then(|n| read_sample(reader, n));
    let buffer = s.get("buffer").and_then(|n| reader.size(n, "buffer", 64 << 10..=1 << 30)).unwrap_or(DEFAULT_BUFFER);
    Some(LogConfig { target: target?, format, sample, buffer })
}

const TARGETS: &str = "a file's absolute path, stdout, syslog:/dev/log or syslog:127.0.0.1:514";

fn read_target(reader: &mut Reader<'_>, node: &Node) -> Option<Target> {
    let text = reader.text(node, "to")?;
    let target = match text.strip_prefix("syslog:") {
        Some(socket) if socket.starts_with('/') => Some(Target::SyslogUnix(PathBuf::from(socket))),
        Some(address) => address.parse().ok().map(Target::SyslogUdp),
        None if text == "stdout" => Some(Target::Stdout),
        None => text.starts_with('/').then(|| Target::File(PathBuf::from(&text))),
    };
    if target.is_none() {
        reader.error(node.place, format!("'to': '{text}' is no place for a log"), Some(TARGETS.to_owned()));
    }
    target
}

fn read_sample(reader: &mut Reader<'_>, node: &Node) -> Option<SampleConfig> {
    let s = reader.keys(node, "sample", &[&["above", "keep_one_of"]])?;
    let mut number = |key: &str, otherwise: u32| match s.get(key) {
        Some(node) => reader.number(node, key, 1..=1_000_000).and_then(|n| u32::try_from(n).ok()),
        None => Some(otherwise),
    };
    let (above, keep_one_of) = (number("above", 1000), number("keep_one_of", 10));
    Some(SampleConfig { above: above?, keep_one_of: keep_one_of? })
}
