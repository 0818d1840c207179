//! From the text of a drill file to a [`Drill`]: every mistake is found at once, with its place and how to mend it.

mod faults;
mod measure;
mod rules;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::reader::{Reader, Section, show};
use crate::config::yaml::{self, Node, Value};

use super::spec::{Drill, Measure, Scope, Steady, Target};
use super::window::{Block, Span, Window};

/// A drill is a page of text.
const MAX_FILE: u64 = 256 << 10;
const KEYS: &[&str] = &[
    "version",
    "kind",
    "name",
    "description",
    "scope",
    "window",
    "steady_state",
    "measure",
    "fault",
    "abort",
    "expect",
    "restore",
];

/// Why a drill file was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DrillFileError {
    #[error("{}: cannot read the drill: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{0}")]
    Invalid(Box<Diagnostics>),
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Drill, DrillFileError> {
    let unreadable = |why: String| DrillFileError::Unreadable { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| unreadable(e.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unreadable(format!("larger than {} KiB, which no drill needs to be", MAX_FILE >> 10)));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))?;
    parse(&text, path, &path.display().to_string())
}

/// Checks the text of a file. `path` is for errors; `source` is what the drill is said to come from.
pub fn parse(text: &str, path: &Path, source: &str) -> Result<Drill, DrillFileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let invalid = |errors: Vec<Diagnostic>| DrillFileError::Invalid(Box::new(Diagnostics::new(path, text, errors)));
    let tree = yaml::parse(text).map_err(|e| invalid(vec![e]))?;
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut reader = Reader::new(base, None);
    match read(&mut reader, &tree, source) {
        Some(drill) if reader.errors.is_empty() => Ok(drill),
        _ => Err(invalid(reader.errors)),
    }
}

fn read(reader: &mut Reader<'_>, tree: &Node, source: &str) -> Option<Drill> {
    if tree.value == Value::Null {
        reader.error(tree.place, "the drill file is empty", "`lbdeck drill list` names drills to begin with".to_owned());
        return None;
    }
    let top = reader.keys(tree, "a drill", &[KEYS])?;
    if let Some(version) = top.get("version").filter(|v| v.scalar() != Some("1")) {
        reader.error(version.place, format!("'version' is {}; this lbdeck reads version 1", show(version)), None);
    }
    match top.get("kind") {
        Some(kind) if kind.scalar() == Some("drill") => {}
        Some(kind) => reader.error(kind.place, format!("'kind' is {}, not drill", show(kind)), "write kind: drill".to_owned()),
        None => reader.error(top.place(), "a drill needs 'kind'", "write kind: drill".to_owned()),
    }
    let name = read_name(reader, top);
    let description = top.get("description").and_then(|n| reader.text(n, "description"));
    let faults = match top.get("fault") {
        Some(node) => faults::read_faults(reader, node),
        None => {
            reader.error(
                top.key_place("fault"),
                "a drill needs 'fault'",
                "write `fault:` and below it `- kill: {unit: keepalived}`".to_owned(),
            );
            None
        }
    };
    let by_server = faults.as_ref().is_some_and(|f| f.by_server);
    let scope = read_scope(reader, top, by_server);
    let window = top.get("window").map_or_else(Window::default, |node| read_window(reader, node));
    let measure = match top.get("measure") {
        Some(node) => measure::read_measure(reader, node),
        None => {
            let hint = "write measure: {probes: [{http: /, hz: 20, timeout: 500ms}]}".to_owned();
            reader.error(top.key_place("measure"), "a drill needs 'measure': its result is what the probes see", hint);
            Measure { probes: Vec::new(), streams: None, from_agents: Vec::new() }
        }
    };
    let steady = read_steady(reader, top.get("steady_state"), by_server);
    let abort = rules::read_abort(reader, top.get("abort"));
    let expect = top.get("expect").map_or_else(Default::default, |node| rules::read_expect(reader, node));
    let (faults, hold) = faults.map(|f| (f.faults, f.hold)).unwrap_or_default();
    let restore = rules::read_restore(reader, top.get("restore"), hold);
    Some(Drill {
        source: source.to_owned(),
        name: name?,
        description,
        scope,
        window,
        steady,
        measure,
        faults,
        hold,
        abort,
        expect,
        restore,
    })
}

fn read_name(reader: &mut Reader<'_>, top: Section<'_>) -> Option<String> {
    const LONGEST: usize = 40;
    let Some(node) = top.get("name") else {
        reader.error(
            top.place(),
            "a drill needs 'name'",
            "short, of letters, digits, - and _: it names its folders and tables".to_owned(),
        );
        return None;
    };
    let name = reader.text(node, "name")?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(good) || name.len() > LONGEST {
        let what = format!("'name': '{name}' is not a name of letters, digits, - and _ ({LONGEST} at most)");
        reader.error(node.place, what, None);
        return None;
    }
    Some(name)
}

fn read_scope(reader: &mut Reader<'_>, top: Section<'_>, by_server: bool) -> Scope {
    let own = if by_server { Target::Server } else { Target::CurrentMaster };
    let mut scope = Scope { vip: None, target: own, nodes: Vec::new() };
    let Some(section) = top.get("scope").and_then(|n| reader.keys(n, "scope", &[&["vip", "target", "max_nodes", "nodes"]]))
    else {
        return scope;
    };
    if let Some(node) = section.get("vip")
        && let Some(text) = reader.text(node, "vip")
    {
        match text.parse() {
            Ok(vip) => scope.vip = Some(vip),
            Err(_) => reader.error(node.place, format!("'vip': '{text}' is no address"), "for instance 10.0.0.100".to_owned()),
        }
    }
    if let Some(node) = section.get("target")
        && let Some(text) = reader.text(node, "target")
    {
        scope.target = match text.as_str() {
            "current_master" => Target::CurrentMaster,
            "standby" => Target::Standby,
            _ => Target::Node(text),
        };
        if by_server {
            reader.error(node.place, "server_kill happens where the server is: it has no 'target'", "leave it out".to_owned());
        }
    }
    if let Some(node) = section.get("max_nodes")
        && node.scalar() != Some("1")
    {
        let hint = "a drill breaks one node: what is broken on two has no peer to take over".to_owned();
        reader.error(node.place, format!("'max_nodes' is 1, not {}", show(node)), hint);
    }
    if let Some(node) = section.get("nodes") {
        scope.nodes = reader.texts(node, "nodes").into_iter().map(|(text, _)| text).collect();
    }
    scope
}

fn read_window(reader: &mut Reader<'_>, node: &Node) -> Window {
    let mut window = Window::default();
    let Some(section) = reader.keys(node, "window", &[&["allow", "block_if"]]) else { return window };
    for (text, place) in section.get("allow").map(|n| reader.texts(n, "allow")).unwrap_or_default() {
        match Span::parse(&text) {
            Ok(span) => window.allow.push(span),
            Err(why) => {
                let (what, hint) = why.split_once("; ").unwrap_or((&why, ""));
                reader.error(place, format!("'allow': {what}"), hint.to_owned());
            }
        }
    }
    if let Some(node) = section.get("block_if") {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        window.block_if = items.iter().filter_map(|item| reader.word(item, "block_if", Block::WORDS)).collect();
    }
    window
}

fn read_steady(reader: &mut Reader<'_>, node: Option<&Node>, by_server: bool) -> Steady {
    const BASELINE: Duration = Duration::from_secs(10);
    let all = !by_server;
    let mut steady = Steady { baseline: BASELINE, vip_owner: all, peer_healthy: all, probe_ok: 100.0 };
    let Some(section) = node.and_then(|n| reader.keys(n, "steady_state", &[&["baseline", "checks"]])) else { return steady };
    if let Some(baseline) = section.get("baseline").and_then(|n| reader.duration(n, "baseline", Duration::from_secs(1))) {
        steady.baseline = baseline;
    }
    let Some(node) = section.get("checks") else { return steady };
    let Value::List(items) = &node.value else {
        let hint = "write checks: [{vip_owner: exactly_one}, {peer: healthy}, {probe_ok: 100%}]".to_owned();
        reader.error(node.place, format!("'checks' is a list, not {}", node.kind()), hint);
        return steady;
    };
    (steady.vip_owner, steady.peer_healthy, steady.probe_ok) = (false, false, 0.0);
    for item in items {
        let Some(check) = reader.keys(item, "a check", &[&["vip_owner", "peer", "probe_ok"]]) else { continue };
        if let Some(n) = check.get("vip_owner") {
            steady.vip_owner = reader.word(n, "vip_owner", &[("exactly_one", true)]).unwrap_or(false);
        }
        if let Some(n) = check.get("peer") {
            steady.peer_healthy = reader.word(n, "peer", &[("healthy", true)]).unwrap_or(false);
        }
        if let Some(n) = check.get("probe_ok") {
            steady.probe_ok = rules::percent(reader, n, "probe_ok").unwrap_or(0.0);
        }
    }
    steady
}
