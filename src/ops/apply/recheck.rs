//! Between plan and apply the world goes on: under the locks each node is read again, and the plan is made again from that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::engine::{EngineError, NodeHandle, Want};
use crate::model::{FleetView, Health, NodeName, NodeObs, NodeView, PoolName, Problem, Target};
use crate::ops::approve::approve;
use crate::ops::inner::Inner;
use crate::ops::plan::Step;
use crate::ops::planner::{Known, plan};
use crate::ops::{Approval, Plan, Refusal};
use crate::store::Lease;

/// The cheapest reading that tells all that these steps need.
pub fn want<'a>(targets: impl Iterator<Item = &'a Target>) -> WantOwned {
    let mut pool: Option<PoolName> = None;
    for target in targets {
        match (target.pool(), &pool) {
            (Some(p), None) => pool = Some(p.clone()),
            (Some(p), Some(known)) if p == known => {}
            _ => return WantOwned(None),
        }
    }
    WantOwned(pool)
}

/// One pool, or all.
#[derive(Clone, Debug)]
pub struct WantOwned(Option<PoolName>);

impl WantOwned {
    pub fn get(&self) -> Want<'_> {
        self.0.as_ref().map_or(Want::All, |p| Want::Pool(p.as_str()))
    }
}

pub async fn observe(inner: &Inner, handle: &NodeHandle, want: &WantOwned) -> Result<NodeObs, EngineError> {
    let Some(engine) = &handle.engine else {
        return Err(EngineError::NotAllowed {
            at: handle.name().to_string(),
            what: "no engine is configured".into(),
            hint: "name one in the fleet file".into(),
        });
    };
    let deadline = inner.fleet.settings.timeout;
    // The engine keeps its own deadline; this one holds even if it does not.
    match tokio::time::timeout(deadline + deadline / 2, engine.observe(want.get(), deadline)).await {
        Ok(result) => result,
        Err(_) => Err(EngineError::Transport(crate::transport::TransportError::Timeout {
            at: engine.source(),
            doing: "reading".into(),
            after: deadline,
        })),
    }
}

/// The picture the plan was made from, with the fresh readings put in. A node that could not be read again is dead to it.
pub fn refreshed(old: Option<&FleetView>, inner: &Inner, fresh: &BTreeMap<NodeName, Result<Arc<NodeObs>, String>>) -> FleetView {
    let unknown: Vec<Arc<NodeView>> = match old {
        Some(_) => Vec::new(),
        None => inner.nodes.iter().map(|handle| Arc::new(unread(handle))).collect(),
    };
    let nodes = old
        .map_or(&unknown, |view| &view.nodes)
        .iter()
        .map(|node| match fresh.get(&node.meta.name) {
            None => Arc::clone(node),
            Some(Ok(obs)) => Arc::new(NodeView {
                meta: Arc::clone(&node.meta),
                health: Health::Fresh,
                last: Some(Arc::clone(obs)),
                problem: None,
                failures: 0,
                next_try: None,
                vrrp: node.vrrp.clone(),
            }),
            Some(Err(why)) => Arc::new(NodeView {
                health: Health::Dead,
                problem: Some(Problem { what: why.clone(), hint: None, retry: true }),
                ..NodeView::clone(node)
            }),
        })
        .collect();
    FleetView { at: Timestamp::now(), now: Instant::now(), nodes }
}

/// A node of which nothing is known yet.
pub fn unread(handle: &NodeHandle) -> NodeView {
    NodeView {
        meta: Arc::clone(&handle.meta),
        health: Health::Connecting,
        last: None,
        problem: None,
        failures: 0,
        next_try: None,
        vrrp: None,
    }
}

/// The approved plan, made again from fresh data. Only what was approved stays in it; a guard that now refuses, refuses.
pub fn replan(inner: &Inner, approved: &Plan, approval: &Approval, view: &FleetView, leases: &[Lease]) -> Result<Plan, Refusal> {
    let only: Vec<&Step> = approved.steps.iter().collect();
    let known = Known {
        fleet: &inner.fleet,
        nodes: &inner.nodes,
        leases,
        give_back: &approved.basis.given_back,
        who: &inner.who,
        now: Timestamp::now(),
        only: Some(&only),
    };
    let mut fresh = plan(approved.request.clone(), view, known).map_err(|e| Refusal {
        exit: crate::model::Exit::Failed,
        what: e.to_string(),
        hint: e.hint(),
        verdicts: Vec::new(),
    })?;
    // What was typed was typed for the plan that was shown.
    fresh.confirm_word.clone_from(&approved.confirm_word);
    Ok(approve(fresh, approval.clone(), &inner.fleet)?.into_parts().0)
}
