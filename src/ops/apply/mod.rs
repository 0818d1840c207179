//! Apply: record, lock, read again, check again, journal, send, verify, wait, record, unlock. In this order, always.
//!
//! What cannot be recorded is not done. One node failing never stops the others. The last event is always `Finished`.

mod act;
mod agent;
mod deadline;
mod drain;
mod exec;
mod locking;
mod mutate;
mod old_processes;
mod outcome;
mod passing;
mod recheck;
mod settle;
mod syslog;
mod vip;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{Exit, NodeName, Target};
use crate::store::{Finish, JournalState, NewOperation};

pub(super) use recheck::{observe, unread, want};

use super::blocking::on_store;
use super::inner::Inner;
use super::{Approved, Event, EventKind, Outcome, Plan};

/// Where events of one operation go.
#[derive(Clone, Debug)]
struct Report {
    events: mpsc::UnboundedSender<Event>,
    operation: i64,
}

impl Report {
    fn emit(&self, node: Option<&NodeName>, target: Option<&Target>, kind: EventKind) {
        let event = Event { operation: self.operation, at: Timestamp::now(), node: node.cloned(), target: target.cloned(), kind };
        // Nobody listening any more is fine: the operation goes on and is recorded.
        let _ = self.events.send(event);
    }
    fn warn(&self, node: Option<&NodeName>, text: String) {
        self.emit(node, None, EventKind::Warning { text });
    }
}

/// What an operation came to, before it is recorded.
struct Done {
    outcome: Outcome,
    journal: Vec<(u32, JournalState, Option<String>)>,
    /// Nodes that something was sent to.
    touched: Vec<NodeName>,
}

impl Done {
    /// Nothing was sent.
    fn nothing(exit: Exit, summary: String, next: Vec<String>) -> Done {
        let outcome = Outcome { exit, summary, nodes: Vec::new(), next, leases: Vec::new() };
        Done { outcome, journal: Vec::new(), touched: Vec::new() }
    }
}

pub(super) async fn run(inner: Arc<Inner>, approved: Approved, events: mpsc::UnboundedSender<Event>, stop: CancellationToken) {
    let (mut plan, approval) = approved.into_parts();
    let mut report = Report { events, operation: 0 };
    let new = new_operation(&inner, &plan);
    report.operation = match on_store(&inner.store, move |store| store.begin(&new)).await {
        Ok(operation) => operation,
        Err(e) => {
            let summary = format!("nothing was done, because it could not be recorded: {e}");
            let outcome = Done::nothing(Exit::Failed, summary, vec![e.hint()]).outcome;
            report.emit(None, None, EventKind::Finished { outcome });
            return;
        }
    };
    report.emit(None, None, EventKind::Started { summary: plan.summary.clone() });
    let line = syslog::line(&inner.who, &plan, report.operation);
    let Done { mut outcome, journal, touched } = match (&plan.exec, plan.agent.take(), plan.vip.take()) {
        (Some(exec), _, _) => exec::run(&inner, &report, &stop, exec).await,
        (None, Some(agent), _) => agent::run(&inner, &report, &stop, &plan, agent).await,
        (None, None, Some(vip)) => vip::run(&inner, &report, &stop, &plan, vip).await,
        (None, None, None) => mutate::run(&inner, &report, &stop, plan, approval).await,
    };
    let finish = Finish { exit: outcome.exit, outcome: serde_json::to_value(&outcome).unwrap_or_default(), journal };
    let operation = report.operation;
    if let Err(e) = on_store(&inner.store, move |store| store.finish(operation, &finish)).await {
        report.warn(None, format!("the result could not be recorded: {e}"));
        outcome.summary.push_str(&format!("; the result could not be recorded: {e}"));
        outcome.next.push(e.hint());
        if outcome.exit == Exit::Ok {
            outcome.exit = Exit::Failed;
        }
    }
    let line = format!("{line} result={}", outcome.exit.code());
    let behind = inner.tasks.token();
    report.emit(None, None, EventKind::Finished { outcome });
    // Whoever waits for the outcome has it now; the nodes' logs are written behind it (`Ops::settle` waits for them).
    drop(report);
    syslog::write(&inner, operation, &touched, &line).await;
    super::sweep::after_operation(&inner).await;
    drop(behind);
}

fn new_operation(inner: &Inner, plan: &Plan) -> NewOperation {
    NewOperation {
        who: inner.who.clone(),
        process: inner.here.clone(),
        summary: plan.summary.clone(),
        reason: plan.request.reason.clone(),
        pools: plan.pools(),
        request: serde_json::to_value(&plan.request).unwrap_or_default(),
        plan: serde_json::to_value(plan).unwrap_or_default(),
    }
}
