//! What is wrong with VIPs: who owns them and who believes to, peers that cannot hear each other, files that are not there. Each with its remedy.

use std::collections::BTreeMap;

use crate::model::{
    FleetView, Health, NodeName, TrackFile, TrackFileStatus, VipNode, VipView, VrrpInstance, VrrpObs, VrrpState, fresh_vrrp,
};

use super::{Finding, ProblemKind, Severity, names};

pub fn find(view: &FleetView, found: &mut Vec<Finding>) {
    unread(view, found);
    let vips = view.vips();
    for vip in &vips {
        owners(view, vip, found);
    }
    for node in &view.nodes {
        if let Some(obs) = fresh_vrrp(node) {
            daemons(&node.meta.name, obs, found);
            for instance in &obs.instances {
                beliefs(&node.meta.name, obs, instance, &vips, found);
                files(&node.meta.name, instance, found);
            }
        }
    }
    peers(view, found);
}

fn finding(severity: Severity, kind: ProblemKind, subject: impl Into<String>, text: String, nodes: &[&NodeName]) -> Finding {
    Finding::new(severity, kind, subject, text).on(nodes.iter().map(|n| (*n).clone()).collect())
}

/// Nodes whose keepalived cannot be read. A node without an engine is told of as a node already.
fn unread(view: &FleetView, found: &mut Vec<Finding>) {
    for node in view.nodes.iter().filter(|n| n.health == Health::Fresh) {
        let Some(vrrp) = node.vrrp.as_ref().filter(|v| matches!(v.health, Health::Stale | Health::Dead)) else { continue };
        let name = &node.meta.name;
        let what = vrrp.problem.as_ref().map_or("nothing is known", |p| p.what.as_str());
        let text = format!("keepalived cannot be read: {what}");
        let mut one = finding(Severity::Warning, ProblemKind::Keepalived, name.as_str(), text, &[name]);
        one.hint = vrrp.problem.as_ref().and_then(|p| p.hint.clone());
        found.push(one);
    }
}

fn owners(view: &FleetView, vip: &VipView, found: &mut Vec<Finding>) {
    let subject = vip.address.to_string();
    let owners: Vec<&VipNode> = vip.owners().collect();
    let place = |n: &&VipNode| format!("{} ({})", n.node, n.on.join(", "));
    if owners.len() > 1 {
        let nodes: Vec<&NodeName> = owners.iter().map(|n| &n.node).collect();
        let text = format!("{} carry it at once", owners.iter().map(place).collect::<Vec<_>>().join(" and "));
        let stopped: Vec<&&VipNode> = owners.iter().filter(|n| !runs(view, &n.node)).collect();
        let hint = match stopped.first() {
            Some(node) => {
                let interface = node.on.first().map_or("eth0", String::as_str);
                format!(
                    "keepalived does not run on {}, so nobody takes the address away there: `ip addr del {subject} dev {interface}` on it, then start keepalived",
                    node.node
                )
            }
            None => "they do not hear each other's advertisements: look for a firewall (IP protocol 112, to 224.0.0.18 or the unicast peers), \
                     another auth_pass, virtual_router_id or advert_int, and a broken network between them"
                .to_owned(),
        };
        found.push(finding(Severity::Critical, ProblemKind::SplitBrain, subject, text, &nodes).hint(hint));
    } else if owners.is_empty() {
        let nodes: Vec<&NodeName> = vip.nodes.iter().map(|n| &n.node).collect();
        let unread: Vec<NodeName> = vip.nodes.iter().filter(|n| !n.is_fresh()).map(|n| n.node.clone()).collect();
        let (severity, text) = if unread.is_empty() {
            (Severity::Critical, "no node carries it: clients reach nobody".to_owned())
        } else {
            (Severity::Warning, format!("no node that can be read carries it; {} cannot be read", names(&unread)))
        };
        let fault: Vec<NodeName> =
            vip.nodes.iter().filter(|n| n.state == Some(VrrpState::Fault)).map(|n| n.node.clone()).collect();
        let stopped: Vec<NodeName> =
            vip.nodes.iter().filter(|n| n.is_fresh() && !runs(view, &n.node)).map(|n| n.node.clone()).collect();
        let hint = if !stopped.is_empty() {
            format!("start keepalived on {}", names(&stopped))
        } else if !fault.is_empty() {
            format!("{} is in FAULT: look at its tracked interfaces, scripts and files", names(&fault))
        } else {
            format!("`lbdeck vip show {}` shows what keepalived says on each node", vip.address)
        };
        found.push(finding(severity, ProblemKind::NoOwner, subject, text, &nodes).hint(hint));
    } else if let Some(owner) = owners.first() {
        let wanted = owner.interface.as_deref().filter(|w| !owner.on.iter().any(|on| on == w || is_vmac(on)));
        if let Some(wanted) = wanted {
            let text =
                format!("{} carries it on {}, and the instance is meant to set it on {wanted}", owner.node, owner.on.join(", "));
            let hint = format!(
                "somebody set it by hand, or `dev` in virtual_ipaddress was changed: `ip addr del {subject} dev {}` once keepalived holds it on {wanted}",
                owner.on.join(" ")
            );
            found.push(finding(Severity::Warning, ProblemKind::VipMisplaced, subject, text, &[&owner.node]).hint(hint));
        }
    }
}

/// An interface that keepalived makes for a virtual MAC address.
fn is_vmac(interface: &str) -> bool {
    interface.starts_with("vrrp.") || interface.starts_with("vrrp6.")
}

fn runs(view: &FleetView, node: &NodeName) -> bool {
    view.node(node.as_str()).and_then(|n| fresh_vrrp(n)).is_some_and(|o| !o.daemons.is_empty())
}

fn daemons(name: &NodeName, obs: &VrrpObs, found: &mut Vec<Finding>) {
    match obs.daemons.as_slice() {
        [] => {
            let held: Vec<String> = obs
                .instances
                .iter()
                .flat_map(|i| &i.vips)
                .filter(|v| obs.holds(v.address))
                .map(|v| v.address.to_string())
                .collect();
            let (severity, text) = match held.as_slice() {
                [] => (Severity::Warning, "keepalived does not run".to_owned()),
                held => (Severity::Critical, format!("keepalived does not run, and {} stays on the interface", held.join(", "))),
            };
            let hint = "`systemctl status keepalived` there says why; starting it brings the node back";
            found.push(finding(severity, ProblemKind::Keepalived, name.as_str(), text, &[name]).hint(hint));
        }
        [_] => {}
        many => {
            let pids: Vec<String> = many.iter().map(|d| format!("{} ({})", d.pid, d.config)).collect();
            let text = format!("{} keepalived run: {}", many.len(), pids.join(", "));
            let hint = "two on one node fight for its addresses and its dump files: end one, or give each a network namespace";
            found.push(finding(Severity::Warning, ProblemKind::Keepalived, name.as_str(), text, &[name]).hint(hint));
        }
    }
    for note in &obs.notes {
        found.push(finding(Severity::Warning, ProblemKind::Keepalived, name.as_str(), note.clone(), &[name]));
    }
}

/// The daemon's word against the interface's.
fn beliefs(name: &NodeName, obs: &VrrpObs, instance: &VrrpInstance, vips: &[VipView], found: &mut Vec<Finding>) {
    let subject = format!("{name} {}", instance.name);
    let held = |vip: &&crate::model::Vip| obs.holds(vip.address);
    match instance.state {
        Some(VrrpState::Master) => {
            let missing: Vec<String> = instance.vips.iter().filter(|v| !held(v)).map(|v| v.address.to_string()).collect();
            if !missing.is_empty() {
                let text = format!("keepalived is MASTER, and no interface carries {}", missing.join(", "));
                let hint = "somebody took the address away: `lbdeck vip failover` to a peer and back sets it again";
                found.push(finding(Severity::Critical, ProblemKind::VipDisagreement, subject.clone(), text, &[name]).hint(hint));
            }
        }
        Some(VrrpState::Backup | VrrpState::Fault) => {
            // In a split brain it is told already.
            let alone =
                |v: &&crate::model::Vip| vips.iter().find(|x| x.address == v.address).is_none_or(|x| x.owners().count() < 2);
            let extra: Vec<&crate::model::Vip> = instance.vips.iter().filter(held).filter(alone).collect();
            if let (Some(first), Some(state)) = (extra.first(), instance.state) {
                let text = format!("keepalived is {state}, and an interface carries {}", first.address);
                let hint = format!("`ip addr del {} dev {}` there", first.address, instance.interface_of(first));
                found.push(finding(Severity::Critical, ProblemKind::VipDisagreement, subject.clone(), text, &[name]).hint(hint));
            }
        }
        _ => {}
    }
    if instance.nopreempt {
        let text = "nopreempt: it does not take a VIP back from a lower priority, so a planned failover by a track file of the peer is ignored here";
        let hint = "leave nopreempt out, or expect the next best way (a short outage) to be taken";
        found.push(finding(Severity::Notice, ProblemKind::Keepalived, subject.clone(), text.to_owned(), &[name]).hint(hint));
    }
    if let Some(drift) = &instance.drift {
        let hint = "`systemctl reload keepalived` there takes the file; `keepalived -t` validates it before";
        found.push(finding(Severity::Warning, ProblemKind::LostOnReload, subject, drift.clone(), &[name]).hint(hint));
    }
}

fn files(name: &NodeName, instance: &VrrpInstance, found: &mut Vec<Finding>) {
    let subject = format!("{name} {}", instance.name);
    for file in &instance.track_files {
        let TrackFile { name: tracked, path, .. } = file;
        if path.is_empty() {
            let text = format!("it tracks the file {tracked}, which is defined nowhere");
            let hint = format!("add vrrp_track_file {tracked} {{ file PATH }}");
            found.push(finding(Severity::Warning, ProblemKind::TrackFile, subject.clone(), text, &[name]).hint(hint));
            continue;
        }
        match &file.status {
            TrackFileStatus::Missing => {
                let text = format!("the track file {path} is missing");
                let hint = format!("`echo 0 > {path}` there makes it; `init_file 0` in the configuration does so at every start");
                found.push(finding(Severity::Warning, ProblemKind::TrackFile, subject.clone(), text, &[name]).hint(hint));
            }
            TrackFileStatus::NotOurs(whose) => {
                let text = format!("the track file {path} cannot be written: it belongs to {whose}");
                let hint = "connect as a user who may write it, or write sudo: true under keepalived in the fleet file";
                found.push(finding(Severity::Notice, ProblemKind::TrackFile, subject.clone(), text, &[name]).hint(hint));
            }
            TrackFileStatus::Writable | TrackFileStatus::Unknown => {}
        }
        let down = match (file.weight, file.value) {
            (0, Some(value)) => value != 0,
            (weight, Some(value)) => i64::from(weight).saturating_mul(value) < 0,
            (_, None) => false,
        };
        if down {
            let text = format!("held down by the track file {path} ({})", file.value.unwrap_or(0));
            let hint = format!("`lbdeck node return {name}` sets its priority back");
            found.push(finding(Severity::Warning, ProblemKind::Forgotten, subject.clone(), text, &[name]).hint(hint));
        }
    }
}

/// Instances that move the same address and could not hear each other.
fn peers(view: &FleetView, found: &mut Vec<Finding>) {
    let mut pairs: BTreeMap<(NodeName, NodeName, String), Finding> = BTreeMap::new();
    let all: Vec<(&NodeName, &VrrpInstance)> = view
        .nodes
        .iter()
        .filter_map(|n| Some((&n.meta.name, fresh_vrrp(n)?)))
        .flat_map(|(name, obs)| obs.instances.iter().map(move |i| (name, i)))
        .collect();
    for (n, (a, one)) in all.iter().enumerate() {
        for (b, other) in all.iter().skip(n + 1) {
            let shared = one.vips.iter().find(|v| other.vip(v.address).is_some());
            let Some(shared) = shared.filter(|_| a != b) else { continue };
            for (what, how) in one.differences(other) {
                let text = format!(
                    "{a} and {b} differ in {what} ({how}): they do not hear each other, and both will take {}",
                    shared.address
                );
                let hint = format!("write the same {what} on both and reload keepalived");
                let key = ((*a).clone(), (*b).clone(), what.to_owned());
                pairs.entry(key).or_insert_with(|| {
                    finding(Severity::Critical, ProblemKind::VrrpMismatch, shared.address.to_string(), text, &[a, b]).hint(hint)
                });
            }
            let only = |x: &VrrpInstance, y: &VrrpInstance| {
                x.vips
                    .iter()
                    .filter(|v| !v.excluded && y.vip(v.address).is_none())
                    .map(|v| v.address.to_string())
                    .collect::<Vec<_>>()
            };
            let (left, right) = (only(one, other), only(other, one));
            if !left.is_empty() || !right.is_empty() {
                let text = format!("{a} and {b} do not list the same addresses: {}", [left, right].concat().join(", "));
                let key = ((*a).clone(), (*b).clone(), "addresses".to_owned());
                pairs.entry(key).or_insert_with(|| {
                    finding(Severity::Warning, ProblemKind::VrrpMismatch, shared.address.to_string(), text, &[a, b])
                        .hint("write the same virtual_ipaddress on both and reload keepalived")
                });
            }
            if one.base_priority == other.base_priority {
                let text = format!("{a} and {b} have the same priority {}: the higher address decides", one.base_priority);
                let key = ((*a).clone(), (*b).clone(), "priority".to_owned());
                pairs.entry(key).or_insert_with(|| {
                    finding(Severity::Notice, ProblemKind::VrrpMismatch, shared.address.to_string(), text, &[a, b])
                        .hint("give each node a priority of its own")
                });
            }
        }
    }
    found.extend(pairs.into_values());
}
