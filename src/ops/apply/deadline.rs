//! What happens to a drain whose sessions are not gone in time.

use std::time::Duration;

use crate::model::{Change, ServerRef};
use crate::ops::lease_files::{self, LeaseFile};
use crate::ops::plan::Step;
use crate::ops::verify::{Holds, describe, holds};
use crate::ops::{AtDeadline, EventKind, NodeResult, blocking};
use crate::store::{JournalEntry, JournalState};

use super::act::{Cx, NodeJob, send_commands};
use super::drain::counted_left;
use super::old_processes::{self, Hidden, Replaced};
use super::recheck::{observe, want};

/// Killed sessions go when the engine next looks at them.
const KILL_LOOKS: u32 = 50;
const KILL_PAUSE: Duration = Duration::from_millis(100);
/// Journal entries of deadlines are numbered above those of the plan.
const SEQ_BASE: u32 = 1_000_000;

pub fn word(then: AtDeadline) -> &'static str {
    match then {
        AtDeadline::Kill => "kill what is left",
        AtDeadline::Maint => "put into maintenance",
        AtDeadline::Return => "give the server back",
        AtDeadline::Fail => "leave it draining and fail",
    }
}

/// Records, then sends one more change of the server that drains.
async fn further(cx: &Cx, job: &NodeJob, step: &Step, change: &Change) -> Result<(), String> {
    job.lock.confirm().await?;
    let seq = cx.plan.steps.iter().position(|s| std::ptr::eq(s, step)).and_then(|i| u32::try_from(i).ok()).unwrap_or(0);
    let entry = JournalEntry {
        seq: SEQ_BASE + seq,
        node: step.node.clone(),
        target: step.target.clone(),
        change: change.clone(),
        inverse: Vec::new(),
        state: JournalState::Done,
        text: Some("at the deadline".into()),
    };
    let operation = cx.report.operation;
    blocking::on_store(&cx.inner.store, move |store| store.intend(operation, &[entry], &[])).await.map_err(|e| e.to_string())?;
    let seen = observe(&cx.inner, &job.handle, &want(std::iter::once(&step.target))).await.map_err(|e| e.to_string())?;
    let admin = job.handle.engine.as_ref().and_then(|e| e.admin()).ok_or("this engine cannot be changed")?;
    let commands = admin.encode(&step.target, change, &seen)?;
    let replies = send_commands(&cx.inner, &job.handle, &commands).await.map_err(|e| e.to_string())?;
    for (command, reply) in commands.iter().zip(replies) {
        let kind = EventKind::Sent { command: command.to_string(), reply };
        cx.report.emit(Some(job.handle.name()), Some(&step.target), kind);
    }
    Ok(())
}

/// What came of killing what was left.
pub struct Killed {
    pub result: NodeResult,
    pub text: String,
    /// What could not be looked at afterwards.
    pub unseen: Option<String>,
}

impl Killed {
    fn not(text: String) -> Self {
        Self { result: NodeResult::NotDrained, text, unseen: None }
    }
}

/// `replaced` is the process that a reload replaced during the drain: what it holds is killed too.
pub async fn kill(cx: &Cx, job: &NodeJob, step: &Step, at: &ServerRef, left: u64, replaced: Option<Replaced>) -> Killed {
    if let Err(e) = further(cx, job, step, &Change::KillSessions).await {
        return Killed::not(format!("{} left, and killing them failed: {e}", counted_left(left)));
    }
    match old_processes::kill(cx, job, at, replaced).await {
        Ok(sent) => {
            for command in sent {
                cx.report.emit(Some(job.handle.name()), Some(&step.target), EventKind::Sent { command, reply: String::new() });
            }
        }
        Err(e) => return Killed::not(format!("what processes from before a reload hold could not be killed: {e}")),
    }
    let needed = want(std::iter::once(&step.target));
    let mut last = "not read since".to_owned();
    for _ in 0..KILL_LOOKS {
        match observe(&cx.inner, &job.handle, &needed).await {
            Ok(seen) => match seen.server(at.pool.as_str(), at.server.as_str()) {
                Some(server) if server.left() == 0 => {
                    let unseen = match old_processes::hold(cx, job, at, replaced).await {
                        Hidden::Nothing => None,
                        Hidden::Unknown(why) => Some(old_processes::unseen(&why)),
                        Hidden::Runs(pid) => Some(old_processes::unseen(&format!("process {pid} runs"))),
                        Hidden::Left(n) => {
                            last = format!("{} in processes from before a reload", counted_left(n));
                            tokio::time::sleep(KILL_PAUSE).await;
                            continue;
                        }
                    };
                    let text = format!("drained: {} killed at the deadline", counted_left(left));
                    cx.report.emit(Some(job.handle.name()), Some(&step.target), EventKind::Verified { state: describe(server) });
                    return Killed { result: NodeResult::Done, text, unseen };
                }
                Some(server) => last = describe(server),
                None => return Killed::not("the server is gone".into()),
            },
            Err(e) => last = e.to_string(),
        }
        tokio::time::sleep(KILL_PAUSE).await;
    }
    Killed::not(format!("sessions were killed, but some are there still or again: {last}"))
}

pub async fn maint(cx: &Cx, job: &NodeJob, step: &Step, at: &ServerRef, left: u64) -> (NodeResult, String) {
    if let Err(e) = further(cx, job, step, &Change::Maint).await {
        return (NodeResult::NotDrained, format!("{} left, and maintenance failed: {e}", counted_left(left)));
    }
    match observe(&cx.inner, &job.handle, &want(std::iter::once(&step.target))).await {
        Ok(seen) => match holds(&step.target, &Change::Maint, &seen) {
            Holds::Yes(state) => {
                cx.report.emit(Some(job.handle.name()), Some(&step.target), EventKind::Verified { state });
                remember_maint(cx, job, step).await;
                let left = seen.server(at.pool.as_str(), at.server.as_str()).map_or(left, |s| s.left());
                (NodeResult::Done, format!("in maintenance since the deadline; {} live on", counted_left(left)))
            }
            other => (NodeResult::NotDrained, format!("maintenance was accepted, but is not seen to hold: {}", other.text())),
        },
        Err(e) => (NodeResult::NotDrained, format!("maintenance was accepted, but could not be verified: {e}")),
    }
}

/// The lease now holds a server in maintenance; giving it back still leads to the state before the drain.
async fn remember_maint(cx: &Cx, job: &NodeJob, step: &Step) {
    let Some(lease) = cx.leases.iter().find(|l| l.target == step.target) else { return };
    let (id, node) = (lease.id.clone(), step.node.clone());
    let stored = blocking::on_store(&cx.inner.store, move |store| store.change_hold(&id, &node, &Change::Maint)).await;
    if let Err(e) = stored {
        cx.report.warn(None, format!("the lease still says 'drain': {e}"));
    }
    let Some(files) = job.handle.transport.as_ref().and_then(|t| t.files()) else { return };
    let name = job.lease_name(lease);
    let edit = |file: &mut LeaseFile| file.change = Change::Maint;
    if let Err(e) = lease_files::change(files, &job.handle.lock_dir, &name, cx.inner.fleet.settings.timeout, edit).await {
        cx.report.warn(Some(job.handle.name()), format!("the lease on the node still says 'drain': {e}"));
    }
}
