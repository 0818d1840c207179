//! Which VIP goes where, and in which way. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::NodeHandle;
use crate::model::{FleetView, NodeName, TrackFile, TrackFileStatus, VipView, VrrpInstance, VrrpObs, VrrpState, fresh_vrrp};
use crate::ops::PlanError;

use super::edit;
use super::plan::{VipAction, VipMove, Way};
use super::request::{VipRequest, VipVerb};

/// Where keepalived keeps its program, for whom has no /usr/sbin in his path.
const KEEPALIVED: &str = "/usr/sbin/keepalived";

pub struct World<'a> {
    pub view: &'a FleetView,
    pub nodes: &'a [NodeHandle],
    pub now: Timestamp,
    pub vips: Vec<VipView>,
}

impl<'a> World<'a> {
    pub fn obs(&self, node: &NodeName) -> Option<&'a VrrpObs> {
        fresh_vrrp(self.view.node(node.as_str())?)
    }
    fn read(&self, node: &NodeName) -> Result<&'a VrrpObs, PlanError> {
        match self.view.node(node.as_str()) {
            None => {
                let hint = Some("`lbdeck node list` shows the names".into());
                return Err(PlanError::NotFound { what: format!("no node is called '{node}'"), hint });
            }
            Some(n) if n.vrrp.is_none() => {
                let hint = Some("write `engines: {keepalived: true}` for it (and its engine beside)".into());
                return Err(PlanError::Invalid { what: format!("the fleet file names no keepalived on {node}"), hint });
            }
            Some(_) => {}
        }
        self.obs(node).ok_or_else(|| {
            let problem = self.view.node(node.as_str()).and_then(|n| n.vrrp.as_ref()?.problem.clone());
            PlanError::Unreachable {
                what: match problem {
                    Some(problem) => format!("keepalived of {node} cannot be read: {}", problem.what),
                    None => format!("keepalived of {node} cannot be read"),
                },
                hint: Some("what cannot be seen is not moved".into()),
            }
        })
    }
    pub fn vip(&self, address: IpAddr) -> Option<&VipView> {
        self.vips.iter().find(|v| v.address == address)
    }
    /// The instance that moves the address on a node.
    pub fn instance(&self, node: &NodeName, address: IpAddr) -> Option<&'a VrrpInstance> {
        self.obs(node)?.instances.iter().find(|i| i.vip(address).is_some())
    }
    /// argv with what gives it its rights.
    fn argv(&self, node: &NodeName, words: &[&str]) -> Vec<String> {
        let vrrp = self.nodes.iter().find(|h| h.name() == node).and_then(|h| h.vrrp.as_ref());
        let prefix = vrrp.map(|v| v.rights()).unwrap_or_default();
        prefix.iter().chain(words).map(|w| (*w).to_owned()).collect()
    }
}

/// The moves that do what was asked, and what holds already.
pub fn of(request: &VipRequest, world: &World<'_>) -> Result<(Vec<VipMove>, Vec<String>), PlanError> {
    match request.verb {
        VipVerb::Failover | VipVerb::Failback => vips(request, world),
        VipVerb::DrainNode => drain(request, world),
        VipVerb::ReturnNode => give_back(request, world),
    }
}

fn vips(request: &VipRequest, world: &World<'_>) -> Result<(Vec<VipMove>, Vec<String>), PlanError> {
    let (mut moves, mut already, mut done) = (Vec::new(), Vec::new(), BTreeSet::new());
    for address in &request.vips {
        let Some(vip) = world.vip(*address) else {
            return Err(PlanError::NotFound {
                what: format!("no keepalived of the fleet has the VIP {address}"),
                hint: Some("`lbdeck vip list` shows them all".into()),
            });
        };
        if done.contains(address) {
            continue;
        }
        let from = owner(vip)?;
        let to = match request.verb {
            VipVerb::Failback => vip.home().map(|n| n.node.clone()).ok_or_else(|| PlanError::NotFound {
                what: format!("no instance says where {address} is at home"),
                hint: None,
            })?,
            _ => match &request.node {
                Some(node) => named(vip, node)?,
                None => best_peer(vip, &from, world)?,
            },
        };
        if to == from {
            already.push(format!("{address} is on {from} already"));
            continue;
        }
        let next = make(request, world, &from, &to, *address)?;
        done.extend(next.vips.iter().copied());
        moves.push(next);
    }
    if moves.is_empty() {
        return Err(PlanError::Nothing { what: already.join("; ") });
    }
    Ok((moves, already))
}

fn owner(vip: &VipView) -> Result<NodeName, PlanError> {
    let owners: Vec<String> = vip.owners().map(|n| n.node.to_string()).collect();
    match vip.owner() {
        Some(owner) => Ok(owner.node.clone()),
        None if owners.is_empty() => Err(PlanError::Invalid {
            what: format!("no node that can be read carries {}: there is nothing to move", vip.address),
            hint: Some("`lbdeck status` says why, and what mends it".into()),
        }),
        None => Err(PlanError::Invalid {
            what: format!("{} is on {} at once: a split brain is not moved", vip.address, owners.join(" and ")),
            hint: Some("`lbdeck status` says what mends it".into()),
        }),
    }
}

fn named(vip: &VipView, node: &NodeName) -> Result<NodeName, PlanError> {
    match vip.node(node).filter(|n| n.instance.is_some()) {
        Some(found) => Ok(found.node.clone()),
        None => Err(PlanError::Invalid {
            what: format!("{node} has no instance for {}", vip.address),
            hint: Some(format!("`lbdeck vip show {}` shows which nodes have", vip.address)),
        }),
    }
}

/// The healthy node with the highest configured priority, the owner left out: who is held down by a track file is raised.
fn best_peer(vip: &VipView, from: &NodeName, world: &World<'_>) -> Result<NodeName, PlanError> {
    let able = |node: &&crate::model::VipNode| {
        node.node != *from
            && node.is_fresh()
            && world.instance(&node.node, vip.address).is_some_and(|i| i.state != Some(VrrpState::Fault))
            && world.obs(&node.node).is_some_and(|o| !o.daemons.is_empty())
    };
    let best = vip.nodes.iter().filter(able).max_by_key(|n| n.priority);
    best.map(|n| n.node.clone()).ok_or_else(|| PlanError::Invalid {
        what: format!("no other healthy node can take {}", vip.address),
        hint: Some(format!("`lbdeck vip show {}` says why", vip.address)),
    })
}

fn drain(request: &VipRequest, world: &World<'_>) -> Result<(Vec<VipMove>, Vec<String>), PlanError> {
    let node = request_node(request)?;
    world.read(node)?;
    let (mut moves, mut done) = (Vec::new(), BTreeSet::new());
    for vip in world.vips.iter().filter(|v| v.node(node).is_some_and(|n| n.owns() && n.instance.is_some())) {
        if done.contains(&vip.address) {
            continue;
        }
        owner(vip)?;
        let to = best_peer(vip, node, world)?;
        let next = make(request, world, node, &to, vip.address)?;
        done.extend(next.vips.iter().copied());
        moves.push(next);
    }
    let already = if moves.is_empty() { vec![format!("{node} holds no VIP")] } else { Vec::new() };
    Ok((moves, already))
}

fn request_node(request: &VipRequest) -> Result<&NodeName, PlanError> {
    request.node.as_ref().ok_or_else(|| PlanError::Invalid { what: "no node was named".into(), hint: None })
}

/// Every instance that a track file holds down gets its priority back; keepalived decides what moves.
fn give_back(request: &VipRequest, world: &World<'_>) -> Result<(Vec<VipMove>, Vec<String>), PlanError> {
    let node = request_node(request)?;
    let obs = world.read(node)?;
    let mut moves: Vec<VipMove> = Vec::new();
    if let (true, Some(instance)) = (obs.daemons.is_empty(), obs.instances.first()) {
        let mut next = blank(world, node, node, instance, Way::OnlyPriority);
        next.actions.push(start(world, node));
        moves.push(next);
    }
    for instance in obs.instances.iter().filter(|i| i.track_files.iter().any(holds_down)) {
        let Some(address) = instance.vips.first().map(|v| v.address) else { continue };
        let actions = raise(world, node, instance)?;
        if moves.iter().any(|m| m.actions == actions) {
            continue;
        }
        let owner = world.vip(address).and_then(VipView::owner).map(|n| n.node.clone());
        let takes = !instance.nopreempt && owner.as_ref().is_some_and(|o| o != node && raised(instance) > eff(world, o, address));
        let mut next = blank(world, node, node, instance, Way::OnlyPriority);
        if let (true, Some(owner)) = (takes, owner) {
            next = VipMove { from: owner, ..blank(world, node, node, instance, Way::RaisePriority) };
        }
        next.actions = actions;
        moves.push(next);
    }
    if moves.is_empty() {
        return Err(PlanError::Nothing { what: format!("no track file holds {node} down: it may hold VIPs already") });
    }
    Ok((moves, Vec::new()))
}

/// The priority that is left when nothing holds it down any more.
fn raised(i: &VrrpInstance) -> i64 {
    let held: i64 = i.track_files.iter().filter(|f| holds_down(f)).filter_map(shift).sum();
    i64::from(i.priority()) - held
}

fn eff(world: &World<'_>, node: &NodeName, address: IpAddr) -> i64 {
    world.instance(node, address).map_or(0, |i| i64::from(i.priority()))
}

/// What a tracked file adds to the priority now.
fn shift(file: &TrackFile) -> Option<i64> {
    file.value?.checked_mul(i64::from(file.weight))
}

/// A file by which an instance was held down: negative, or FAULT.
pub fn holds_down(file: &TrackFile) -> bool {
    match file.weight {
        0 => file.value.is_some_and(|v| v != 0),
        _ => shift(file).is_some_and(|s| s < 0),
    }
}

fn blank(world: &World<'_>, from: &NodeName, to: &NodeName, instance: &VrrpInstance, way: Way) -> VipMove {
    let owner = world.obs(from);
    let mut vips: Vec<IpAddr> = instance.vips.iter().map(|v| v.address).collect();
    let mut instances = vec![instance.name.clone()];
    // A group moves as one.
    if let (Some(group), Some(obs)) = (&instance.sync_group, owner) {
        for other in obs.instances.iter().filter(|i| i.sync_group.as_ref() == Some(group) && i.name != instance.name) {
            vips.extend(other.vips.iter().map(|v| v.address));
            instances.push(other.name.clone());
        }
    }
    let listening = owner.map(|o| o.listening.as_slice()).unwrap_or_default();
    let mut ports: Vec<u16> = listening.iter().filter(|s| vips.contains(&s.ip())).map(std::net::SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    VipMove {
        vips,
        instances,
        from: from.clone(),
        to: to.clone(),
        way,
        actions: Vec::new(),
        expected_outage_ms: 0,
        // Three adverts until the others notice, the skew, one more advert; and room for a busy machine.
        within: instance.advert_interval * 6 + instance.preempt_delay + Duration::from_secs(10),
        diff: Vec::new(),
        ports,
    }
}

fn make(request: &VipRequest, world: &World<'_>, from: &NodeName, to: &NodeName, address: IpAddr) -> Result<VipMove, PlanError> {
    let (source, target) = (world.read(from)?, world.read(to)?);
    let missing = |node: &NodeName| PlanError::Invalid {
        what: format!("{address} is on {node}, but no instance of its keepalived moves it"),
        hint: Some("an address that somebody set by hand is not keepalived's to move".into()),
    };
    let giver = world.instance(from, address).ok_or_else(|| missing(from))?;
    let taker = world.instance(to, address).ok_or_else(|| missing(to))?;
    let skew = skew(taker);
    if target.daemons.is_empty() {
        let mut next = blank(world, from, to, giver, Way::Start);
        next.actions.push(start(world, to));
        return Ok(next);
    }
    // A group does not follow the weights of one of its instances.
    let weights_count = giver.sync_group.is_none();
    if taker.track_files.iter().any(holds_down)
        && !taker.nopreempt
        && raised(taker) > i64::from(giver.priority())
        && weights_count
    {
        let mut next = blank(world, from, to, giver, Way::RaisePriority);
        next.actions = raise(world, to, taker)?;
        return Ok(next);
    }
    let lower = lowered(giver, taker, world, from, to, address);
    if weights_count && !taker.nopreempt {
        let mut next = blank(world, from, to, giver, Way::LowerPriority);
        // What holds the taker down goes too, or it would not be higher than anybody.
        if taker.track_files.iter().any(holds_down) {
            next.actions.extend(raise(world, to, taker)?);
        }
        if let Some(file) = giver.weighted_file().filter(|f| usable(f)) {
            let value = value_for(file, i64::from(giver.priority()) - lower?);
            next.actions.push(write(world, from, &file.path, &value.to_string(), file.value, "lowers the priority"));
            return Ok(next);
        }
        if request.add_track_file {
            add_track_file(world, &mut next, (from, source, giver), (to, target, taker))?;
            let value = lower? - i64::from(giver.priority());
            next.actions.push(write(world, from, &track_path(source), &value.to_string(), Some(0), "lowers the priority"));
            return Ok(next);
        }
    }
    if let Some(file) = giver.track_files.iter().find(|f| f.weight == 0 && usable(f)) {
        let mut next = blank(world, from, to, giver, Way::Fault);
        next.actions.push(write(world, from, &file.path, "1", file.value, "puts the instance into FAULT"));
        next.expected_outage_ms = skew;
        return Ok(next);
    }
    let mut next = blank(world, from, to, giver, Way::Stop);
    let daemon = source.daemons.first().ok_or_else(|| PlanError::Invalid {
        what: format!("keepalived does not run on {from}, and the VIP is still there"),
        hint: Some(format!("`ip addr del {address} …` on {from} takes it away; then start keepalived")),
    })?;
    let pid = daemon.pid.to_string();
    let (argv, undo) = match &daemon.unit {
        Some(unit) => (
            world.argv(from, &["systemctl", "stop", unit]),
            vec![(world.argv(from, &["systemctl", "start", unit]), String::new())],
        ),
        None => (world.argv(from, &["kill", "-TERM", &pid]), Vec::new()),
    };
    let what = "stops keepalived, which gives its VIPs up".to_owned();
    next.actions.push(VipAction { node: from.clone(), argv, stdin: String::new(), undo, what, secret: false });
    next.expected_outage_ms = skew;
    Ok(next)
}

fn start(world: &World<'_>, node: &NodeName) -> VipAction {
    VipAction {
        node: node.clone(),
        argv: world.argv(node, &["systemctl", "start", "keepalived"]),
        stdin: String::new(),
        undo: Vec::new(),
        what: "starts keepalived".into(),
        secret: false,
    }
}

/// The file is where it can be written.
fn usable(file: &TrackFile) -> bool {
    !file.path.is_empty() && matches!(file.status, TrackFileStatus::Writable | TrackFileStatus::Missing)
}

/// How long a backup waits that hears "priority 0", in milliseconds: (256 - priority) / 256 of an advert.
fn skew(taker: &VrrpInstance) -> u64 {
    let advert = u64::try_from(taker.advert_interval.as_millis()).unwrap_or(u64::MAX);
    (256 - u64::from(taker.priority())).saturating_mul(advert) / 256
}

/// The priority that lets exactly `to` take over: below it, and it is the highest of the others.
fn lowered(
    giver: &VrrpInstance,
    taker: &VrrpInstance,
    world: &World<'_>,
    from: &NodeName,
    to: &NodeName,
    address: IpAddr,
) -> Result<i64, PlanError> {
    let target = raised(taker);
    let others = world.vip(address).map(|v| v.nodes.as_slice()).unwrap_or_default();
    if let Some(other) = others
        .iter()
        .filter(|n| n.node != *from && n.node != *to && n.instance.is_some())
        .find(|n| n.priority.is_some_and(|p| i64::from(p) >= target))
    {
        return Err(PlanError::Invalid {
            what: format!("{} would take {address}, not {to}: its priority is {}", other.node, other.priority.unwrap_or(0)),
            hint: Some(format!("move it to {}, or lower that node first", other.node)),
        });
    }
    // Room below the peer, so that a tracked script of its own does not turn it back at once; keepalived's least is 1.
    let wanted = (target - 10).max(1);
    if wanted >= target || giver.base_priority == 255 {
        return Err(PlanError::Invalid {
            what: format!("the priority of {} cannot be lowered below that of {to} ({target})", giver.name),
            hint: Some("give the instances priorities from 50 to 200".into()),
        });
    }
    Ok(wanted)
}

/// What to write so that the priority falls by `delta` from where it is with the file's present value.
fn value_for(file: &TrackFile, delta: i64) -> i64 {
    let weight = i64::from(file.weight);
    let now = file.value.unwrap_or(0);
    let steps = (delta + weight.abs() - 1).div_euclid(weight.abs());
    now - steps * weight.signum()
}

fn write(world: &World<'_>, node: &NodeName, path: &str, text: &str, before: Option<i64>, what: &str) -> VipAction {
    let argv = world.argv(node, &["tee", "--", path]);
    VipAction {
        node: node.clone(),
        stdin: format!("{text}\n"),
        undo: vec![(argv.clone(), format!("{}\n", before.unwrap_or(0)))],
        argv,
        what: what.to_owned(),
        secret: false,
    }
}

fn raise(world: &World<'_>, node: &NodeName, instance: &VrrpInstance) -> Result<Vec<VipAction>, PlanError> {
    let mut actions = Vec::new();
    for file in instance.track_files.iter().filter(|f| holds_down(f)) {
        if !usable(file) {
            let whose = match &file.status {
                TrackFileStatus::NotOurs(whose) => format!(" (it belongs to {whose})"),
                _ => String::new(),
            };
            return Err(PlanError::Invalid {
                what: format!("{node}: the track file {} holds {} down and cannot be written{whose}", file.path, instance.name),
                hint: Some("connect as a user who may write it, or write sudo: true under keepalived".into()),
            });
        }
        actions.push(write(world, node, &file.path, "0", file.value, "sets the priority back"));
    }
    Ok(actions)
}

/// Beside the configuration, so that it outlives a reboot: a node that was taken out of service stays so.
fn track_path(obs: &VrrpObs) -> String {
    let config = obs.config.first().map_or(crate::engine::keepalived::DEFAULT_CONFIG, |f| f.path.as_str());
    let folder = config.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/lbdeck-planned")
}

type Side<'a> = (&'a NodeName, &'a VrrpObs, &'a VrrpInstance);

/// On both nodes, so that the way back is there too: validated beside the old file, which is kept, then put in its place and reloaded.
fn add_track_file(world: &World<'_>, next: &mut VipMove, giver: Side<'_>, taker: Side<'_>) -> Result<(), PlanError> {
    for (node, obs, instance) in [giver, taker] {
        if instance.weighted_file().is_some() {
            continue;
        }
        let by_hand = |why: String| PlanError::Invalid {
            what: format!("{node}: no track file can be added: {why}"),
            hint: Some(format!(
                "add by hand: vrrp_track_file {name} {{ file {path} weight 1 init_file 0 }}, and in {instance}: track_file {{ {name} }}",
                name = edit::NAME,
                path = track_path(obs),
                instance = instance.name
            )),
        };
        let config = obs.config.first().ok_or_else(|| by_hand("its configuration cannot be read".into()))?;
        let pid = obs.daemons.first().ok_or_else(|| by_hand("keepalived does not run there".into()))?.pid.to_string();
        let edited = edit::with_track_file(&config.text, std::slice::from_ref(&instance.name), &track_path(obs))
            .map_err(|why| by_hand(format!("{}: {why}", config.path)))?;
        let (path, new) = (config.path.as_str(), format!("{}.lbdeck-new", config.path));
        let kept = format!("{path}.lbdeck-{}", world.now.strftime("%Y%m%dT%H%M%SZ"));
        let gone = vec![(world.argv(node, &["rm", "-f", "--", &new]), String::new())];
        let back = vec![
            (world.argv(node, &["mv", "--", &kept, path]), String::new()),
            (world.argv(node, &["kill", "-HUP", &pid]), String::new()),
        ];
        let track = track_path(obs);
        let mut act = |words: &[&str], stdin: &str, undo: Vec<(Vec<String>, String)>, what: &str, secret: bool| {
            next.actions.push(VipAction {
                node: node.clone(),
                argv: world.argv(node, words),
                stdin: stdin.to_owned(),
                undo,
                what: what.to_owned(),
                secret,
            });
        };
        act(&["tee", "--", &track], "0\n", Vec::new(), "the file that will move the priority", false);
        act(&["cp", "-p", "--", path, &new], "", gone, "a copy with owner and mode", false);
        act(&["tee", "--", &new], &edited.text, Vec::new(), "the configuration with the track file", true);
        act(&[KEEPALIVED, "-t", "-f", &new], "", Vec::new(), "keepalived validates it", false);
        act(&["cp", "-p", "--", path, &kept], "", Vec::new(), "the old one is kept", false);
        act(&["mv", "--", &new, path], "", back, "in its place", false);
        act(&["kill", "-HUP", &pid], "", Vec::new(), "reload; VIPs stay where they are", false);
        next.diff.push(format!("{node}: {path}"));
        next.diff.extend(edited.diff);
    }
    Ok(())
}
