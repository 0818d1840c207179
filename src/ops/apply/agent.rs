//! The agent's life on nodes, applied: locks on all of them, then node by node within `--max-unavailable`. A node on which
//! something fails is brought back to how it was, and no further node is begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::{Exit, NodeName};
use crate::ops::agent::carry::{Hand, Tell};
use crate::ops::agent::far::FarError;
use crate::ops::agent::{Action, AgentPlan, AgentVerb, NodeProgram};
use crate::ops::inner::Inner;
use crate::ops::lock::{self, Holder, TTL};
use crate::ops::{EventKind, NodeOutcome, NodeResult, Outcome, Plan};

use super::locking::{NodeLock, keep_renewed, release_all};
use super::mutate::{Unready, take};
use super::{Done, Report};

/// How one node ended.
struct NodeDone {
    outcome: NodeOutcome,
    touched: bool,
    /// The way back was needed: true where it led back.
    back: Option<bool>,
}

pub async fn run(inner: &Arc<Inner>, report: &Report, stop: &CancellationToken, plan: &Plan, agent: AgentPlan) -> Done {
    let busy: Vec<NodeProgram> = agent.busy().cloned().collect();
    let locks = match lock_all(inner, report, plan, &busy).await {
        Ok(locks) => locks,
        Err(done) => return done,
    };
    let renewing = keep_renewed(locks.clone(), report.clone());
    let at_once = Arc::new(Semaphore::new(agent.at_once));
    let broken = Arc::new(AtomicBool::new(false));
    let agent = Arc::new(agent);
    let mut tasks = JoinSet::new();
    for (n, program) in busy.into_iter().enumerate() {
        let (inner, report, stop, agent) = (Arc::clone(inner), report.clone(), stop.clone(), Arc::clone(&agent));
        let (at_once, broken) = (Arc::clone(&at_once), Arc::clone(&broken));
        let lock = locks.iter().find(|l| l.node == program.node).cloned();
        tasks.spawn(async move {
            // Never closed.
            let _room = at_once.acquire_owned().await;
            let done = if broken.load(Ordering::Acquire) {
                not_started(&program.node, "another node failed first")
            } else if stop.is_cancelled() {
                not_started(&program.node, "stopped")
            } else {
                on_node(&inner, &report, &stop, &agent, &program, lock).await
            };
            if !matches!(done.outcome.result, NodeResult::Done) {
                broken.store(true, Ordering::Release);
            }
            (n, done)
        });
    }
    let mut nodes = tasks.join_all().await;
    drop(renewing);
    release_all(&locks, report).await;
    nodes.sort_by_key(|(n, _)| *n);
    outcome(plan, &agent, nodes.into_iter().map(|(_, done)| done).collect())
}

/// All locks or none.
async fn lock_all(inner: &Arc<Inner>, report: &Report, plan: &Plan, busy: &[NodeProgram]) -> Result<Vec<Arc<NodeLock>>, Done> {
    let holder = Holder {
        who: inner.who.clone(),
        process: inner.here.clone(),
        operation: report.operation,
        summary: plan.summary.clone(),
        reason: plan.request.reason.clone(),
        since: Timestamp::now(),
        ttl: TTL.as_secs(),
    };
    let mut locks = Vec::new();
    for program in busy {
        let Some(handle) = inner.node(&program.node) else { continue };
        let keys = [lock::hash(&["agent", &program.paths.binary().display().to_string()])];
        let (exit, summary, hint) = match take(inner, report, handle, &keys, &holder).await {
            Ok((lock, _)) => {
                locks.push(lock);
                continue;
            }
            Err(Unready::Taken(e)) => {
                (Exit::Locked, format!("locked, nothing was done: {e}"), Some("try again when it is done".into()))
            }
            Err(Unready::Failed { why, hint }) => (Exit::Failed, format!("{}: {why}; nothing was done", program.node), hint),
        };
        release_all(&locks, report).await;
        let mut done = Done::nothing(exit, summary, hint.into_iter().collect());
        done.outcome.nodes = busy.iter().map(|p| not_started(&p.node, "nothing was done").outcome).collect();
        return Err(done);
    }
    Ok(locks)
}

fn of_node(node: &NodeName, result: NodeResult, text: String) -> NodeOutcome {
    NodeOutcome { node: node.clone(), target: None, result, text, unseen: None }
}

fn not_started(node: &NodeName, why: &str) -> NodeDone {
    NodeDone { outcome: of_node(node, NodeResult::NotStarted, why.into()), touched: false, back: None }
}

/// Tells of one step as events.
struct Teller<'a> {
    report: &'a Report,
    node: &'a NodeName,
}

impl Tell for Teller<'_> {
    fn progress(&self, done: u64, total: u64) {
        self.report.emit(Some(self.node), None, EventKind::Progress { what: "uploading".into(), done, total });
    }
    fn again(&self, error: &FarError) {
        self.report.warn(Some(self.node), format!("{error}; trying again"));
    }
}

async fn on_node(
    inner: &Inner,
    report: &Report,
    stop: &CancellationToken,
    agent: &AgentPlan,
    program: &NodeProgram,
    lock: Option<Arc<NodeLock>>,
) -> NodeDone {
    let node = &program.node;
    let Some(transport) = inner.node(node).and_then(|h| h.transport.clone()) else {
        return not_started(node, "no way to run commands there");
    };
    let (paths, payload) = (program.paths.clone(), agent.payload.clone());
    let mut hand = Hand { transport, paths, privilege: program.privilege, payload, version: None };
    let teller = Teller { report, node };
    let mut last = String::new();
    for (n, step) in program.steps.iter().enumerate() {
        let why = if let Some(lock) = &lock
            && let Err(why) = lock.confirm().await
        {
            Failed { why, hint: None, lost: false }
        } else {
            let carried = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Failed { why: "stopped".into(), hint: None, lost: false }),
                carried = hand.carry(&step.action, &teller) => carried.map_err(|e| Failed {
                    why: e.to_string(),
                    hint: e.hint(),
                    lost: e.is_transient(),
                }),
            };
            match carried {
                Ok(reply) => {
                    report.emit(Some(node), None, EventKind::Sent { command: step.action.to_string(), reply: reply.clone() });
                    if matches!(step.action, Action::Serving { .. }) {
                        report.emit(Some(node), None, EventKind::Verified { state: reply.clone() });
                        last = reply;
                    }
                    continue;
                }
                Err(failed) => failed,
            }
        };
        report.emit(Some(node), None, EventKind::Failed { error: why.why.clone(), hint: why.hint.clone() });
        return back(&mut hand, report, &teller, program, n, why).await;
    }
    let text = match agent.request.verb {
        AgentVerb::Remove => "removed".to_owned(),
        _ => last,
    };
    let outcome = of_node(node, NodeResult::Done, text);
    NodeDone { outcome, touched: true, back: None }
}

struct Failed {
    why: String,
    hint: Option<String>,
    /// The node cannot be reached any more.
    lost: bool,
}

/// Undoes the steps up to the one that failed, last first.
async fn back(
    hand: &mut Hand,
    report: &Report,
    teller: &Teller<'_>,
    program: &NodeProgram,
    failed: usize,
    why: Failed,
) -> NodeDone {
    let node = &program.node;
    let (mut stuck, mut undone) = (Vec::new(), 0);
    for step in program.steps.iter().take(failed + 1).rev() {
        for action in &step.undo {
            undone += 1;
            match hand.carry(action, teller).await {
                Ok(reply) => report.emit(Some(node), None, EventKind::Sent { command: action.to_string(), reply }),
                Err(e) => {
                    report.emit(Some(node), None, EventKind::Failed { error: format!("on the way back: {e}"), hint: e.hint() });
                    stuck.push(e.to_string());
                }
            }
        }
    }
    let hint = why.hint.map(|h| format!("; {h}")).unwrap_or_default();
    let (result, back, text) = match (undone, stuck.first()) {
        (0, _) if why.lost => {
            (NodeResult::Unreachable, None, format!("{}; the next run goes on where this one stopped", why.why))
        }
        (0, _) => (NodeResult::Failed, None, format!("{}{hint}", why.why)),
        (_, None) => {
            report.emit(Some(node), None, EventKind::Returned);
            (NodeResult::Returned, Some(true), format!("rolled back: {}{hint}", why.why))
        }
        (_, Some(first)) => (NodeResult::Failed, Some(false), format!("{}{hint}; and the way back failed: {first}", why.why)),
    };
    NodeDone { outcome: of_node(node, result, text), touched: true, back }
}

fn outcome(plan: &Plan, agent: &AgentPlan, done: Vec<NodeDone>) -> Done {
    let touched = done.iter().filter(|d| d.touched).map(|d| d.outcome.node.clone()).collect();
    let exit = if done.iter().any(|d| d.back == Some(false)) {
        Exit::RollbackFailed
    } else if done.iter().any(|d| d.back == Some(true)) {
        Exit::FailedRolledBack
    } else if done.iter().any(|d| d.outcome.result != NodeResult::Done) || !plan.unreachable.is_empty() || !agent.unfit.is_empty()
    {
        Exit::Failed
    } else {
        Exit::Ok
    };
    let mut nodes: Vec<NodeOutcome> = done.into_iter().map(|d| d.outcome).collect();
    nodes.extend(agent.nodes.iter().filter(|n| n.steps.is_empty()).map(|n| of_node(&n.node, NodeResult::Already, n.now.clone())));
    nodes.extend(agent.unfit.iter().map(|(node, why)| of_node(node, NodeResult::NotStarted, why.clone())));
    nodes
        .extend(plan.unreachable.iter().map(|(node, why)| of_node(node, NodeResult::Unreachable, format!("not touched: {why}"))));
    let good = nodes.iter().filter(|n| matches!(n.result, NodeResult::Done | NodeResult::Already)).count();
    let summary = format!("{}: {good} of {} good", plan.summary, crate::ops::planner::counted(nodes.len(), "node"));
    let next = match exit {
        Exit::Ok => Vec::new(),
        Exit::RollbackFailed => {
            vec!["`lbdeck agent status` shows what holds; running the same again goes on where it stopped".into()]
        }
        _ => vec!["running the same again does what is left".into()],
    };
    Done { outcome: Outcome { exit, summary, nodes, next, leases: Vec::new() }, journal: Vec::new(), touched }
}
