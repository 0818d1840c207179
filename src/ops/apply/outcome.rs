//! The honest report: what holds on each node now, and how to go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Exit, NodeName, NodeObs};
use crate::ops::lock::{LockError, TTL};
use crate::ops::planner::counted;
use crate::ops::{AtDeadline, NodeOutcome, NodeResult, Outcome, Plan, Refusal, Verb};
use crate::store::{JournalState, LeaseState};

use super::Done;
use super::act::{Cx, StepDone};

/// Every step of the plan, not begun for one reason.
fn not_started(plan: &Plan, text: &str) -> Vec<NodeOutcome> {
    plan.steps
        .iter()
        .map(|s| NodeOutcome {
            node: s.node.clone(),
            target: Some(s.target.clone()),
            result: NodeResult::NotStarted,
            text: text.to_owned(),
            unseen: None,
        })
        .collect()
}

pub fn locked(plan: &Plan, error: &LockError) -> Done {
    let next = vec![
        "try again when it is done, or talk to whoever holds it".to_owned(),
        format!("a lock whose holder died is free {}s after its last sign of life", TTL.as_secs()),
    ];
    let mut done = Done::nothing(Exit::Locked, format!("locked, nothing was sent: {error}"), next);
    done.outcome.nodes = not_started(plan, "nothing was sent");
    done
}

pub fn stopped(plan: &Plan) -> Done {
    let mut done = Done::nothing(Exit::Failed, "stopped before anything was sent".into(), Vec::new());
    done.outcome.nodes = not_started(plan, "stopped");
    done
}

pub fn refused(plan: &Plan, fresh: &BTreeMap<NodeName, Result<Arc<NodeObs>, String>>, refusal: Refusal) -> Done {
    let next = refusal.hint.into_iter().collect();
    let summary = format!("nothing was sent, because things have changed since the plan was made: {}", refusal.what);
    let mut done = Done::nothing(refusal.exit, summary, next);
    done.outcome.nodes = plan
        .steps
        .iter()
        .map(|s| {
            let (result, text) = match fresh.get(&s.node) {
                Some(Err(why)) => (NodeResult::Unreachable, why.clone()),
                _ => (NodeResult::NotStarted, "nothing was sent".to_owned()),
            };
            NodeOutcome { node: s.node.clone(), target: Some(s.target.clone()), result, text, unseen: None }
        })
        .collect();
    done
}

/// Approved steps whose target is no longer there.
pub fn gone(approved: &Plan, fresh: &Plan, read: &BTreeMap<NodeName, Result<Arc<NodeObs>, String>>) -> Vec<NodeOutcome> {
    approved
        .steps
        .iter()
        .filter(|s| matches!(read.get(&s.node), Some(Ok(_))))
        .filter(|s| !fresh.steps.iter().any(|f| f.node == s.node && f.target == s.target && f.change == s.change))
        .map(|s| NodeOutcome {
            node: s.node.clone(),
            target: Some(s.target.clone()),
            result: NodeResult::Failed,
            text: "no longer there: it went between plan and apply; nothing was sent".into(),
            unseen: None,
        })
        .collect()
}

pub fn of(cx: &Cx, done: Vec<StepDone>, gone: Vec<NodeOutcome>, returned: Option<bool>) -> Done {
    let mut nodes: Vec<NodeOutcome> = done
        .iter()
        .filter_map(|d| {
            let step = cx.step(d.index)?;
            Some(NodeOutcome {
                node: step.node.clone(),
                target: Some(step.target.clone()),
                result: d.result,
                text: match &d.hint {
                    Some(hint) if d.result == NodeResult::Failed => format!("{}; {hint}", d.text),
                    _ => d.text.clone(),
                },
                unseen: d.unseen.clone(),
            })
        })
        .collect();
    nodes.extend(gone);
    nodes.extend(cx.plan.unreachable.iter().map(|(node, why)| NodeOutcome {
        node: node.clone(),
        target: None,
        result: NodeResult::Unreachable,
        text: match cx.plan.request.verb {
            Verb::Drain(_) => format!("not touched, so not drained: {why}"),
            _ => format!("not touched: {why}"),
        },
        unseen: None,
    }));
    let exit = exit(&nodes, returned);
    let journal = done
        .iter()
        .filter(|d| cx.step(d.index).is_some_and(|s| !s.already))
        .filter_map(|d| Some((u32::try_from(d.index).ok()?, d.journal, Some(d.text.clone()))))
        .collect();
    let touched = done.iter().filter(|d| d.sent).filter_map(|d| cx.step(d.index)).map(|s| s.node.clone());
    let mut touched: Vec<NodeName> = touched.collect();
    touched.sort();
    touched.dedup();
    let leases: Vec<String> = cx
        .leases
        .iter()
        .filter(|l| {
            l.holds.iter().any(|h| {
                h.state == LeaseState::Open
                    && done.iter().any(|d| {
                        matches!(d.journal, JournalState::Done | JournalState::Intent)
                            && cx.step(d.index).is_some_and(|s| s.target == l.target && s.node == h.node)
                    })
            })
        })
        .map(|l| l.id.clone())
        .collect();
    let outcome = Outcome { exit, summary: summary(cx, &nodes, returned), next: next(cx, &nodes, &leases), nodes, leases };
    Done { outcome, journal, touched }
}

fn exit(nodes: &[NodeOutcome], returned: Option<bool>) -> Exit {
    match returned {
        Some(true) => Exit::FailedRolledBack,
        Some(false) => Exit::RollbackFailed,
        // What is not proven is no success: whoever runs this before a reboot relies on it.
        None if nodes.iter().all(|n| matches!(n.result, NodeResult::Done | NodeResult::Already) && n.unseen.is_none()) => {
            Exit::Ok
        }
        None => Exit::Failed,
    }
}

fn summary(cx: &Cx, nodes: &[NodeOutcome], returned: Option<bool>) -> String {
    let word = |result: NodeResult| match result {
        NodeResult::Done if matches!(&cx.plan.request.verb, Verb::Drain(o) if o.wait) => "drained",
        NodeResult::Done => "done",
        NodeResult::Already => "already so",
        NodeResult::NotDrained => "not drained",
        NodeResult::Unreachable => "unreachable",
        NodeResult::Failed => "failed",
        NodeResult::Returned => "given back",
        NodeResult::NotStarted => "not started",
    };
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for node in nodes {
        let word = if node.unseen.is_some() { "drained as far as can be seen" } else { word(node.result) };
        match counts.iter_mut().find(|(w, _)| *w == word) {
            Some((_, n)) => *n += 1,
            None => counts.push((word, 1)),
        }
    }
    let told: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let told = if told.is_empty() { "nothing to do".to_owned() } else { told.join(", ") };
    match returned {
        Some(true) => format!("{}: {told}; the deadline passed, everything was given back", cx.plan.summary),
        Some(false) => format!("{}: {told}; the deadline passed, and not everything could be given back", cx.plan.summary),
        None => format!("{}: {told}", cx.plan.summary),
    }
}

fn next(cx: &Cx, nodes: &[NodeOutcome], leases: &[String]) -> Vec<String> {
    let names = |result: NodeResult| -> Vec<&str> {
        let mut names: Vec<&str> = nodes.iter().filter(|n| n.result == result).map(|n| n.node.as_str()).collect();
        names.dedup();
        names
    };
    let mut next = Vec::new();
    let operation = cx.report.operation;
    let (unreachable, failed, waiting) =
        (names(NodeResult::Unreachable), names(NodeResult::Failed), names(NodeResult::NotDrained));
    if !unreachable.is_empty() {
        next.push(format!(
            "nothing is known of {}: when {} back, run the same again (what is done already is left as it is)",
            unreachable.join(", "),
            if unreachable.len() == 1 { "it is" } else { "they are" }
        ));
    }
    if !failed.is_empty() {
        next.push(format!("look at {}: `lbdeck node show {}`", failed.join(", "), failed.first().copied().unwrap_or_default()));
    }
    if !waiting.is_empty() {
        next.push(format!("{} still draining: run the same again to wait on", counted(waiting.len(), "node")));
        if matches!(&cx.plan.request.verb, Verb::Drain(o) if o.then == AtDeadline::Fail) {
            next.push("to end it: the same with --then kill or --then maint".into());
        }
    }
    if nodes.iter().any(|n| n.unseen.is_some()) {
        next.push("to have old processes asked too: name the engine's master_socket (`haproxy -S`) in the fleet file".into());
    }
    let holds = nodes.iter().any(|n| matches!(n.result, NodeResult::Done | NodeResult::NotDrained | NodeResult::Failed));
    if holds && !leases.is_empty() {
        next.push(format!("to give everything back: `lbdeck undo {operation}`"));
    }
    next
}
