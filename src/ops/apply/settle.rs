//! After the changes: leases that are over are closed on the node and in the store, undone entries are marked, and a drain
//! that must be given back at its deadline is.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use crate::model::{Change, NodeName};
use crate::ops::lease_files::{self, LeaseFile};
use crate::ops::plan::{GiveBack, Step};
use crate::ops::verify::{Aspect, Holds, aspect, holds};
use crate::ops::{EventKind, NodeResult, blocking};
use crate::store::{JournalState, Lease, LeaseHold, LeaseState};

use super::act::{Cx, NodeJob, StepDone, send_commands};
use super::recheck::{observe, want};

/// Changes that leave something less than it was: they are leases even without an end. Others only with one.
pub fn takes_away(change: &Change) -> bool {
    !matches!(
        change,
        Change::Ready
            | Change::EnableFrontend
            | Change::Checks { on: true, .. }
            | Change::AddServer(_)
            | Change::RemoveServer
            | Change::KillSessions
            | Change::KillSession { .. }
            | Change::ClearTable { .. }
            | Change::PurgeCache { .. }
    )
}

pub fn hold(step: &Step) -> LeaseHold {
    LeaseHold {
        node: step.node.clone(),
        change: step.change.clone(),
        inverse: step.inverse.clone(),
        state: LeaseState::Open,
        returned_at: None,
    }
}

/// Gives every changed server of the operation back. True where all of it is seen to be as it was.
pub async fn give_back(cx: &Cx, jobs: &BTreeMap<NodeName, Arc<NodeJob>>, done: &mut [StepDone]) -> bool {
    let work = done.iter_mut().filter(|d| d.sent && d.journal != JournalState::Failed).map(|d| async move {
        let step = cx.step(d.index)?;
        let job = jobs.get(&step.node)?;
        match give_back_one(cx, job, step).await {
            Ok(()) => {
                cx.report.emit(Some(&step.node), Some(&step.target), EventKind::Returned);
                d.text = format!("given back at the deadline ({})", d.text);
                d.result = NodeResult::Returned;
                d.journal = JournalState::Undone;
                Some(true)
            }
            Err(e) => {
                let error = format!("could not be given back at the deadline: {e}");
                cx.report.emit(Some(&step.node), Some(&step.target), EventKind::Failed { error: error.clone(), hint: None });
                d.text = format!("{}; {error}", d.text);
                d.result = NodeResult::Failed;
                Some(false)
            }
        }
    });
    join_all(work).await.into_iter().flatten().all(|ok| ok)
}

async fn give_back_one(cx: &Cx, job: &NodeJob, step: &Step) -> Result<(), String> {
    let needed = want(std::iter::once(&step.target));
    let admin = job.handle.engine.as_ref().and_then(|e| e.admin()).ok_or("this engine cannot be changed")?;
    for change in &step.inverse {
        job.lock.confirm().await?;
        let seen = observe(&cx.inner, &job.handle, &needed).await.map_err(|e| e.to_string())?;
        let commands = admin.encode(&step.target, change, &seen)?;
        let replies = send_commands(&cx.inner, &job.handle, &commands).await.map_err(|e| e.to_string())?;
        for (command, reply) in commands.iter().zip(replies) {
            let kind = EventKind::Sent { command: command.to_string(), reply };
            cx.report.emit(Some(&step.node), Some(&step.target), kind);
        }
        let seen = observe(&cx.inner, &job.handle, &needed).await.map_err(|e| e.to_string())?;
        if let Holds::No(state) = holds(&step.target, change, &seen) {
            return Err(format!("'{change}' was accepted, but is not seen to hold: {state}"));
        }
    }
    Ok(())
}

/// Leases that are over: those that were given back, those of this operation that never came to be, and those whose
/// server is back to what it was before them.
pub async fn close(cx: &Cx, jobs: &BTreeMap<NodeName, Arc<NodeJob>>, done: &[StepDone], known: &[Lease]) {
    let mut returned: Vec<(String, NodeName)> = Vec::new();
    for lease in &cx.leases {
        for hold in &lease.holds {
            let over = done.iter().any(|d| {
                let ours = cx.step(d.index).is_some_and(|s| s.target == lease.target && s.node == hold.node);
                ours && (d.journal == JournalState::Undone || d.journal == JournalState::Failed)
            });
            if over || !jobs.contains_key(&hold.node) {
                returned.push((lease.id.clone(), hold.node.clone()));
            }
        }
    }
    let mut undone: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for record in cx.plan.basis.given_back.iter().filter(|r| is_given_back(cx, done, r)) {
        if let Some((operation, seqs)) = &record.journal {
            undone.entry(*operation).or_default().extend(seqs);
        }
        if let Some(lease) = &record.lease {
            returned.push((lease.clone(), record.node.clone()));
        }
        if let Some(later) = record.kept_by.as_ref().and_then(|id| known.iter().find(|l| l.id == *id)) {
            inherit(cx, jobs, later, record).await;
        }
    }
    for lease in known.iter().filter(|l| !cx.leases.iter().any(|own| own.id == l.id)) {
        for hold in lease.holds.iter().filter(|h| h.state == LeaseState::Open) {
            if is_lifted(cx, done, lease, hold) {
                returned.push((lease.id.clone(), hold.node.clone()));
            }
        }
    }
    returned.sort();
    returned.dedup();
    let targets: Vec<(&str, &NodeName, &Lease)> = returned
        .iter()
        .filter_map(|(id, node)| {
            let lease = known.iter().chain(&cx.leases).find(|l| l.id == *id)?;
            Some((id.as_str(), node, lease))
        })
        .collect();
    join_all(targets.iter().map(|(id, node, lease)| remove_file(cx, jobs, id, node, lease))).await;
    cx.inner.forget_found(&returned);
    let store = blocking::on_store(&cx.inner.store, move |store| {
        store.close_holds(&returned, LeaseState::Returned)?;
        for (operation, seqs) in &undone {
            store.mark_undone(*operation, seqs)?;
            if store.journal(*operation)?.iter().all(|e| e.state != JournalState::Intent) {
                store.abandon(*operation)?;
            }
        }
        Ok(())
    });
    if let Err(e) = store.await {
        cx.report.warn(None, format!("what was given back could not be recorded: {e}"));
    }
}

/// The later lease gives back to the state before the one that is closed now.
async fn inherit(cx: &Cx, jobs: &BTreeMap<NodeName, Arc<NodeJob>>, later: &Lease, record: &GiveBack) {
    let (id, node, inverse) = (later.id.clone(), record.node.clone(), record.inverse.clone());
    let stored = blocking::on_store(&cx.inner.store, move |store| store.change_inverse(&id, &node, &inverse)).await;
    if let Err(e) = stored {
        cx.report.warn(None, format!("lease {} could not be changed in the store: {e}", later.id));
    }
    let Some(job) = jobs.get(&record.node) else { return };
    let Some(files) = job.handle.transport.as_ref().and_then(|t| t.files()) else { return };
    let name = job.lease_name(later);
    let edit = |file: &mut LeaseFile| file.inverse.clone_from(&record.inverse);
    if let Err(e) = lease_files::change(files, &job.handle.lock_dir, &name, cx.inner.fleet.settings.timeout, edit).await {
        cx.report.warn(Some(&record.node), format!("lease {} could not be changed on the node: {e}", later.id));
    }
    cx.inner.forget_found(&[(later.id.clone(), record.node.clone())]);
}

/// All steps that give this record back hold.
fn is_given_back(cx: &Cx, done: &[StepDone], record: &GiveBack) -> bool {
    let mut any = false;
    for d in done {
        let Some(step) = cx.step(d.index) else { continue };
        if step.node == record.node && step.target == record.target {
            any = true;
            if !matches!(d.result, NodeResult::Done | NodeResult::Already) {
                return false;
            }
        }
    }
    any
}

/// This operation brought back what the lease had taken away (`ready` on a drained server).
fn is_lifted(cx: &Cx, done: &[StepDone], lease: &Lease, hold: &LeaseHold) -> bool {
    done.iter().any(|d| {
        let Some(step) = cx.step(d.index) else { return false };
        matches!(d.result, NodeResult::Done | NodeResult::Already)
            && cx.kept_by(step).is_none()
            && step.node == hold.node
            && step.target == lease.target
            && aspect(&step.change) == aspect(&lease.change)
            && aspect(&step.change) != Aspect::Passing
            && (hold.inverse.contains(&step.change) || step.change == Change::Ready)
    })
}

async fn remove_file(cx: &Cx, jobs: &BTreeMap<NodeName, Arc<NodeJob>>, id: &str, node: &NodeName, lease: &Lease) {
    let Some(job) = jobs.get(node) else { return };
    let Some(files) = job.handle.transport.as_ref().and_then(|t| t.files()) else { return };
    let removed = lease_files::remove(files, &job.handle.lock_dir, &job.lease_name(lease), cx.inner.fleet.settings.timeout).await;
    if let Err(e) = removed {
        cx.report.warn(Some(node), format!("lease {id} is over, but its file could not be removed: {e}"));
    }
}
