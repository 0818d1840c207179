//! `Ops`: the handle by which front ends plan, approve and apply, and ask for leases and the audit.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Fleet;
use crate::engine::NodeHandle;
use crate::model::FleetView;
use crate::store::{AuditFilter, JournalEntry, Lease, Operation, Store, StoreError, Unfinished, Who};

use super::{Approval, Approved, Event, Outcome, Plan, PlanError, Refusal, Request, approve};

/// Cheap to clone; clones share nodes, store and what is known of leases.
#[derive(Clone, Debug)]
pub struct Ops {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    nodes: Vec<NodeHandle>,
    fleet: Arc<Fleet>,
    store: Store,
    who: Who,
}

/// An operation under way. Dropping it does not stop the operation.
#[derive(Debug)]
pub struct Running {
    /// Ends after `Finished`. Until the store has numbered the operation, events carry 0.
    pub events: mpsc::UnboundedReceiver<Event>,
    stop: CancellationToken,
}

impl Running {
    /// Asks it to stop: nothing further is begun, waiting ends, locks are given back, the outcome says what holds now.
    pub fn stop(&self) {
        self.stop.cancel();
    }
    /// For signal handlers: the same as [`Running::stop`], apart from the value.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }
    /// Reads events to the end, for callers that only want the outcome.
    pub async fn outcome(mut self) -> Option<Outcome> {
        let mut last = None;
        while let Some(event) = self.events.recv().await {
            if let super::EventKind::Finished { outcome } = event.kind {
                last = Some(outcome);
            }
        }
        last
    }
}

/// What `sweep` gave back.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct SweepReport {
    pub returned: Vec<Lease>,
    /// Ended, but somebody else changed the server since: closed and left as it is.
    pub overtaken: Vec<Lease>,
    /// Ended, but could not be given back now, with the reason. They stay open.
    pub failed: Vec<(Lease, String)>,
}

impl SweepReport {
    pub fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.overtaken.is_empty() && self.failed.is_empty()
    }
}

impl Ops {
    pub fn new(nodes: Vec<NodeHandle>, fleet: Arc<Fleet>, store: Store, who: Who) -> Ops {
        Ops { inner: Arc::new(Inner { nodes, fleet, store, who }) }
    }

    /// Works out what would be sent. Nothing is sent; only the store is read.
    pub fn plan(&self, request: Request, view: &FleetView) -> Result<Plan, PlanError> {
        let _ = (view, &self.inner.nodes);
        Err(PlanError::Nothing { what: format!("{:?}", request.verb) })
    }

    pub fn approve(&self, plan: Plan, approval: Approval) -> Result<Approved, Refusal> {
        approve::approve(plan, approval, &self.inner.fleet)
    }

    /// Locks, reads again, checks again, records, sends, verifies. Runs on the tokio runtime; the last event is `Finished`.
    pub fn apply(&self, approved: Approved) -> Running {
        let (_events, receiver) = mpsc::unbounded_channel();
        let _ = approved.into_parts();
        Running { events: receiver, stop: CancellationToken::new() }
    }

    /// Open leases: this machine's and those found on the nodes. What could not be read is left out and logged.
    pub async fn leases(&self) -> Vec<Lease> {
        Vec::new()
    }

    /// Gives back every lease that has ended, whoever made it.
    pub async fn sweep(&self) -> SweepReport {
        SweepReport::default()
    }

    /// As [`Ops::sweep`], but only looks where it costs next to nothing: for the start of the console and of every changing verb.
    pub async fn sweep_if_due(&self) -> SweepReport {
        SweepReport::default()
    }

    /// Operations of this machine whose process died.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, StoreError> {
        Ok(Vec::new())
    }

    /// Past operations, newest first.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<Operation>, StoreError> {
        let _ = (filter, &self.inner.store);
        Ok(Vec::new())
    }

    /// What one operation did, change by change.
    pub fn journal(&self, operation: i64) -> Result<Vec<JournalEntry>, StoreError> {
        let _ = operation;
        Ok(Vec::new())
    }

    /// Waits for what runs after `Finished` (the nodes' own syslog), at most two seconds. Call it before the process ends.
    pub async fn settle(&self) {}

    pub fn who(&self) -> &Who {
        &self.inner.who
    }
}
