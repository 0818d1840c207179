//! From a request and a picture of the fleet to a plan. Pure: it reads nothing but its arguments and sends nothing.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{ConfirmLevel, Fleet};
use crate::engine::NodeHandle;
use crate::model::{AdminState, Change, EngineKind, FleetView, Health, NodeName, NodeObs, NodeView, ServerRef, Target, Weight};
use crate::store::{Lease, Who};

use super::agent::{AgentPlan, AgentVerb};
use super::guard::{self, Context};
use super::plan::{Basis, ExecPlan, GiveBack, Plan, Step, Verdict};
use super::targets;
use super::verify::{describe, holds};
use super::vip::{self, VipPlan};
use super::{PlanError, Request, Verb};

/// Longest lease that is accepted: a change that is to stay longer belongs into the configuration.
const LONGEST_LEASE: std::time::Duration = std::time::Duration::from_secs(366 * 24 * 3600);

/// What is known besides the picture of the fleet.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub fleet: &'a Fleet,
    pub nodes: &'a [NodeHandle],
    /// Open leases.
    pub leases: &'a [Lease],
    /// For `Undo` and `ReturnLease`: what was recorded.
    pub give_back: &'a [GiveBack],
    pub who: &'a Who,
    pub now: Timestamp,
    /// Plan nothing but these steps (which were approved before the fleet was read again).
    pub only: Option<&'a [&'a Step]>,
}

/// One change before it has been turned into commands.
struct Draft<'v> {
    node: &'v Arc<NodeView>,
    target: Target,
    change: Change,
    /// It stays as it is, because a later lease holds it or because it is further out than was asked: nothing is sent.
    kept: bool,
}

/// Can the node's reading be planned with? Stale readings are: `apply` reads again before it sends.
fn readable(node: &NodeView) -> Option<&NodeObs> {
    match node.health {
        Health::Fresh | Health::Stale => node.last.as_deref(),
        Health::Connecting | Health::Dead => None,
    }
}

pub fn plan(request: Request, view: &FleetView, known: Known<'_>) -> Result<Plan, PlanError> {
    check_values(&request)?;
    if let Verb::Agent(asked) = &request.verb {
        return Err(PlanError::Invalid { what: format!("to {} its nodes have to be looked at first", asked.verb), hint: None });
    }
    if let Verb::Vip(asked) = &request.verb {
        let (moves, verdicts) = vip::plan::plan(asked, view, known.nodes, known.now)?;
        return Ok(of_vips(request, view, known, moves, verdicts));
    }
    let scope = targets::nodes(&request.selector, view)?;
    if let Verb::Exec { argv } = &request.verb {
        let nodes = scope.iter().map(|n| n.meta.name.clone()).collect();
        let exec = ExecPlan { argv: argv.clone(), nodes };
        return Ok(finish(request, view, known, Vec::new(), Vec::new(), Vec::new(), Some(exec)));
    }
    let live: Vec<&Arc<NodeView>> = scope.iter().copied().filter(|n| readable(n).is_some()).collect();
    let mut drafts = match &request.verb {
        Verb::Drain(_) => on_servers(&request, &scope, &live, &Change::Drain)?,
        Verb::Server(change) => on_servers(&request, &scope, &live, change)?,
        Verb::Named { target, change } => on_named(&scope, &live, target, change)?,
        Verb::Undo { .. } | Verb::ReturnLease { .. } => {
            if known.give_back.is_empty() {
                return Err(PlanError::Nothing { what: "nothing is left to give back".into() });
            }
            given_back(&scope, known.give_back)
        }
        Verb::Exec { .. } | Verb::Agent(_) | Verb::Vip(_) => Vec::new(),
    };
    if let Some(only) = known.only {
        // Drafts on nodes that cannot be read stay: they become the words for those nodes, never steps.
        drafts.retain(|d| {
            readable(d.node).is_none()
                || only.iter().any(|s| s.node == d.node.meta.name && s.target == d.target && s.change == d.change)
        });
    }
    let is_undo = matches!(request.verb, Verb::Undo { .. } | Verb::ReturnLease { .. });
    let mut unreachable: Vec<(NodeName, String)> =
        if is_undo { Vec::new() } else { scope.iter().filter_map(|n| why_unread(n)).collect() };
    let (mut steps, mut incapable) = (Vec::new(), Vec::new());
    for draft in drafts {
        let Some(seen) = readable(draft.node) else {
            // Only what was recorded earlier can name a node that is not readable now.
            if let Some(why) = why_unread(draft.node).filter(|(name, _)| !unreachable.iter().any(|(n, _)| n == name)) {
                unreachable.push(why);
            }
            continue;
        };
        match step(&draft, seen, known.nodes) {
            Ok(step) => steps.push(step),
            Err(why) => incapable.push((draft.node.meta.name.clone(), draft.target, why)),
        }
    }
    Ok(finish(request, view, known, steps, unreachable, incapable, None))
}

fn check_values(request: &Request) -> Result<(), PlanError> {
    let change = match &request.verb {
        Verb::Server(change) | Verb::Named { change, .. } => Some(change),
        Verb::Exec { argv } if argv.first().is_none_or(String::is_empty) => {
            return Err(PlanError::Invalid { what: "no command was given".into(), hint: Some("write it after `--`".into()) });
        }
        _ => None,
    };
    if let Some(Change::Weight(Weight::Absolute(w))) = change
        && *w > 256
    {
        return Err(PlanError::Invalid {
            what: format!("weight {w} is too large"),
            hint: Some("0 to 256, or a percentage".into()),
        });
    }
    if request.lease.is_some_and(|l| l > LONGEST_LEASE) {
        return Err(PlanError::Invalid {
            what: "a lease cannot be longer than a year".into(),
            hint: Some("what is to stay belongs into the configuration file".into()),
        });
    }
    Ok(())
}

fn on_servers<'v>(
    request: &Request,
    scope: &[&'v Arc<NodeView>],
    live: &[&'v Arc<NodeView>],
    change: &Change,
) -> Result<Vec<Draft<'v>>, PlanError> {
    // With no node to read, the selection says so in its own words.
    let among = if live.is_empty() { scope } else { live };
    let found = targets::servers(&request.selector, among)?;
    let drafts: Vec<Draft<'v>> = found
        .into_iter()
        .filter(|f| readable(f.node).is_some())
        .map(|f| {
            let kept = *change == Change::Drain && in_maintenance(f.node, &f.server);
            Draft { node: f.node, target: Target::Server(f.server), change: change.clone(), kept }
        })
        .collect();
    if drafts.is_empty() {
        return Err(nobody_readable(scope));
    }
    Ok(drafts)
}

/// A server in maintenance is further out than one that drains: draining it would let sticky clients in again.
fn in_maintenance(node: &NodeView, at: &ServerRef) -> bool {
    let server = readable(node).and_then(|seen| seen.server(at.pool.as_str(), at.server.as_str()));
    server.is_some_and(|s| s.admin.has(AdminState::FMAINT))
}

fn on_named<'v>(
    scope: &[&'v Arc<NodeView>],
    live: &[&'v Arc<NodeView>],
    target: &Target,
    change: &Change,
) -> Result<Vec<Draft<'v>>, PlanError> {
    if live.is_empty() {
        return Err(nobody_readable(scope));
    }
    let has = |node: &NodeView| {
        let Some(seen) = readable(node) else { return false };
        match (target, change) {
            (Target::Server(at), Change::AddServer(_)) => seen.pool(at.pool.as_str()).is_some(),
            (Target::Server(at), _) => seen.server(at.pool.as_str(), at.server.as_str()).is_some(),
            (Target::Frontend(name), _) => seen.frontends.iter().any(|f| *f.name == **name),
            // Tables are not part of a reading: the engine answers for itself.
            (Target::Table(_), _) => true,
            // HAProxy's cache cannot be purged at run time.
            (Target::Cache(_), _) => seen.engine.kind == EngineKind::Relay,
        }
    };
    let drafts: Vec<Draft<'v>> = live
        .iter()
        .filter(|n| has(n))
        .map(|n| Draft { node: n, target: target.clone(), change: change.clone(), kept: false })
        .collect();
    if drafts.is_empty() {
        let what = match (target, change) {
            (Target::Server(at), Change::AddServer(_)) => format!("pool {}", at.pool),
            _ => target.to_string(),
        };
        return Err(PlanError::NotFound { what: format!("no node that could be read has {what}"), hint: None });
    }
    Ok(drafts)
}

/// Recorded inverses, last change first on each node.
fn given_back<'v>(scope: &[&'v Arc<NodeView>], records: &[GiveBack]) -> Vec<Draft<'v>> {
    let by_name: HashMap<&str, &'v Arc<NodeView>> = scope.iter().map(|n| (n.meta.name.as_str(), *n)).collect();
    let mut drafts = Vec::new();
    for record in records.iter().rev() {
        if let Some(node) = by_name.get(record.node.as_str()).copied() {
            let kept = record.kept_by.is_some();
            drafts.extend(record.inverse.iter().map(|change| Draft {
                node,
                target: record.target.clone(),
                change: change.clone(),
                kept,
            }));
        }
    }
    drafts
}

fn step(draft: &Draft<'_>, seen: &NodeObs, nodes: &[NodeHandle]) -> Result<Step, String> {
    let name = &draft.node.meta.name;
    let handle = nodes.iter().find(|h| h.name() == name).ok_or_else(|| format!("{name} is not part of the fleet file"))?;
    let engine = handle.engine.as_ref().ok_or_else(|| format!("{name} has no engine that could be changed"))?;
    let admin = engine.admin().ok_or_else(|| format!("{} cannot be changed by lbdeck", engine.source()))?;
    if let (Target::Server(at), Change::AddServer(new)) = (&draft.target, &draft.change) {
        if seen.server(at.pool.as_str(), at.server.as_str()).is_some() {
            return Err(format!("{name} has a server {at} already"));
        }
        admin.can_add(at.pool.as_str(), new, seen)?;
    }
    let already = draft.kept || (holds(&draft.target, &draft.change, seen).is_yes() && !is_repeatable(&draft.change));
    let commands = if already { Vec::new() } else { admin.encode(&draft.target, &draft.change, seen)? };
    let now = match &draft.target {
        Target::Server(at) => seen.server(at.pool.as_str(), at.server.as_str()).map_or_else(|| "not there".to_owned(), describe),
        Target::Frontend(f) => seen.frontends.iter().find(|x| *x.name == **f).map_or_else(String::new, |x| x.status.to_string()),
        Target::Table(_) | Target::Cache(_) => String::new(),
    };
    Ok(Step {
        node: name.clone(),
        target: draft.target.clone(),
        change: draft.change.clone(),
        commands,
        inverse: if already { Vec::new() } else { admin.inverse(&draft.target, &draft.change, seen) },
        lost: if already { None } else { admin.lost(&draft.target, &draft.change, seen) },
        now,
        lost_on_reload: is_lost_on_reload(seen.engine.kind, &draft.change),
        already,
    })
}

/// Killing no sessions is still an answer to 'kill'; everything else that holds needs no sending.
fn is_repeatable(change: &Change) -> bool {
    matches!(change, Change::KillSession { .. } | Change::ClearTable { .. } | Change::PurgeCache { .. })
}

/// What HAProxy's runtime API sets is gone with the next reload, save what leaves no state. The agent writes it down.
fn is_lost_on_reload(engine: EngineKind, change: &Change) -> bool {
    engine == EngineKind::Haproxy && super::verify::aspect(change) != super::verify::Aspect::Passing
}

fn why_unread(node: &NodeView) -> Option<(NodeName, String)> {
    if readable(node).is_some() {
        return None;
    }
    let why = match (&node.problem, node.health) {
        (Some(problem), _) => problem.what.clone(),
        (None, Health::Connecting) => "not read yet".to_owned(),
        (None, _) => "cannot be read".to_owned(),
    };
    Some((node.meta.name.clone(), why))
}

fn nobody_readable(scope: &[&Arc<NodeView>]) -> PlanError {
    let names: Vec<&str> = scope.iter().map(|n| n.meta.name.as_str()).collect();
    PlanError::Unreachable {
        what: format!("no node can be read now ({})", names.join(", ")),
        hint: scope.iter().find_map(|n| n.problem.as_ref()).map(|p| match &p.hint {
            Some(hint) => format!("{}; {hint}", p.what),
            None => p.what.clone(),
        }),
    }
}

/// Guards, confirmation and words for a list of steps.
fn finish(
    request: Request,
    view: &FleetView,
    known: Known<'_>,
    steps: Vec<Step>,
    unreachable: Vec<(NodeName, String)>,
    incapable: Vec<(NodeName, Target, String)>,
    exec: Option<ExecPlan>,
) -> Plan {
    let verdicts = guard::judge(&Context {
        request: &request,
        steps: &steps,
        exec: exec.as_ref(),
        agent: None,
        unreachable: &unreachable,
        incapable: &incapable,
        view,
        known,
    });
    let confirm = confirm_level(&request, &steps, exec.as_ref(), known.fleet);
    Plan {
        summary: summary(&request, &steps, exec.as_ref()),
        confirm_word: confirm_word(&steps, exec.as_ref()),
        basis: Basis { given_back: known.give_back.to_vec(), view: Some(view.clone()) },
        request,
        steps,
        exec,
        agent: None,
        vip: None,
        verdicts,
        unreachable,
        confirm,
    }
}

/// The plan of VIP moves: the same gate, with moves instead of steps.
fn of_vips(request: Request, view: &FleetView, known: Known<'_>, moves: VipPlan, mut verdicts: Vec<Verdict>) -> Plan {
    verdicts.extend(guard::judge(&Context {
        request: &request,
        steps: &[],
        exec: None,
        agent: None,
        unreachable: &[],
        incapable: &[],
        view,
        known,
    }));
    let confirm_word = match (&moves.request.node, moves.request.vips.as_slice()) {
        (_, [one]) => one.to_string(),
        (Some(node), _) => node.to_string(),
        (None, many) => counted(many.len(), "VIP"),
    };
    let edits = moves.moves.iter().any(|m| !m.diff.is_empty());
    Plan {
        summary: moves.summary(),
        confirm: match (moves.is_empty(), request.force || edits) {
            (true, _) => ConfirmLevel::None,
            (false, true) => ConfirmLevel::Typed,
            (false, false) => ConfirmLevel::Ask,
        },
        confirm_word,
        basis: Basis { given_back: Vec::new(), view: Some(view.clone()) },
        request,
        steps: Vec::new(),
        exec: None,
        agent: None,
        vip: Some(moves),
        verdicts,
        unreachable: Vec::new(),
    }
}

/// The plan of the agent's life on nodes: the same gate, with programs instead of steps.
pub fn agent(
    request: Request,
    view: &FleetView,
    known: Known<'_>,
    agent: AgentPlan,
    unreachable: Vec<(NodeName, String)>,
) -> Plan {
    let verdicts = guard::judge(&Context {
        request: &request,
        steps: &[],
        exec: None,
        agent: Some(&agent),
        unreachable: &unreachable,
        incapable: &[],
        view,
        known,
    });
    let busy: Vec<&NodeName> = agent.busy().map(|n| &n.node).collect();
    let removes = agent.request.verb == AgentVerb::Remove;
    Plan {
        summary: match busy.len() {
            0 => format!("{}: nothing to do", agent.request.verb),
            nodes => format!("{} on {}", agent.request.verb, counted(nodes, "node")),
        },
        confirm: match (busy.is_empty(), request.force || removes) {
            (true, _) => ConfirmLevel::None,
            (false, true) => ConfirmLevel::Typed,
            (false, false) => ConfirmLevel::Ask,
        },
        confirm_word: match busy.as_slice() {
            [one] => one.to_string(),
            more => counted(more.len(), "node"),
        },
        basis: Basis { given_back: Vec::new(), view: Some(view.clone()) },
        request,
        steps: Vec::new(),
        exec: None,
        agent: Some(agent),
        vip: None,
        verdicts,
        unreachable,
    }
}

fn confirm_level(request: &Request, steps: &[Step], exec: Option<&ExecPlan>, fleet: &Fleet) -> ConfirmLevel {
    if request.force {
        return ConfirmLevel::Typed;
    }
    if let Some(exec) = exec {
        return exec_level(exec, fleet);
    }
    steps
        .iter()
        .filter(|s| !s.already)
        .map(|s| {
            let own = match s.change {
                Change::Ready | Change::EnableFrontend | Change::Checks { on: true, .. } => ConfirmLevel::None,
                Change::KillSessions
                | Change::KillSession { .. }
                | Change::RemoveServer
                | Change::DisableFrontend
                | Change::ClearTable { key: None } => ConfirmLevel::Typed,
                // Everything is asked of the servers again, all at once.
                Change::PurgeCache { ref host, ref path } if host.is_none() && path == "/" => ConfirmLevel::Typed,
                _ => ConfirmLevel::Ask,
            };
            match s.target.pool().and_then(|p| fleet.policy(p)).and_then(|p| p.confirm) {
                // A policy may spare the question, never the typing.
                Some(level) if own != ConfirmLevel::Typed => level,
                _ => own,
            }
        })
        .max()
        .unwrap_or(ConfirmLevel::None)
}

/// A command may do anything, to any pool of the node: the strictest policy holds. A slip over many nodes has to be typed.
fn exec_level(exec: &ExecPlan, fleet: &Fleet) -> ConfirmLevel {
    let own = if exec.nodes.len() > 1 { ConfirmLevel::Typed } else { ConfirmLevel::Ask };
    fleet.policies.iter().filter_map(|p| p.confirm).fold(own, ConfirmLevel::max)
}

/// The target where there is one, the pool where all are of one, the command of an exec.
fn confirm_word(steps: &[Step], exec: Option<&ExecPlan>) -> String {
    if let Some(exec) = exec {
        return exec.argv.first().cloned().unwrap_or_default();
    }
    let mut targets: Vec<&Target> = steps.iter().map(|s| &s.target).collect();
    targets.sort();
    targets.dedup();
    match targets.as_slice() {
        [Target::Frontend(name) | Target::Table(name) | Target::Cache(name)] => name.clone(),
        [one] => one.to_string(),
        [first, rest @ ..] if first.pool().is_some() && rest.iter().all(|t| t.pool() == first.pool()) => {
            first.pool().map(ToString::to_string).unwrap_or_default()
        }
        more => format!("{} targets", more.len()),
    }
}

fn summary(request: &Request, steps: &[Step], exec: Option<&ExecPlan>) -> String {
    if let Some(exec) = exec {
        return format!("run {} on {}", exec.argv.join(" "), counted(exec.nodes.len(), "node"));
    }
    let mut targets: Vec<String> = steps.iter().map(|s| s.target.to_string()).collect();
    targets.sort();
    targets.dedup();
    let mut nodes: Vec<&NodeName> = steps.iter().map(|s| &s.node).collect();
    nodes.sort();
    nodes.dedup();
    let what = match &request.verb {
        Verb::Drain(_) => "drain".to_owned(),
        Verb::Server(change) | Verb::Named { change, .. } => change.to_string(),
        Verb::Undo { operation } => format!("undo operation {operation}:"),
        Verb::ReturnLease { lease } => format!("return lease {lease}:"),
        Verb::Exec { .. } | Verb::Agent(_) | Verb::Vip(_) => String::new(),
    };
    let shown = match targets.as_slice() {
        [] => "nothing".to_owned(),
        few if few.len() <= 3 => few.join(", "),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    format!("{what} {shown} on {}", counted(nodes.len(), "node"))
}

/// `1 node`, `3 nodes`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
