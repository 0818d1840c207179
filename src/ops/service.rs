//! `Ops`: the handle by which front ends plan, approve and apply, and ask for leases and the audit.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{AgentPaths, Fleet};
use crate::engine::NodeHandle;
use crate::model::{FleetView, NodeName, Problem};
use crate::store::{AuditFilter, JournalEntry, Lease, Operation, Store, StoreError, Unfinished, Who};

use super::agent::{AgentPlan, AgentRequest, Payload, logs, survey};
use super::inner::{Inner, merge};
use super::plan::GiveBack;
use super::planner::{self, Known};
use super::{Approval, Approved, Event, Judgement, Outcome, Plan, PlanError, Refusal, Request, Selector, Verb, Verdict};
use super::{apply, approve, give_back, sweep};

/// How long `settle` waits: the nodes' logs have two seconds, ended leases of others the rest.
const SETTLE: Duration = Duration::from_secs(5);

/// Cheap to clone; clones share nodes, store and what is known of leases.
#[derive(Clone, Debug)]
pub struct Ops {
    inner: Arc<Inner>,
}

/// An operation under way. Dropping it does not stop the operation.
#[derive(Debug)]
pub struct Running {
    /// Ends after `Finished`. Where the store could not number the operation, its only event carries 0.
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
        Ops { inner: Arc::new(Inner::new(nodes, fleet, store, who)) }
    }

    pub(super) fn of(inner: Arc<Inner>) -> Ops {
        Ops { inner }
    }
    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Works out what would be sent. Nothing is sent; only the store is read (a millisecond or so).
    ///
    /// Leases of others are known once [`Ops::leases`] or an operation has listed the nodes.
    pub fn plan(&self, request: Request, view: &FleetView) -> Result<Plan, PlanError> {
        let store = &self.inner.store;
        let (own, broken) = match store.open_leases() {
            Ok(own) => (own, None),
            Err(e) => (Vec::new(), Some(e)),
        };
        let leases = merge(own, self.inner.found_before());
        let records = match &request.verb {
            Verb::Undo { operation } => give_back::of_operation(store, &self.inner.here, *operation, &leases)?,
            Verb::ReturnLease { lease } => give_back::of_lease(store, lease, &leases)?,
            _ => Vec::new(),
        };
        let mut plan = self.plan_with(request, view, &leases, &records)?;
        if let Some(e) = broken {
            let text = format!("what cannot be recorded is not done: {e}; {}", e.hint());
            plan.verdicts.push(Verdict { guard: "store", judgement: Judgement::Never, text });
        }
        Ok(plan)
    }

    /// Looks at the agent on the selected nodes.
    pub async fn survey_agents(
        &self,
        selector: &Selector,
        paths: &AgentPaths,
        view: &FleetView,
    ) -> Result<Vec<survey::Seen>, PlanError> {
        survey::survey(&self.inner, selector, paths, view).await
    }

    /// The last lines that the agent wrote on each selected node, and where to go on.
    pub async fn agent_logs(
        &self,
        selector: &Selector,
        ask: &logs::LogsAsk,
        view: &FleetView,
    ) -> Result<Vec<logs::NodeLogs>, PlanError> {
        logs::read(&self.inner, selector, ask, view).await
    }

    /// Looks at the selected nodes and works out every step for the agent on them. Nothing is changed.
    pub async fn plan_agent(
        &self,
        request: Request,
        asked: AgentRequest,
        payload: Option<Payload>,
        view: &FleetView,
    ) -> Result<Plan, PlanError> {
        let paths = asked.prefix.clone().map_or_else(AgentPaths::system, AgentPaths::below);
        let (mut seen, mut unreachable) = (Vec::new(), Vec::new());
        for (node, facts) in self.survey_agents(&request.selector, &paths, view).await? {
            match facts {
                Ok(facts) => seen.push((node, facts)),
                Err(e) => {
                    let hint = e.hint().map(|h| format!("; {h}")).unwrap_or_default();
                    unreachable.push((node, format!("{e}{hint}")));
                }
            }
        }
        let plan = AgentPlan::new(asked, payload, seen);
        let known = Known {
            fleet: &self.inner.fleet,
            nodes: &self.inner.nodes,
            leases: &[],
            give_back: &[],
            who: &self.inner.who,
            now: Timestamp::now(),
            only: None,
        };
        Ok(planner::agent(request, view, known, plan, unreachable))
    }

    fn plan_with(&self, request: Request, view: &FleetView, leases: &[Lease], records: &[GiveBack]) -> Result<Plan, PlanError> {
        let known = Known {
            fleet: &self.inner.fleet,
            nodes: &self.inner.nodes,
            leases,
            give_back: records,
            who: &self.inner.who,
            now: Timestamp::now(),
            only: None,
        };
        planner::plan(request, view, known)
    }

    /// A return of exactly what `lease` names.
    pub(super) fn plan_give_back(
        &self,
        request: Request,
        view: &FleetView,
        lease: &Lease,
        all: &[Lease],
    ) -> Result<Plan, PlanError> {
        let mut leases: Vec<Lease> = all.iter().filter(|l| l.id != lease.id).cloned().collect();
        leases.push(lease.clone());
        let records = give_back::of_lease(&self.inner.store, &lease.id, &leases)?;
        self.plan_with(request, view, &leases, &records)
    }

    pub fn approve(&self, plan: Plan, approval: Approval) -> Result<Approved, Refusal> {
        approve::approve(plan, approval, &self.inner.fleet)
    }

    /// Locks, reads again, checks again, records, sends, verifies. Runs on the tokio runtime; the last event is `Finished`.
    pub fn apply(&self, approved: Approved) -> Running {
        let (sender, events) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        tokio::spawn(apply::run(Arc::clone(&self.inner), approved, sender, stop.clone()));
        Running { events, stop }
    }

    /// Open leases: this machine's and those found on the nodes. What could not be read is left out and logged.
    pub async fn leases(&self) -> Vec<Lease> {
        sweep::leases(&self.inner).await
    }

    /// The same, and the nodes whose leases could not be read, for whoever tells it in words of its own.
    pub async fn leases_listed(&self) -> (Vec<Lease>, Vec<(NodeName, Problem)>) {
        sweep::listed(&self.inner).await
    }

    /// Gives back every lease that has ended, whoever made it.
    pub async fn sweep(&self) -> SweepReport {
        sweep::sweep(self, |lease| lease.has_ended(Timestamp::now())).await
    }

    /// Gives back the leases of these ids, whatever their end: for the agent, which counts time by itself.
    pub async fn sweep_these(&self, ids: &[String]) -> SweepReport {
        sweep::sweep(self, |lease| ids.contains(&lease.id)).await
    }

    /// As [`Ops::sweep`], but only where this machine knows of a lease that has ended: costs a look into the store. For the
    /// start of the console and of every changing verb; what others left is found by the operation itself.
    pub async fn sweep_if_due(&self) -> SweepReport {
        let now = Timestamp::now();
        let own = super::blocking::on_store(&self.inner.store, Store::open_leases).await.unwrap_or_default();
        if own.iter().chain(&self.inner.found_before()).any(|l| l.has_ended(now)) {
            self.sweep().await
        } else {
            SweepReport::default()
        }
    }

    /// Operations of this machine whose process died and left something behind.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, StoreError> {
        self.inner.store.unfinished(&self.inner.here)
    }

    /// Past operations, newest first.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<Operation>, StoreError> {
        self.inner.store.audit(filter)
    }

    /// What one operation did, change by change.
    pub fn journal(&self, operation: i64) -> Result<Vec<JournalEntry>, StoreError> {
        self.inner.store.journal(operation)
    }

    /// Waits for what runs after `Finished` (the nodes' own syslog, ended leases), for at most five seconds. Call it before
    /// the process ends.
    pub async fn settle(&self) {
        let tasks = &self.inner.tasks;
        tasks.close();
        if tokio::time::timeout(SETTLE, tasks.wait()).await.is_err() {
            tracing::warn!("some of the nodes' logs were not written in time");
        }
        tasks.reopen();
    }

    pub fn who(&self) -> &Who {
        &self.inner.who
    }
}
