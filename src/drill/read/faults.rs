//! The section `fault` of a drill file.

use std::time::Duration;

use crate::config::reader::{Reader, Section, nearest};
use crate::config::yaml::{Node, Value};
use crate::model::ServerRef;
use crate::ops::drill::{Direction, Fault, KillSignal, Killing, Netem};

use super::rules::percent;

const KINDS: &[&str] =
    &["stop", "kill", "freeze", "vrrp_drop", "isolate", "netem", "link", "engine_kill", "server_kill", "track_file"];
const KILL_KEYS: &[&str] = &["signal", "hold_down"];

#[derive(Default)]
pub struct Faults {
    pub faults: Vec<Fault>,
    pub hold: Duration,
    /// It happens on the node of a server.
    pub by_server: bool,
}

pub fn read_faults(reader: &mut Reader<'_>, node: &Node) -> Option<Faults> {
    let items = match &node.value {
        Value::List(items) if !items.is_empty() => items.as_slice(),
        _ => {
            let hint = "write `fault:` and below it `- kill: {unit: keepalived}`".to_owned();
            reader.error(node.place, format!("'fault' is a list of faults, not {}", node.kind()), hint);
            return None;
        }
    };
    let mut all = Faults::default();
    let mut hold: Option<Duration> = None;
    for item in items {
        let Some((fault, duration)) = read_fault(reader, item) else { continue };
        if let (Some(before), Some((duration, place))) = (hold, duration)
            && before != duration
        {
            let hint = "they are undone together; write two drills for two durations".to_owned();
            reader.error(place, "the faults of a drill last equally long", hint);
        }
        hold = hold.or(duration.map(|(d, _)| d));
        all.faults.push(fault);
    }
    all.hold = hold.unwrap_or(Duration::from_secs(30));
    all.by_server = all.faults.iter().any(|f| matches!(f, Fault::ServerKill { .. }));
    if all.by_server && all.faults.len() > 1 {
        let hint = "it happens on another node than the others; write two drills".to_owned();
        reader.error(node.place, "server_kill stands alone", hint);
    }
    (!all.faults.is_empty()).then_some(all)
}

type Lasting = Option<(Duration, crate::config::diagnostic::Place)>;

fn read_fault(reader: &mut Reader<'_>, node: &Node) -> Option<(Fault, Lasting)> {
    let keys: Vec<&str> = KINDS.iter().copied().chain(["duration"]).collect();
    let named: Vec<&str> = KINDS.iter().copied().filter(|kind| node.get(kind).is_some()).collect();
    if let Value::Text(word) = &node.value {
        let hint = match nearest(word, KINDS.iter().copied()) {
            Some(kind) => format!("write `- {kind}: {{}}`"),
            None => format!("one of {}", KINDS.join(", ")),
        };
        reader.error(node.place, format!("a fault is a mapping, not '{word}'"), hint);
        return None;
    }
    let section = reader.keys(node, "a fault", &[&keys])?;
    let duration = section.get("duration").and_then(|n| Some((reader.duration(n, "duration", Duration::from_secs(1))?, n.place)));
    let kind = match named.as_slice() {
        [kind] => *kind,
        [] => {
            // An unknown key has been told already.
            if node.entries().iter().all(|e| e.key == "duration") {
                reader.error(section.place(), "a fault needs to say which", format!("one of {}", KINDS.join(", ")));
            }
            return None;
        }
        [_, second, ..] => {
            let hint = "write each as an item of the list".to_owned();
            reader.error(section.key_place(second), "one item is one fault", hint);
            return None;
        }
    };
    let body = node.get(kind)?;
    let empty = Node { value: Value::Map(Vec::new()), place: body.place };
    let body = if body.value == Value::Null { &empty } else { body };
    let fault = match kind {
        "stop" | "freeze" => {
            let section = reader.keys(body, kind, &[&["unit"]])?;
            let unit = read_unit(reader, section, kind)?;
            if kind == "stop" { Fault::Stop { unit } } else { Fault::Freeze { unit } }
        }
        "kill" => {
            let section = reader.keys(body, kind, &[&["unit"], KILL_KEYS])?;
            Fault::Kill { unit: read_unit(reader, section, kind)?, how: read_killing(reader, section) }
        }
        "engine_kill" => {
            let section = reader.keys(body, kind, &[KILL_KEYS])?;
            Fault::EngineKill { how: read_killing(reader, section) }
        }
        "server_kill" => {
            let section = reader.keys(body, kind, &[&["server"], KILL_KEYS])?;
            Fault::ServerKill { server: read_server(reader, section)?, how: read_killing(reader, section) }
        }
        "vrrp_drop" => {
            let section = reader.keys(body, kind, &[&["direction"]])?;
            let words = [("in", Direction::In), ("out", Direction::Out), ("both", Direction::Both)];
            let direction = section.get("direction").map(|n| reader.word(n, "direction", &words));
            Fault::VrrpDrop { direction: direction.unwrap_or(Some(Direction::Both))? }
        }
        "isolate" => {
            reader.keys(body, kind, &[&[]])?;
            Fault::Isolate
        }
        "netem" => Fault::Netem(read_netem(reader, body)?),
        "link" => {
            let section = reader.keys(body, kind, &[&["interface"]])?;
            Fault::Link { interface: read_interface(reader, section, kind)? }
        }
        _ => read_track_file(reader, body)?,
    };
    Some((fault, duration))
}

fn read_unit(reader: &mut Reader<'_>, section: Section<'_>, kind: &str) -> Option<String> {
    let Some(node) = section.get("unit") else {
        reader.error(section.place(), format!("'{kind}' needs 'unit'"), format!("write {kind}: {{unit: keepalived}}"));
        return None;
    };
    let unit = reader.text(node, "unit")?;
    let unit = unit.strip_suffix(".service").unwrap_or(&unit).to_owned();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_@.".contains(c);
    if !unit.chars().all(good) || unit.starts_with('-') {
        reader.error(node.place, format!("'unit': '{unit}' is no name of a unit or program"), None);
        return None;
    }
    if ["ssh", "sshd", "systemd", "init", "dbus", "lbdeck"].contains(&unit.as_str()) {
        let what = format!("'unit': without {unit} nobody gets back to the node");
        reader.error(node.place, what, "drills leave the way of management alone".to_owned());
        return None;
    }
    Some(unit)
}

fn read_killing(reader: &mut Reader<'_>, section: Section<'_>) -> Killing {
    let signal = section.get("signal").and_then(|n| reader.word(n, "signal", KillSignal::WORDS)).unwrap_or_default();
    let hold_down = section.get("hold_down").and_then(|n| reader.boolean(n, "hold_down")).unwrap_or(true);
    Killing { signal, hold_down }
}

fn read_server(reader: &mut Reader<'_>, section: Section<'_>) -> Option<ServerRef> {
    let hint = || "write server_kill: {server: web/web1}".to_owned();
    let Some(node) = section.get("server") else {
        reader.error(section.place(), "'server_kill' needs 'server'", hint());
        return None;
    };
    let text = reader.text(node, "server")?;
    match text.split_once('/').filter(|(pool, server)| !pool.is_empty() && !server.is_empty()) {
        Some((pool, server)) => Some(ServerRef::new(pool, server)),
        None => {
            reader.error(node.place, format!("'server': '{text}' is not pool/server"), hint());
            None
        }
    }
}

fn read_interface(reader: &mut Reader<'_>, section: Section<'_>, kind: &str) -> Option<String> {
    const LONGEST: usize = 15;
    let Some(node) = section.get("interface") else {
        reader.error(section.place(), format!("'{kind}' needs 'interface'"), format!("write {kind}: {{interface: eth1}}"));
        return None;
    };
    let name = reader.text(node, "interface")?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    if name.len() > LONGEST || !name.chars().all(good) || name.starts_with('-') {
        reader.error(node.place, format!("'interface': '{name}' is no name of an interface"), None);
        return None;
    }
    if name == "lo" {
        reader.error(node.place, "'interface': the loopback is left alone", None);
        return None;
    }
    Some(name)
}

fn read_netem(reader: &mut Reader<'_>, body: &Node) -> Option<Netem> {
    const KEYS: &[&str] = &["interface", "delay", "jitter", "loss", "duplicate", "corrupt"];
    let section = reader.keys(body, "netem", &[KEYS])?;
    let mut netem = Netem { interface: read_interface(reader, section, "netem")?, ..Netem::default() };
    for (key, value) in [("delay", &mut netem.delay), ("jitter", &mut netem.jitter)] {
        *value = section.get(key).and_then(|n| reader.duration(n, key, Duration::from_millis(1)));
    }
    for (key, value) in [("loss", &mut netem.loss), ("duplicate", &mut netem.duplicate), ("corrupt", &mut netem.corrupt)] {
        *value = section.get(key).and_then(|n| percent(reader, n, key));
    }
    if netem.jitter.is_some() && netem.delay.is_none() {
        reader.error(section.key_place("jitter"), "'jitter' is around a 'delay'", "write delay: 100ms beside it".to_owned());
    }
    if netem.delay.is_none() && netem.loss.is_none() && netem.duplicate.is_none() && netem.corrupt.is_none() {
        let hint = "write delay: 100ms, loss: 5%, duplicate: 1% or corrupt: 1%".to_owned();
        reader.error(section.place(), "'netem' does nothing so", hint);
    }
    Some(netem)
}

fn read_track_file(reader: &mut Reader<'_>, body: &Node) -> Option<Fault> {
    let section = reader.keys(body, "track_file", &[&["file", "value"]])?;
    let (Some(file), Some(value)) = (section.get("file"), section.get("value")) else {
        let hint = "write track_file: {file: /run/keepalived/failover, value: 1}".to_owned();
        reader.error(section.place(), "'track_file' needs 'file' and 'value'", hint);
        return None;
    };
    let number = value.scalar().and_then(|t| t.parse::<i32>().ok()).filter(|n| (-254..=254).contains(n));
    if number.is_none() {
        reader.error(value.place, "'value' is a whole number from -254 to 254", None);
    }
    Some(Fault::TrackFile { file: reader.remote_path(file, "file")?, value: number? })
}
