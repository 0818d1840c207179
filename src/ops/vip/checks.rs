//! What stands against a move: is the peer well, does it serve the same, do the two agree, what will clients notice.

use std::net::IpAddr;

use crate::model::{Health, NodeName, NodeView, VrrpState};
use crate::ops::{Judgement, Verdict};

use super::moves::World;
use super::plan::{VipMove, VipPlan, Way};
use super::request::VipVerb;

pub fn check(plan: &VipPlan, world: &World<'_>) -> Vec<Verdict> {
    let mut found = Vec::new();
    for m in plan.moves.iter().filter(|m| m.way != Way::OnlyPriority) {
        let mut say = |guard: &'static str, judgement: Judgement, text: String| found.push(Verdict { guard, judgement, text });
        peer(m, world, &mut say);
        services(m, world, &mut say);
        pools(m, world, &mut say);
        cost(m, world, &mut say);
    }
    if plan.request.verb == VipVerb::DrainNode && plan.moves.is_empty() {
        found.push(Verdict { guard: "vip", judgement: Judgement::Ok, text: plan.already.join("; ") });
    }
    found
}

type Say<'a> = &'a mut dyn FnMut(&'static str, Judgement, String);

fn peer(m: &VipMove, world: &World<'_>, say: Say<'_>) {
    let (Some(obs), Some(vip)) = (world.obs(&m.to), m.vips.first()) else { return };
    let (Some(taker), Some(giver)) = (world.instance(&m.to, *vip), world.instance(&m.from, *vip)) else { return };
    if m.way == Way::Start {
        return;
    }
    if obs.daemons.len() > 1 {
        say("peer", Judgement::Refuse, format!("{} keepalived run on {}: which of them moves the VIP?", obs.daemons.len(), m.to));
    }
    match taker.state {
        Some(VrrpState::Backup) => {}
        Some(state) => say("peer", Judgement::Never, format!("{} on {} is {state}, not BACKUP", taker.name, m.to)),
        None => say("peer", Judgement::Refuse, format!("keepalived on {} does not tell its state", m.to)),
    }
    for (what, _) in giver.differences(taker) {
        say("peer", Judgement::Never, format!("{} and {} differ in {what}: they would not hear each other", m.from, m.to));
    }
    if let (Some(heard), Some(now)) = (taker.master_priority, giver.effective_priority)
        && heard != now
        && taker.state == Some(VrrpState::Backup)
    {
        say("peer", Judgement::Warn, format!("{} last heard priority {heard}, and {} has {now} now", m.to, m.from));
    }
    if m.way == Way::Stop && m.actions.iter().any(|a| a.undo.is_empty()) {
        let text = format!("keepalived on {} runs in no systemd unit: somebody has to start it again by hand", m.from);
        say("peer", Judgement::Refuse, text);
    }
    if taker.nopreempt && m.way == Way::Stop {
        let text = format!("nopreempt on {}: a lower priority of {} would not make it take over", m.to, m.from);
        say("peer", Judgement::Warn, text);
    }
}

fn services(m: &VipMove, world: &World<'_>, say: Say<'_>) {
    let (Some(from), Some(to)) = (world.obs(&m.from), world.obs(&m.to)) else { return };
    let on = |vip: &IpAddr| from.listening.iter().filter(|s| s.ip() == *vip).map(|s| (*vip, s.port())).collect::<Vec<_>>();
    for (vip, port) in m.vips.iter().flat_map(on) {
        if !to.listens(vip, port) {
            let text = format!(
                "{} serves {vip} port {port}, and nothing listens there on {} (net.ipv4.ip_nonlocal_bind=1 lets it bind before it has the VIP)",
                m.from, m.to
            );
            say("services", Judgement::Refuse, text);
        }
    }
    let mut missing: Vec<u16> = from
        .listening
        .iter()
        .filter(|s| s.ip().is_unspecified())
        .map(std::net::SocketAddr::port)
        .filter(|port| m.vips.first().is_some_and(|vip| !to.listens(*vip, *port)))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        let ports: Vec<String> = missing.iter().map(u16::to_string).collect();
        let text = format!("{} listens on all addresses on port {}, and {} does not", m.from, ports.join(", "), m.to);
        say("services", Judgement::Warn, text);
    }
}

fn node<'a>(world: &World<'a>, name: &NodeName) -> Option<&'a NodeView> {
    world.view.node(name.as_str()).map(|n| &**n)
}

/// The engine behind the VIP is well on the new owner, and its pools serve as they do on the old one.
fn pools(m: &VipMove, world: &World<'_>, say: Say<'_>) {
    let (Some(from), Some(to)) = (node(world, &m.from), node(world, &m.to)) else { return };
    if to.last.is_none() && to.problem.is_none() {
        // No engine is named there: nothing to look at.
        return;
    }
    if to.health != Health::Fresh {
        let why = to.problem.as_ref().map(|p| format!(": {}", p.what)).unwrap_or_default();
        say("services", Judgement::Refuse, format!("the engine of {} cannot be read{why}", m.to));
        return;
    }
    let (Some(from), Some(to)) = (from.fresh(), to.fresh()) else { return };
    for pool in from.pools.iter().filter(|p| p.serving() > 0) {
        match to.pool(pool.name.as_str()) {
            None => say("services", Judgement::Warn, format!("{} has no pool {}", m.to, pool.name)),
            Some(other) if other.serving() == 0 => {
                let text = format!("no server of pool {} serves on {}, and {} do on {}", pool.name, m.to, pool.serving(), m.from);
                say("services", Judgement::Refuse, text);
            }
            Some(_) => {}
        }
    }
}

fn cost(m: &VipMove, world: &World<'_>, say: Say<'_>) {
    let open: u64 = node(world, &m.from)
        .and_then(NodeView::fresh)
        .map_or(0, |o| o.frontends.iter().map(|f| u64::from(f.gauges.sessions)).sum());
    if open > 0 {
        let text =
            format!("{open} sessions are open on {}: a VIP does not carry connections along, those through it are cut", m.from);
        say("cost", Judgement::Warn, text);
    }
    match m.way {
        Way::LowerPriority | Way::RaisePriority | Way::Start | Way::OnlyPriority => {
            say("cost", Judgement::Ok, "no outage is expected: the new owner takes over before the old one lets go".into());
        }
        Way::Fault | Way::Stop => {
            let taker = m.vips.first().and_then(|vip| world.instance(&m.to, *vip));
            let remedy = if taker.is_some_and(|t| t.nopreempt) {
                format!("{} has nopreempt, so a lower priority would not make it take over", m.to)
            } else {
                "--add-track-file adds a weighted track file, with which it costs nothing".to_owned()
            };
            let ms = m.expected_outage_ms;
            say(
                "cost",
                Judgement::Warn,
                format!("about {ms} ms without an owner are expected, because {}; {remedy}", m.way.words()),
            );
        }
    }
}
