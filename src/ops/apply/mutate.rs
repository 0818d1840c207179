//! The course of a mutation: locks on all nodes, fresh readings, guards again, the intent on record, then every node side by side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::NodeHandle;
use crate::model::{Exit, NodeName, NodeObs};
use crate::ops::blocking::on_store;
use crate::ops::inner::Inner;
use crate::ops::lock::{self, Holder, LeaseName, LockError, LockService, TTL};
use crate::ops::{Approval, AtDeadline, EventKind, NodeOutcome, NodeResult, Plan, Verb};
use crate::store::{JournalEntry, JournalState, Lease};
use crate::transport::TransportError;

use super::act::{self, Cx, NodeJob, StepDone};
use super::locking::{NodeLock, keep_renewed, release_all};
use super::recheck::{WantOwned, observe, refreshed, replan, want};
use super::{Done, Report, outcome, settle};

/// A node, locked and read.
struct Prepared {
    handle: NodeHandle,
    lock: Option<Arc<NodeLock>>,
    /// Leases that lie on what was locked.
    leases: Vec<Lease>,
    state: Result<Arc<NodeObs>, Unready>,
}

pub(super) enum Unready {
    Taken(LockError),
    Failed { why: String, hint: Option<String> },
}

pub async fn run(inner: &Arc<Inner>, report: &Report, stop: &CancellationToken, plan: Plan, approval: Approval) -> Done {
    let mut prepared = prepare_all(inner, report, &plan).await;
    let locks: Vec<Arc<NodeLock>> = prepared.iter().filter_map(|p| p.lock.clone()).collect();
    let taken = prepared.iter_mut().find_map(|p| match &p.state {
        Err(Unready::Taken(e)) => Some(e.clone()),
        _ => None,
    });
    let done = if let Some(error) = taken {
        outcome::locked(&plan, &error)
    } else if stop.is_cancelled() {
        outcome::stopped(&plan)
    } else {
        let renewing = keep_renewed(locks.clone(), report.clone());
        let done = under_locks(inner, report, stop, plan, approval, prepared).await;
        drop(renewing);
        done
    };
    release_all(&locks, report).await;
    done
}

/// What has to be locked and read on one node.
struct Ask {
    handle: NodeHandle,
    keys: Vec<String>,
    want: WantOwned,
}

/// The first node decides between two operators who begin at once: only who gets it goes on to the others.
async fn prepare_all(inner: &Arc<Inner>, report: &Report, plan: &Plan) -> Vec<Prepared> {
    let mut asks: Vec<Ask> = Vec::new();
    for handle in &inner.nodes {
        let targets: Vec<_> = plan.steps.iter().filter(|s| s.node == *handle.name()).map(|s| &s.target).collect();
        let Some(engine) = handle.engine.as_ref().filter(|_| !targets.is_empty()) else { continue };
        let identity = engine.identity();
        let mut keys: Vec<String> = targets.iter().map(|t| lock::key(&identity, t)).collect();
        keys.sort();
        keys.dedup();
        asks.push(Ask { handle: handle.clone(), keys, want: want(targets.into_iter()) });
    }
    let holder = Arc::new(Holder {
        who: inner.who.clone(),
        process: inner.here.clone(),
        operation: report.operation,
        summary: plan.summary.clone(),
        reason: plan.request.reason.clone(),
        since: Timestamp::now(),
        ttl: TTL.as_secs(),
    });
    let mut rest = asks.into_iter();
    let mut tasks = JoinSet::new();
    let mut order = 0;
    for ask in rest.by_ref() {
        let locked = take(inner, report, &ask.handle, &ask.keys, &holder).await;
        if let Err(Unready::Taken(e)) = locked {
            return vec![Prepared { handle: ask.handle, lock: None, leases: Vec::new(), state: Err(Unready::Taken(e)) }];
        }
        let decided = locked.is_ok();
        let inner = Arc::clone(inner);
        let n = order;
        tasks.spawn(async move { (n, read(&inner, ask, locked).await) });
        order += 1;
        if decided {
            break;
        }
    }
    for ask in rest {
        let (inner, report, holder, n) = (Arc::clone(inner), report.clone(), Arc::clone(&holder), order);
        tasks.spawn(async move {
            let locked = take(&inner, &report, &ask.handle, &ask.keys, &holder).await;
            (n, read(&inner, ask, locked).await)
        });
        order += 1;
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, p)| p).collect()
}

/// Takes the keys' locks on one node.
pub(super) async fn take(
    inner: &Arc<Inner>,
    report: &Report,
    handle: &NodeHandle,
    keys: &[String],
    holder: &Holder,
) -> Result<(Arc<NodeLock>, Vec<LeaseName>), Unready> {
    let node = handle.name();
    let mut service: Arc<dyn LockService> = inner.lock_service(node);
    let mut acquired = service.acquire(keys, holder).await;
    if let Err(LockError::Transport(TransportError::Unsupported { what, .. })) = &acquired {
        service = inner.store_locks(node, what.clone());
        acquired = service.acquire(keys, holder).await;
    }
    let acquired = acquired.map_err(|e| match e {
        LockError::Taken { .. } | LockError::Contended { .. } => Unready::Taken(e),
        LockError::Transport(t) => Unready::Failed {
            why: format!("no lock could be taken: {t}"),
            hint: match &t {
                TransportError::Denied { .. } => {
                    let dir = handle.lock_dir.display();
                    Some(format!("let {dir} be written by this user, or set lock_dir in the fleet file"))
                }
                t => t.hint().map(str::to_owned),
            },
        },
        LockError::Store(s) => Unready::Failed { why: s.to_string(), hint: Some(s.hint()) },
    })?;
    match service.here_only() {
        Some(why) => report.emit(Some(node), None, EventKind::LockedHereOnly { why }),
        None => {
            let token = acquired.held.iter().map(|h| h.token).max().unwrap_or(0);
            report.emit(Some(node), None, EventKind::Locked { token });
        }
    }
    Ok((Arc::new(NodeLock::new(node.clone(), service, holder.clone(), acquired.held)), acquired.leases))
}

async fn read(inner: &Inner, ask: Ask, locked: Result<(Arc<NodeLock>, Vec<LeaseName>), Unready>) -> Prepared {
    let handle = ask.handle;
    let (lock, listed) = match locked {
        Ok(locked) => locked,
        Err(unready) => return Prepared { handle, lock: None, leases: Vec::new(), state: Err(unready) },
    };
    let state = match observe(inner, &handle, &ask.want).await {
        Ok(seen) => Ok(Arc::new(seen)),
        Err(e) => Err(Unready::Failed { why: e.to_string(), hint: e.hint().map(str::to_owned) }),
    };
    let leases = inner.leases_found(&handle, &listed, |name| ask.keys.contains(&name.key)).await;
    Prepared { handle, lock: Some(lock), leases, state }
}

async fn under_locks(
    inner: &Arc<Inner>,
    report: &Report,
    stop: &CancellationToken,
    approved: Plan,
    approval: Approval,
    prepared: Vec<Prepared>,
) -> Done {
    for p in &prepared {
        if let Err(Unready::Failed { why, hint }) = &p.state {
            let kind = EventKind::Failed { error: format!("{why}; nothing was sent"), hint: hint.clone() };
            report.emit(Some(p.handle.name()), None, kind);
        }
    }
    let fresh: BTreeMap<NodeName, Result<Arc<NodeObs>, String>> = prepared
        .iter()
        .map(|p| {
            let state = match &p.state {
                Ok(seen) => Ok(Arc::clone(seen)),
                Err(Unready::Failed { why, .. }) => Err(why.clone()),
                Err(Unready::Taken(e)) => Err(e.to_string()),
            };
            (p.handle.name().clone(), state)
        })
        .collect();
    let view = refreshed(approved.basis.view.as_ref(), inner, &fresh);
    let found = prepared.iter().flat_map(|p| p.leases.iter().cloned()).collect();
    let leases = inner.merged_leases(found).await;
    let plan = match replan(inner, &approved, &approval, &view, &leases) {
        Ok(plan) => plan,
        Err(refusal) => return outcome::refused(&approved, &fresh, refusal),
    };
    let gone: Vec<NodeOutcome> = outcome::gone(&approved, &plan, &fresh);
    let made = new_leases(inner, report.operation, &plan);
    let entries = journal(&plan);
    let (operation, to_store) = (report.operation, made.clone());
    if let Err(e) = on_store(&inner.store, move |store| store.intend(operation, &entries, &to_store)).await {
        let summary = format!("nothing was sent, because it could not be recorded: {e}");
        return Done::nothing(Exit::Failed, summary, vec![e.hint()]);
    }
    let deadline = match &plan.request.verb {
        Verb::Drain(options) => options.deadline.and_then(|d| Instant::now().checked_add(d)),
        _ => None,
    };
    let cx = Arc::new(Cx { inner: Arc::clone(inner), report: report.clone(), stop: stop.clone(), plan, leases: made, deadline });
    let mut jobs: BTreeMap<NodeName, Arc<NodeJob>> = BTreeMap::new();
    for p in prepared {
        let steps: Vec<usize> =
            cx.plan.steps.iter().enumerate().filter(|(_, s)| s.node == *p.handle.name()).map(|(i, _)| i).collect();
        if let (Some(lock), Ok(seen), false) = (p.lock, p.state, steps.is_empty()) {
            jobs.insert(p.handle.name().clone(), Arc::new(NodeJob { handle: p.handle, lock, steps, seen }));
        }
    }
    let mut done = act_all(&cx, &jobs).await;
    let mut returned = None;
    if let Verb::Drain(options) = &cx.plan.request.verb
        && options.then == AtDeadline::Return
        && !stop.is_cancelled()
        && done.iter().any(|d| d.result == NodeResult::NotDrained)
    {
        returned = Some(settle::give_back(&cx, &jobs, &mut done).await);
    }
    settle::close(&cx, &jobs, &done, &leases).await;
    outcome::of(&cx, done, gone, returned)
}

async fn act_all(cx: &Arc<Cx>, jobs: &BTreeMap<NodeName, Arc<NodeJob>>) -> Vec<StepDone> {
    let mut tasks = JoinSet::new();
    for job in jobs.values() {
        tasks.spawn(act::node(Arc::clone(cx), Arc::clone(job)));
    }
    let mut done: Vec<StepDone> = tasks.join_all().await.into_iter().flatten().collect();
    done.sort_by_key(|d| d.index);
    done
}

fn journal(plan: &Plan) -> Vec<JournalEntry> {
    plan.steps
        .iter()
        .enumerate()
        .filter(|(_, step)| !step.already)
        .filter_map(|(i, step)| {
            Some(JournalEntry {
                seq: u32::try_from(i).ok()?,
                node: step.node.clone(),
                target: step.target.clone(),
                change: step.change.clone(),
                inverse: step.inverse.clone(),
                state: JournalState::Intent,
                text: None,
            })
        })
        .collect()
}

/// One lease for each target that is changed in a way that should be given back one day.
fn new_leases(inner: &Inner, operation: i64, plan: &Plan) -> Vec<Lease> {
    let asked = plan.request.lease;
    let made = Timestamp::now();
    let ends = asked.and_then(|d| made.checked_add(d).ok());
    let mut leases: Vec<Lease> = Vec::new();
    if !plan.basis.given_back.is_empty() {
        return leases;
    }
    for step in plan.steps.iter().filter(|s| !s.already && !s.inverse.is_empty()) {
        if !(settle::takes_away(&step.change) || asked.is_some()) {
            continue;
        }
        let hold = settle::hold(step);
        match leases.iter_mut().find(|l| l.target == step.target) {
            Some(lease) => lease.holds.push(hold),
            None => leases.push(Lease {
                id: format!("{:08x}", rand::random::<u32>()),
                operation: Some(operation),
                target: step.target.clone(),
                change: step.change.clone(),
                who: inner.who.clone(),
                reason: plan.request.reason.clone(),
                made,
                ends,
                holds: vec![hold],
            }),
        }
    }
    leases
}
