//! Leases that have ended are given back by whoever runs next, whoever made them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::future::join_all;
use jiff::Timestamp;

use crate::model::{Exit, FleetView, Health, NodeName, NodeObs, NodeView, Problem};
use crate::store::{Lease, LeaseHold, LeaseState, Store};

use super::apply::{observe, unread, want};
use super::blocking::on_store;
use super::give_back::later;
use super::inner::{Inner, merge, open_holds};
use super::lease_files;
use super::lock::{self, lease_name};
use super::verify::{Holds, holds};
use super::{Approval, Ops, Request, Selector, SweepReport, Verb};

/// Open leases: the store's and those on the nodes. What the nodes no longer have is closed in the store.
pub async fn leases(inner: &Inner) -> Vec<Lease> {
    let (leases, unlisted) = listed(inner).await;
    for (node, problem) in unlisted {
        tracing::warn!(node = %node, error = %problem.what, "leases could not be listed");
    }
    leases
}

/// The same, with the nodes whose leases could not be listed.
pub async fn listed(inner: &Inner) -> (Vec<Lease>, Vec<(NodeName, Problem)>) {
    let listed = join_all(inner.nodes.iter().map(|handle| async move {
        let files = handle.transport.as_ref().and_then(|t| t.files())?;
        match lease_files::list(files, &handle.lock_dir, inner.fleet.settings.timeout).await {
            Ok(names) => Some((handle.name().clone(), Ok(inner.leases_found(handle, &names, |_| true).await))),
            Err(e) => Some((handle.name().clone(), Err(e))),
        }
    }))
    .await;
    let (mut by_node, mut unlisted) = (BTreeMap::new(), Vec::new());
    for (node, found) in listed.into_iter().flatten() {
        match found {
            Ok(leases) => drop(by_node.insert(node, leases)),
            Err(e) => {
                let (hint, retry) = (e.hint().map(str::to_owned), e.is_transient());
                unlisted.push((node, Problem { what: e.to_string(), hint, retry }));
            }
        }
    }
    let own = on_store(&inner.store, Store::open_leases).await.unwrap_or_else(|e| {
        tracing::warn!(error = %e, "this machine's leases could not be read");
        Vec::new()
    });
    let vanished: Vec<(String, NodeName)> = own
        .iter()
        .flat_map(|l| open_holds(l).map(move |h| (l, h)))
        .filter(|(l, h)| by_node.get(&h.node).is_some_and(|there| !there.iter().any(|t| t.id == l.id)))
        .map(|(l, h)| (l.id.clone(), h.node.clone()))
        .collect();
    let own = forget(own, &vanished);
    if !vanished.is_empty()
        && let Err(e) = on_store(&inner.store, move |store| store.close_holds(&vanished, LeaseState::Returned)).await
    {
        tracing::warn!(error = %e, "leases that others gave back could not be closed");
    }
    (merge(own, by_node.into_values().flatten().collect()), unlisted)
}

fn forget(leases: Vec<Lease>, vanished: &[(String, NodeName)]) -> Vec<Lease> {
    let over = |lease: &str, hold: &LeaseHold| vanished.iter().any(|(id, node)| id == lease && *node == hold.node);
    leases
        .into_iter()
        .map(|mut lease| {
            let id = lease.id.clone();
            lease.holds.retain(|h| !over(&id, h));
            lease
        })
        .collect()
}

/// Gives back the leases that are `due`.
pub async fn sweep(ops: &Ops, due: impl Fn(&Lease) -> bool) -> SweepReport {
    let inner = ops.inner();
    let mut report = SweepReport::default();
    if inner.sweeping.swap(true, Ordering::AcqRel) {
        return report;
    }
    inner.ended_seen.store(false, Ordering::Release);
    // Oldest first: of several on one server, the later ones inherit what the earlier give back to.
    for lease in leases(inner).await.into_iter().filter(due) {
        give_back(ops, lease, &mut report).await;
    }
    inner.sweeping.store(false, Ordering::Release);
    report
}

/// Behind an operation: its look at the nodes may have shown leases that nobody gave back.
pub async fn after_operation(inner: &Arc<Inner>) {
    if inner.ended_seen.load(Ordering::Acquire) {
        let report = Ops::of(Arc::clone(inner)).sweep().await;
        for (lease, why) in &report.failed {
            tracing::warn!(lease = %lease.id, why, "an ended lease could not be given back");
        }
    }
}

async fn give_back(ops: &Ops, lease: Lease, report: &mut SweepReport) {
    let inner = ops.inner();
    // An earlier return of this sweep may have changed it.
    let all = inner.merged_leases(inner.found_before()).await;
    let lease = all.iter().find(|l| l.id == lease.id).cloned().unwrap_or(lease);
    let needed = want(std::iter::once(&lease.target));
    let seen: BTreeMap<NodeName, Result<NodeObs, String>> = join_all(open_holds(&lease).map(|hold| {
        let needed = &needed;
        async move {
            let result = match inner.node(&hold.node) {
                Some(handle) => observe(inner, handle, needed).await.map_err(|e| e.to_string()),
                None => Err("not part of this fleet file".to_owned()),
            };
            (hold.node.clone(), result)
        }
    }))
    .await
    .into_iter()
    .collect();
    let (overtaken, rest): (Vec<LeaseHold>, Vec<LeaseHold>) = open_holds(&lease)
        .cloned()
        .partition(|hold| later(&all, &lease, &hold.node).is_none() && is_overtaken(&lease, hold, seen.get(&hold.node)));
    if !overtaken.is_empty() {
        close_overtaken(inner, &lease, &overtaken).await;
        report.overtaken.push(Lease { holds: overtaken, ..lease.clone() });
    }
    if rest.is_empty() {
        return;
    }
    let lease = Lease { holds: rest, ..lease };
    match apply(ops, &lease, &all, seen).await {
        Ok(()) => report.returned.push(lease),
        Err(why) => report.failed.push((lease, why)),
    }
}

/// Neither as the lease left it nor as it was before: somebody else's work, which is not ours to undo.
fn is_overtaken(lease: &Lease, hold: &LeaseHold, seen: Option<&Result<NodeObs, String>>) -> bool {
    let Some(Ok(seen)) = seen else { return false };
    let is_back = hold.inverse.iter().all(|change| holds(&lease.target, change, seen).is_yes());
    !is_back && matches!(holds(&lease.target, &hold.change, seen), Holds::No(_))
}

async fn close_overtaken(inner: &Inner, lease: &Lease, overtaken: &[LeaseHold]) {
    for hold in overtaken {
        let Some(handle) = inner.node(&hold.node) else { continue };
        let (Some(files), Some(engine)) = (handle.transport.as_ref().and_then(|t| t.files()), &handle.engine) else { continue };
        let name = lease_name(&lock::key(&engine.identity(), &lease.target), &lease.target, &lease.id, lease.ends);
        if let Err(e) = lease_files::remove(files, &handle.lock_dir, &name, inner.fleet.settings.timeout).await {
            tracing::warn!(node = %hold.node, lease = %lease.id, error = %e, "the file of an overtaken lease is left");
        }
    }
    let closed: Vec<(String, NodeName)> = overtaken.iter().map(|h| (lease.id.clone(), h.node.clone())).collect();
    inner.forget_found(&closed);
    if let Err(e) = on_store(&inner.store, move |store| store.close_holds(&closed, LeaseState::Overtaken)).await {
        tracing::warn!(lease = %lease.id, error = %e, "an overtaken lease could not be closed");
    }
}

/// Through the same plan, guards, locks and record as any other change; the end of the lease is what confirms it.
async fn apply(ops: &Ops, lease: &Lease, all: &[Lease], seen: BTreeMap<NodeName, Result<NodeObs, String>>) -> Result<(), String> {
    let view = view_of(ops.inner(), seen);
    let request = Request {
        verb: Verb::ReturnLease { lease: lease.id.clone() },
        selector: Selector::default(),
        reason: Some("the lease has ended".into()),
        lease: None,
        force: false,
    };
    let plan = ops.plan_give_back(request, &view, lease, all).map_err(|e| e.to_string())?;
    let word = plan.confirm_word.clone();
    let approved = ops.approve(plan, Approval::Typed(word)).map_err(|refusal| refusal.to_string())?;
    match ops.apply(approved).outcome().await {
        Some(outcome) if outcome.exit == Exit::Ok => Ok(()),
        Some(outcome) => Err(outcome.summary),
        None => Err("it ended without an outcome".into()),
    }
}

fn view_of(inner: &Inner, mut seen: BTreeMap<NodeName, Result<NodeObs, String>>) -> FleetView {
    let nodes = inner
        .nodes
        .iter()
        .map(|handle| {
            let (health, last, why) = match seen.remove(handle.name()) {
                Some(Ok(obs)) => (Health::Fresh, Some(Arc::new(obs)), None),
                Some(Err(why)) => (Health::Dead, None, Some(why)),
                None => (Health::Connecting, None, None),
            };
            let problem = why.map(|what| Problem { what, hint: None, retry: true });
            Arc::new(NodeView { health, last, problem, ..unread(handle) })
        })
        .collect();
    FleetView { at: Timestamp::now(), now: Instant::now(), nodes }
}
