//! `Change` → requests of the control API: pure, so that a plan shows exactly what will be sent.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use crate::engine::{ApiMethod, Command};
use crate::model::{AddServer, Change, CheckKind, MAX_WEIGHT, NodeObs, ServerRef, Start, Target, Weight};

use super::wire::{Admin, ListenerChange, NewServer, Purge, ServerChange};

/// The requests for a change, or why there are none.
pub fn encode(target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
    match target {
        Target::Server(server) => on_server(server, change, seen),
        Target::Frontend(listener) => {
            let enabled = match change {
                Change::EnableFrontend => true,
                Change::DisableFrontend => false,
                other => return Err(format!("a listener cannot be changed by '{other}'")),
            };
            Ok(vec![api(ApiMethod::Patch, format!("/v1/listeners/{}", segment(listener)), &ListenerChange { enabled })])
        }
        Target::Table(_) => Err("the relay has no stick tables".to_owned()),
        Target::Cache(_) => match change {
            Change::PurgeCache { host, path } => {
                let purge = Purge { host: host.clone(), path: path.clone() };
                Ok(vec![api(ApiMethod::Post, "/v1/cache/purge".to_owned(), &purge)])
            }
            other => Err(format!("a cache cannot be changed by '{other}'")),
        },
    }
}

fn on_server(at: &ServerRef, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
    let path = format!("/v1/servers/{}/{}", segment(at.pool.as_str()), segment(at.server.as_str()));
    let nothing = ServerChange::default();
    let asked = match change {
        Change::Ready => ServerChange { admin: Some(Admin::Ready), ..nothing },
        Change::Drain => ServerChange { admin: Some(Admin::Drain), ..nothing },
        Change::Maint => ServerChange { admin: Some(Admin::Maint), ..nothing },
        Change::Weight(weight) => ServerChange { weight: Some(absolute(at, *weight, seen)?), ..nothing },
        Change::Address { address, port } => {
            ServerChange { address: Some(ip(address)?), port: port.map(checked_port).transpose()?, ..nothing }
        }
        Change::MaxConn(n) => ServerChange { maxconn: Some(*n), ..nothing },
        Change::Checks { kind: CheckKind::Health, on } => ServerChange { checks_on: Some(*on), ..nothing },
        Change::Checks { kind: CheckKind::Agent, .. } => return Err("the relay has no agent checks".to_owned()),
        Change::KillSessions => return Ok(vec![bare(ApiMethod::Delete, format!("{path}/sessions"))]),
        Change::KillSession { id } => {
            return Ok(vec![bare(ApiMethod::Delete, format!("/v1/sessions/{}", segment(id)))]);
        }
        Change::AddServer(add) => {
            can_add(at.pool.as_str(), add, seen)?;
            if seen.server(at.pool.as_str(), at.server.as_str()).is_some() {
                return Err(format!("{at} is there already"));
            }
            let new = NewServer {
                address: ip(&add.address)?,
                port: checked_port(add.port)?,
                weight: add.weight,
                maxconn: add.maxconn,
                check: add.check,
                backup: add.backup,
                admin: None,
            };
            let start = match add.start {
                Start::Ready => None,
                Start::Drain => Some(Admin::Drain),
                Start::Maint => Some(Admin::Maint),
            };
            return Ok(vec![api(ApiMethod::Post, path, &NewServer { admin: start, ..new })]);
        }
        Change::RemoveServer => {
            return Ok(vec![
                api(ApiMethod::Patch, path.clone(), &ServerChange { admin: Some(Admin::Maint), ..nothing }),
                Command::AwaitRemovable(at.clone()),
                bare(ApiMethod::Delete, path),
            ]);
        }
        Change::EnableFrontend | Change::DisableFrontend | Change::ClearTable { .. } | Change::PurgeCache { .. } => {
            return Err(format!("a server cannot be changed by '{change}'"));
        }
    };
    Ok(vec![api(ApiMethod::Patch, path, &asked)])
}

/// What adds a server again as it was seen; None where it was not.
pub fn again(at: &ServerRef, seen: &NodeObs) -> Option<Change> {
    let was = seen.server(at.pool.as_str(), at.server.as_str())?;
    let start = if was.admin.is_maint() {
        Start::Maint
    } else if was.admin.is_drain() {
        Start::Drain
    } else {
        Start::Ready
    };
    Some(Change::AddServer(AddServer {
        address: was.address.as_deref()?.to_owned(),
        port: was.port?,
        weight: was.user_weight.and_then(|w| u16::try_from(w).ok()),
        maxconn: was.maxconn,
        check: was.health_checks.is_some(),
        backup: was.backup,
        start,
        extra: Vec::new(),
    }))
}

/// What can be said beforehand about adding a server to a pool.
pub fn can_add(pool: &str, server: &AddServer, seen: &NodeObs) -> Result<(), String> {
    seen.pool(pool).ok_or_else(|| format!("no pool '{pool}' on this node"))?;
    ip(&server.address)?;
    checked_port(server.port)?;
    if let Some(weight) = server.weight.filter(|w| *w > MAX_WEIGHT) {
        return Err(format!("weight {weight} is above {MAX_WEIGHT}"));
    }
    match server.extra.first() {
        Some(word) => Err(format!("'{word}': the relay takes no further words; what the pool says of checks and TLS holds")),
        None => Ok(()),
    }
}

fn ip(address: &str) -> Result<String, String> {
    let ip: IpAddr = address.parse().map_err(|_| format!("'{}' is no IP address", address.escape_debug()))?;
    Ok(ip.to_string())
}

fn checked_port(port: u16) -> Result<u16, String> {
    if port == 0 { Err("port 0".to_owned()) } else { Ok(port) }
}

/// Percentages are of the configured weight. One that rounds down to 0 would silently take all traffic away.
fn absolute(at: &ServerRef, weight: Weight, seen: &NodeObs) -> Result<u16, String> {
    let percent = match weight {
        Weight::Absolute(w) if w > MAX_WEIGHT => return Err(format!("weight {w} is above {MAX_WEIGHT}")),
        Weight::Absolute(w) => return Ok(w),
        Weight::Percent(0) => return Ok(0),
        Weight::Percent(p) => p,
    };
    let initial = seen.server(at.pool.as_str(), at.server.as_str()).and_then(|s| s.initial_weight);
    let initial = initial.ok_or_else(|| format!("the configured weight of {at} is not known: give an absolute weight"))?;
    let wanted = initial.saturating_mul(u32::from(percent)) / 100;
    if wanted == 0 && initial > 0 {
        return Err(format!(
            "{percent}% of the configured weight {initial} rounds down to 0, which stops traffic; drain it, or give an absolute weight"
        ));
    }
    Ok(u16::try_from(wanted).unwrap_or(MAX_WEIGHT).min(MAX_WEIGHT))
}

fn api(method: ApiMethod, path: String, body: &impl Serialize) -> Command {
    // These types hold nothing that JSON cannot carry.
    Command::Api { method, path, body: serde_json::to_string(body).unwrap_or_default() }
}

fn bare(method: ApiMethod, path: String) -> Command {
    Command::Api { method, path, body: String::new() }
}

/// One segment of a path (RFC 3986, 2.3: everything but unreserved characters is escaped).
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
