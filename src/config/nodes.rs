//! The `nodes` and `defaults` of a fleet file: what each node is, how it is reached, what runs on it.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::model::{NodeMeta, NodeName};

use super::diagnostic::Place;
use super::fleet::{HaproxyAccess, HaproxySpec, KeepalivedSpec, NodeSpec, Reach, RelaySpec};
use super::haproxy_section::{HaproxyPart, read_haproxy};
use super::keepalived_section::{KeepalivedPart, read_keepalived};
use super::reader::{Reader, Section};
use super::relay_section::{RelayPart, read_relay};
use super::ssh_section::{SshPart, read_ssh};
use super::yaml::{Node, Value};

/// Where locks and leases live on a node, unless `lock_dir` says otherwise.
pub const DEFAULT_LOCK_DIR: &str = "/run/lock/lbdeck";

/// What nodes take where they say nothing themselves.
#[derive(Default)]
pub(super) struct Defaults {
    zone: Option<String>,
    role: Option<String>,
    tags: Vec<String>,
    lock_dir: Option<PathBuf>,
    ssh: Option<SshPart>,
    haproxy: Option<HaproxyPart>,
    relay: Option<RelayPart>,
    keepalived: Option<KeepalivedPart>,
}

pub(super) fn read_defaults(reader: &mut Reader<'_>, node: &Node) -> Defaults {
    let Some(section) = reader.section(node, "defaults") else { return Defaults::default() };
    Defaults {
        zone: section.get("zone").and_then(|n| read_word(reader, n, "zone")),
        role: section.get("role").and_then(|n| read_word(reader, n, "role")),
        tags: section.get("tags").map_or_else(Vec::new, |n| read_tags(reader, n)),
        lock_dir: section.get("lock_dir").and_then(|n| reader.remote_path(n, "lock_dir")),
        ssh: section.get("ssh").and_then(|n| read_ssh_or_flag(reader, n)).flatten(),
        haproxy: section.get("haproxy").and_then(|n| read_haproxy(reader, n)),
        relay: section.get("relay").and_then(|n| read_relay(reader, n)).flatten(),
        keepalived: section.get("keepalived").and_then(|n| read_keepalived(reader, n)).flatten(),
    }
}

/// `ssh: true|false|{…}`: outer None where it was wrong, inner None where SSH is off.
fn read_ssh_or_flag(reader: &mut Reader<'_>, node: &Node) -> Option<Option<SshPart>> {
    match node.value {
        Value::Bool(true) => Some(Some(SshPart::default())),
        Value::Bool(false) => Some(None),
        _ => read_ssh(reader, node).map(Some),
    }
}

pub(super) fn read_nodes(reader: &mut Reader<'_>, node: &Node, defaults: &Defaults) -> Vec<(NodeSpec, Place)> {
    let Value::List(items) = &node.value else {
        let hint = "write each node as `- name: lb1`".to_owned();
        reader.error(node.place, format!("nodes are a list, not {}", node.kind()), hint);
        return Vec::new();
    };
    if items.is_empty() {
        reader.error(node.place, "the fleet has no nodes", "`lbdeck fleet init` finds some".to_owned());
    }
    let mut nodes: Vec<(NodeSpec, Place)> = Vec::with_capacity(items.len());
    let mut lines: HashMap<NodeName, usize> = HashMap::new();
    for item in items {
        let Some((spec, place)) = reader.section(item, "a node").and_then(|s| read_node(reader, s, defaults)) else { continue };
        if let Some(line) = lines.insert(spec.meta.name.clone(), place.line) {
            let hint = "every node has a name of its own".to_owned();
            reader.error(place, format!("node '{}' stands here twice, first in line {line}", spec.meta.name), hint);
        }
        nodes.push((spec, place));
    }
    same_engine_twice(reader, &nodes);
    nodes
}

fn read_node(reader: &mut Reader<'_>, section: Section<'_>, defaults: &Defaults) -> Option<(NodeSpec, Place)> {
    let text = |reader: &mut Reader<'_>, key: &'static str| section.get(key).and_then(|n| read_word(reader, n, key));
    let zone = text(reader, "zone").or_else(|| defaults.zone.clone());
    let role = text(reader, "role").or_else(|| defaults.role.clone());
    let mut tags = defaults.tags.clone();
    for tag in section.get("tags").map_or_else(Vec::new, |n| read_tags(reader, n)) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let lock_dir = section
        .get("lock_dir")
        .and_then(|n| reader.remote_path(n, "lock_dir"))
        .or_else(|| defaults.lock_dir.clone())
        .unwrap_or_else(|| PathBuf::from(DEFAULT_LOCK_DIR));
    let address = section.get("address").and_then(|n| read_address(reader, n));
    let Some(name_node) = section.get("name") else {
        reader.error(section.place(), "a node needs 'name'", "it is how lbdeck calls the node everywhere".to_owned());
        return None;
    };
    let name = reader.text(name_node, "name")?;
    if let Err(why) = name_is_good(&name) {
        reader.error(name_node.place, format!("'name': '{name}' {why}"), None);
        return None;
    }
    let address = address.unwrap_or_else(|| name.clone());
    let place = name_node.place;
    // A node that is half wrong stays in the list, so that groups which name it are not wrong too.
    let reach = read_reach(reader, section, defaults, &address);
    let engines = reach.as_ref().map(|reach| read_engines(reader, section, defaults, reach, place)).unwrap_or_default();
    let (haproxy, relay) = match engines.engine {
        Some(EngineSpec::Haproxy(spec)) => (Some(spec), None),
        Some(EngineSpec::Relay(spec)) => (None, Some(spec)),
        None => (None, None),
    };
    let reach = reach.unwrap_or(Reach::None);
    let meta = NodeMeta { name: name.into(), address, zone, role, tags, groups: Vec::new() };
    Some((NodeSpec { meta, reach, haproxy, relay, keepalived: engines.keepalived, lock_dir }, place))
}

fn read_reach(reader: &mut Reader<'_>, section: Section<'_>, defaults: &Defaults, address: &str) -> Option<Reach> {
    let local = section.get("local").is_some_and(|n| reader.boolean(n, "local").unwrap_or(false));
    let ssh = match section.get("ssh") {
        Some(node) => Some(read_ssh_or_flag(reader, node)?),
        None => None,
    };
    match (local, ssh) {
        (true, Some(Some(_))) => {
            let place = section.key_place("ssh");
            reader.error(place, "a node is reached by ssh or is local, not both", "remove one of 'ssh' and 'local'".to_owned());
            None
        }
        (true, _) => Some(Reach::Local),
        (false, Some(Some(part))) => Some(Reach::Ssh(Box::new(part.over(defaults.ssh.as_ref()).complete(address)))),
        (false, Some(None)) => Some(Reach::None),
        (false, None) => Some(match &defaults.ssh {
            Some(part) => Reach::Ssh(Box::new(part.clone().complete(address))),
            None => Reach::None,
        }),
    }
}

/// The one engine of a node.
enum EngineSpec {
    Haproxy(HaproxySpec),
    Relay(RelaySpec),
}

/// What runs on a node: one engine, and keepalived beside it or alone.
#[derive(Default)]
struct Engines {
    engine: Option<EngineSpec>,
    keepalived: Option<KeepalivedSpec>,
}

/// A node that names no engine has what the defaults name, else haproxy. keepalived of the defaults holds for every node
/// that says nothing of it.
fn read_engines(reader: &mut Reader<'_>, section: Section<'_>, defaults: &Defaults, reach: &Reach, place: Place) -> Engines {
    let (mut haproxy, mut relay) = (None, None);
    let mut found = Engines::default();
    let mut keepalived = defaults.keepalived.clone();
    if let Some(node) = section.get("engines") {
        let Some(engines) = reader.section(node, "engines") else { return found };
        if let Some(node) = engines.get("keepalived") {
            let Some(part) = read_keepalived(reader, node) else { return found };
            keepalived = part.map(|part| part.over(defaults.keepalived.as_ref()));
        }
        if let Some(node) = engines.get("relay") {
            let Some(part) = read_relay(reader, node) else { return found };
            relay = part;
        }
        if let Some(node) = engines.get("haproxy") {
            haproxy = match node.value {
                Value::Bool(false) => None,
                Value::Bool(true) => Some(HaproxyPart::default()),
                _ => {
                    let Some(part) = read_haproxy(reader, node) else { return found };
                    Some(part)
                }
            };
        }
        if haproxy.is_some() && relay.is_some() {
            let hint = "give the host two nodes, each with its own name, the same address and one engine";
            reader.error(engines.key_place("relay"), "a node has one engine, and 'haproxy' stands here too", hint.to_owned());
            return found;
        }
        if haproxy.is_none() && relay.is_none() {
            found.keepalived = complete_keepalived(reader, keepalived, reach, place);
            return found;
        }
    } else if defaults.haproxy.is_none() && defaults.relay.is_some() {
        relay = Some(RelayPart::default());
    } else {
        haproxy = Some(HaproxyPart::default());
    }
    found.keepalived = complete_keepalived(reader, keepalived, reach, place);
    let completed = match relay {
        Some(part) => part.over(defaults.relay.as_ref()).complete(reach).map(EngineSpec::Relay),
        None => haproxy.unwrap_or_default().over(defaults.haproxy.as_ref()).complete(reach).map(EngineSpec::Haproxy),
    };
    match completed {
        Ok(spec) => found.engine = Some(spec),
        Err((what, hint)) => reader.error(place, what, hint),
    }
    found
}

fn complete_keepalived(
    reader: &mut Reader<'_>,
    part: Option<KeepalivedPart>,
    reach: &Reach,
    place: Place,
) -> Option<KeepalivedSpec> {
    match part?.complete(reach) {
        Ok(spec) => Some(spec),
        Err((what, hint)) => {
            reader.error(place, what, hint);
            None
        }
    }
}

/// Two nodes that are one engine would be counted twice by every capacity guard.
fn same_engine_twice(reader: &mut Reader<'_>, nodes: &[(NodeSpec, Place)]) {
    let mut seen: HashMap<String, (&NodeName, usize)> = HashMap::new();
    for (spec, place) in nodes {
        let host = match &spec.reach {
            Reach::Ssh(ssh) => format!("ssh {}:{:?}", ssh.host, ssh.port),
            Reach::Local => "local".to_owned(),
            Reach::None => String::new(),
        };
        let engine = match (&spec.haproxy, &spec.relay) {
            (Some(haproxy), _) => match &haproxy.access {
                HaproxyAccess::Socket(path) => format!("{host} {}", path.display()),
                HaproxyAccess::Tcp(address) => format!("{host} {address}"),
                HaproxyAccess::Stats { url, .. } => url.clone(),
            },
            (None, Some(RelaySpec { tcp: Some(tcp), .. })) => tcp.address.clone(),
            (None, Some(relay)) => format!("{host} {}", relay.socket.display()),
            (None, None) => continue,
        };
        if let Some((name, line)) = seen.get(&engine).filter(|(name, _)| **name != spec.meta.name) {
            let what = format!("node '{}' is the same engine as '{name}' in line {line}", spec.meta.name);
            let hint = "it would be counted twice by the capacity guards; give it another address, port or socket".to_owned();
            reader.error(*place, what, hint);
        }
        seen.entry(engine).or_insert((&spec.meta.name, place.line));
    }
}

/// Names stand in selectors, tables and file names.
pub fn name_is_good(name: &str) -> Result<(), &'static str> {
    if name.starts_with('-') {
        Err("begins with '-' and would be taken for an option")
    } else if name.chars().any(|c| c.is_whitespace() || "/*?[]{}!,\\\"'".contains(c)) {
        Err("holds white space or one of / * ? [ ] { } ! , \\ \" '")
    } else if name.len() > 255 {
        Err("is longer than 255 bytes")
    } else {
        Ok(())
    }
}

fn read_word(reader: &mut Reader<'_>, node: &Node, key: &'static str) -> Option<String> {
    let text = reader.text(node, key)?;
    match name_is_good(&text) {
        Ok(()) => Some(text),
        Err(why) => {
            reader.error(node.place, format!("'{key}': '{text}' {why}"), None);
            None
        }
    }
}

fn read_tags(reader: &mut Reader<'_>, node: &Node) -> Vec<String> {
    let texts = reader.texts(node, "tags");
    let mut tags = Vec::with_capacity(texts.len());
    for (tag, place) in texts {
        match name_is_good(&tag) {
            Ok(()) => tags.push(tag),
            Err(why) => reader.error(place, format!("'tags': '{tag}' {why}"), "write a list: [blue, canary]".to_owned()),
        }
    }
    tags
}

/// A host name or an address without a port. Brackets around IPv6 are taken off.
fn read_address(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node, "address")?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(&text);
    // Zones of link-local addresses (`fe80::1%eth0`) are the system's business.
    let plain = bare.split('%').next().unwrap_or(bare);
    if plain.parse::<std::net::IpAddr>().is_ok() {
        return Some(bare.to_owned());
    }
    let (what, hint) = if bare.contains("://") {
        ("is a URL", "write the host alone; URLs belong under engines")
    } else if bare.contains(':') {
        ("is neither a host name nor an address", "the port of SSH is ssh: {port: …}, that of HAProxy stands under engines")
    } else if bare.contains(|c: char| c.is_whitespace() || "/@\\[]".contains(c)) || bare.starts_with('-') {
        ("is neither a host name nor an address", "write the host alone; the user of SSH is ssh: {user: …}")
    } else {
        return Some(bare.to_owned());
    };
    reader.error(node.place, format!("'address': '{text}' {what}"), hint.to_owned());
    None
}
