//! `Change` → bytes of the runtime API, and back: pure, so that a plan shows exactly what will be sent.

use std::net::IpAddr;

use crate::engine::Command;
use crate::model::{AddServer, Change, CheckKind, MAX_WEIGHT, NodeObs, ServerRef, Start, Target, Weight};

use super::capability::{self, Balance};
use super::words::{name, word};

/// The lines of the statistics socket for a change, or why there are none.
pub fn encode(target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
    if let Some((why, hint)) = capability::refuses_changes(seen.engine.level) {
        return Err(format!("{why}: {hint}"));
    }
    match target {
        Target::Server(server) => on_server(server, change, seen),
        Target::Frontend(frontend) => {
            let frontend = name(frontend)?;
            match change {
                Change::EnableFrontend => Ok(one(format!("enable frontend {frontend}"))),
                Change::DisableFrontend => Ok(one(format!("disable frontend {frontend}"))),
                other => Err(format!("a frontend cannot be changed by '{other}'")),
            }
        }
        Target::Table(table) => {
            let table = name(table)?;
            match change {
                Change::ClearTable { key: None } => Ok(one(format!("clear table {table}"))),
                Change::ClearTable { key: Some(key) } => Ok(one(format!("clear table {table} key {}", word(key)?))),
                other => Err(format!("a stick table cannot be changed by '{other}'")),
            }
        }
        Target::Cache(_) => Err("HAProxy's cache cannot be purged at run time".to_owned()),
    }
}

fn one(line: String) -> Vec<Command> {
    vec![Command::Socket(line)]
}

fn on_server(server: &ServerRef, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
    let at = format!("{}/{}", name(server.pool.as_str())?, name(server.server.as_str())?);
    let line = match change {
        Change::Ready => format!("set server {at} state ready"),
        Change::Drain => format!("set server {at} state drain"),
        Change::Maint => format!("set server {at} state maint"),
        Change::Weight(weight) => {
            check_weight(server, *weight, seen)?;
            format!("set server {at} weight {weight}")
        }
        Change::Address { address, port } => {
            let ip: IpAddr = address.parse().map_err(|_| {
                format!("'{}' is no IP address; names need 'resolvers' in the configuration", address.escape_debug())
            })?;
            match port {
                Some(0) => return Err("port 0".into()),
                Some(port) => format!("set server {at} addr {ip} port {port}"),
                None => format!("set server {at} addr {ip}"),
            }
        }
        Change::MaxConn(n) => format!("set maxconn server {at} {n}"),
        Change::Checks { kind, on } => {
            let kind = match kind {
                CheckKind::Health => "health",
                CheckKind::Agent => "agent",
            };
            format!("{} {kind} {at}", if *on { "enable" } else { "disable" })
        }
        Change::KillSessions => format!("shutdown sessions server {at}"),
        Change::KillSession { id } => {
            let digits = id.strip_prefix("0x").unwrap_or_default();
            if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("'{}' is no session id such as 0x55d0c0ffee00", id.escape_debug()));
            }
            format!("shutdown session {id}")
        }
        Change::AddServer(add) => return add_server(server, &at, add, seen),
        Change::RemoveServer => return remove_server(server, &at, seen),
        Change::EnableFrontend | Change::DisableFrontend | Change::ClearTable { .. } | Change::PurgeCache { .. } => {
            return Err(format!("a server cannot be changed by '{change}'"));
        }
    };
    Ok(one(line))
}

fn check_weight(server: &ServerRef, weight: Weight, seen: &NodeObs) -> Result<(), String> {
    let pool = seen.pool(server.pool.as_str());
    let is_static = capability::balance(pool) == Balance::Static;
    match weight {
        Weight::Absolute(w) if w > MAX_WEIGHT => Err(format!("weight {w} is above {MAX_WEIGHT}")),
        Weight::Absolute(w) if w > 0 && is_static => {
            Err("the pool's algorithm is static: only weight 0 (or 0%) and 100% can be set at run time".into())
        }
        Weight::Percent(p) if is_static && p != 0 && p != 100 => {
            Err("the pool's algorithm is static: only weight 0 (or 0%) and 100% can be set at run time".into())
        }
        Weight::Percent(p) if p > 0 => {
            // HAProxy rounds down: half of weight 1 is 0, which silently takes all traffic away.
            let initial = pool.and_then(|p| p.server(server.server.as_str())).and_then(|s| s.initial_weight);
            match initial {
                Some(initial) if initial > 0 && initial * u32::from(p) < 100 => Err(format!(
                    "{p}% of the configured weight {initial} rounds down to 0, which stops traffic; drain it, or give an absolute weight"
                )),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// What can be said beforehand about adding a server to a pool.
pub fn can_add(pool: &str, server: &AddServer, seen: &NodeObs) -> Result<(), String> {
    name(pool)?;
    if seen.engine.release.is_some_and(|r| r < capability::ADD_SERVER) {
        return Err(format!("HAProxy {} cannot add servers at run time (2.4 can)", seen.engine.version));
    }
    let Some(pool) = seen.pool(pool) else { return Err(format!("no pool '{pool}' on this node")) };
    if capability::balance(Some(pool)) == Balance::Static {
        return Err(format!("the pool's algorithm '{}' is static; only dynamic ones take servers at run time", pool.algorithm));
    }
    server.address.parse::<IpAddr>().map_err(|_| format!("'{}' is no IP address", server.address.escape_debug()))?;
    if server.port == 0 {
        return Err("port 0".into());
    }
    if let Some(w) = server.weight.filter(|w| *w > MAX_WEIGHT) {
        return Err(format!("weight {w} is above {MAX_WEIGHT}"));
    }
    server.extra.iter().try_for_each(|w| word(w).map(|_| ()))
}

fn add_server(server: &ServerRef, at: &str, add: &AddServer, seen: &NodeObs) -> Result<Vec<Command>, String> {
    can_add(server.pool.as_str(), add, seen)?;
    if seen.server(server.pool.as_str(), server.server.as_str()).is_some() {
        return Err(format!("{server} is there already"));
    }
    let ip: IpAddr = add.address.parse().map_err(|_| "no IP address".to_owned())?;
    let mut line = match ip {
        IpAddr::V4(ip) => format!("add server {at} {ip}:{}", add.port),
        IpAddr::V6(ip) => format!("add server {at} [{ip}]:{}", add.port),
    };
    if add.check {
        line.push_str(" check");
    }
    if let Some(weight) = add.weight {
        line.push_str(&format!(" weight {weight}"));
    }
    if let Some(maxconn) = add.maxconn {
        line.push_str(&format!(" maxconn {maxconn}"));
    }
    if add.backup {
        line.push_str(" backup");
    }
    for extra in &add.extra {
        line.push(' ');
        line.push_str(word(extra)?);
    }
    let mut commands = Vec::new();
    if seen.engine.release.is_some_and(|r| r < capability::ADD_SERVER_STABLE) {
        commands.push(Command::Socket("experimental-mode on".into()));
    }
    commands.push(Command::Socket(line));
    // A new server starts in maintenance with its checks off.
    if add.check {
        commands.push(Command::Socket(format!("enable health {at}")));
    }
    if add.extra.iter().any(|w| w == "agent-check") {
        commands.push(Command::Socket(format!("enable agent {at}")));
    }
    commands.extend(match add.start {
        Start::Ready => Some(Command::Socket(format!("enable server {at}"))),
        Start::Drain => Some(Command::Socket(format!("set server {at} state drain"))),
        Start::Maint => None,
    });
    Ok(commands)
}

fn remove_server(server: &ServerRef, at: &str, seen: &NodeObs) -> Result<Vec<Command>, String> {
    let engine = &seen.engine;
    if engine.release.is_some_and(|r| r < capability::ADD_SERVER) {
        return Err(format!("HAProxy {} cannot delete servers at run time (2.4 can)", engine.version));
    }
    let mut commands = Vec::new();
    if engine.release.is_some_and(|r| r < capability::DELETE_ANY_SERVER) {
        commands.push(Command::Socket("experimental-mode on".into()));
    }
    commands.push(Command::Socket(format!("set server {at} state maint")));
    commands.push(match capability::has(engine, capability::WAIT_REMOVABLE) {
        true => Command::Socket(format!("wait 5s srv-removable {at}")),
        false => Command::AwaitRemovable(server.clone()),
    });
    commands.push(Command::Socket(format!("del server {at}")));
    Ok(commands)
}
