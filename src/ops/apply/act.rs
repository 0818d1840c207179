//! One node: leases are written, commands sent, and what came of them is seen by reading again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::engine::{Command, EngineError, NodeHandle};
use crate::model::{NodeObs, Target};
use crate::ops::inner::Inner;
use crate::ops::lease_files::{self, LeaseFile};
use crate::ops::lock::{self, LeaseName, lease_name};
use crate::ops::plan::Step;
use crate::ops::verify::{Aspect, Holds, aspect, holds};
use crate::ops::{EventKind, NodeResult, Plan, Verb};
use crate::store::{JournalState, Lease};

use super::Report;
use super::locking::NodeLock;
use super::recheck::{WantOwned, observe, want};
use super::{drain, passing};

/// Pauses before looking again where a change does not show at once.
const LOOK_AGAIN: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(300), Duration::from_millis(600)];
/// How long the engine may take until a server can be removed.
const REMOVABLE: Duration = Duration::from_secs(60);

/// What all nodes of one operation share.
pub struct Cx {
    pub inner: Arc<Inner>,
    pub report: Report,
    pub stop: CancellationToken,
    /// As made again from fresh data.
    pub plan: Plan,
    /// Leases that this operation makes.
    pub leases: Vec<Lease>,
    /// When sessions must be gone; None waits for ever.
    pub deadline: Option<Instant>,
}

impl Cx {
    pub fn step(&self, index: usize) -> Option<&Step> {
        self.plan.steps.get(index)
    }
    /// The later lease because of which a step of an undo sends nothing.
    pub fn kept_by(&self, step: &Step) -> Option<&String> {
        let records = &self.plan.basis.given_back;
        records.iter().find(|r| r.node == step.node && r.target == step.target)?.kept_by.as_ref()
    }
    /// The lease of this operation that holds a target on a node.
    fn lease(&self, job: &NodeJob, target: &Target) -> Option<LeaseFile> {
        let lease = self.leases.iter().find(|l| l.target == *target)?;
        LeaseFile::of(lease, job.handle.name(), &job.identity())
    }
}

/// The part of an operation that concerns one node.
pub struct NodeJob {
    pub handle: NodeHandle,
    pub lock: Arc<NodeLock>,
    /// Indexes into the plan's steps.
    pub steps: Vec<usize>,
    pub seen: Arc<NodeObs>,
}

impl NodeJob {
    pub fn identity(&self) -> String {
        self.handle.engine.as_ref().map(|e| e.identity()).unwrap_or_default()
    }
    pub fn lease_name(&self, lease: &Lease) -> LeaseName {
        lease_name(&lock::key(&self.identity(), &lease.target), &lease.target, &lease.id, lease.ends)
    }
}

/// What became of one step.
#[derive(Clone, Debug)]
pub struct StepDone {
    pub index: usize,
    pub result: NodeResult,
    pub text: String,
    pub hint: Option<String>,
    pub journal: JournalState,
    /// Something was sent.
    pub sent: bool,
    /// What a drain could not look at.
    pub unseen: Option<String>,
}

impl StepDone {
    fn not_started(index: usize, text: &str) -> StepDone {
        StepDone {
            index,
            result: NodeResult::NotStarted,
            text: text.into(),
            hint: None,
            journal: JournalState::Failed,
            sent: false,
            unseen: None,
        }
    }
}

pub async fn node(cx: Arc<Cx>, job: Arc<NodeJob>) -> Vec<StepDone> {
    let mut done: Vec<StepDone> = Vec::with_capacity(job.steps.len());
    let mut broken = false;
    for wave in waves(&cx, &job.steps) {
        if broken {
            done.extend(wave.iter().map(|i| StepDone::not_started(*i, "an earlier step on this node failed")));
            continue;
        }
        let results = run_wave(&cx, &job, &wave).await;
        broken = results.iter().any(|d| !matches!(d.result, NodeResult::Done | NodeResult::Already));
        done.extend(results);
    }
    if let Verb::Drain(options) = &cx.plan.request.verb
        && options.wait
    {
        drain::wait(&cx, &job, options, &mut done).await;
    }
    done
}

/// Steps in order, cut so that no target comes twice in one wave: all of a wave go out together.
fn waves(cx: &Cx, steps: &[usize]) -> Vec<Vec<usize>> {
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for index in steps {
        let again = |wave: &Vec<usize>| wave.iter().any(|i| cx.step(*i).map(|s| &s.target) == cx.step(*index).map(|s| &s.target));
        match waves.last_mut() {
            Some(wave) if !again(wave) => wave.push(*index),
            _ => waves.push(vec![*index]),
        }
    }
    waves
}

async fn run_wave(cx: &Cx, job: &NodeJob, wave: &[usize]) -> Vec<StepDone> {
    let node = job.handle.name();
    let (mut done, mut todo) = (Vec::new(), Vec::new());
    for index in wave {
        match cx.step(*index) {
            Some(step) if step.already => {
                let text = match cx.kept_by(step) {
                    Some(lease) => format!("left as it is: lease {lease} holds it on and gives it back"),
                    None => holds(&step.target, &step.change, &job.seen).text().to_owned(),
                };
                done.push(StepDone {
                    index: *index,
                    result: NodeResult::Already,
                    text,
                    hint: None,
                    journal: JournalState::Done,
                    sent: false,
                    unseen: None,
                });
            }
            Some(step) => todo.push((*index, step)),
            None => {}
        }
    }
    if todo.is_empty() {
        return done;
    }
    if cx.stop.is_cancelled() {
        done.extend(todo.iter().map(|(i, _)| StepDone::not_started(*i, "stopped before anything was sent")));
        return done;
    }
    if let Err(what) = job.lock.confirm().await {
        done.extend(todo.iter().map(|(i, s)| fail(cx, job, *i, s, format!("{what}; nothing was sent"), None, false)));
        return done;
    }
    let leased = write_leases(cx, job, &todo).await;
    let (todo, without): (Vec<_>, Vec<_>) = todo.into_iter().zip(leased).partition(|(_, leased)| leased.is_ok());
    for ((index, step), leased) in without {
        let why = leased.err().unwrap_or_default();
        let text = format!("the lease could not be written on the node, so nothing was sent: {why}");
        done.push(fail(cx, job, index, step, text, None, false));
    }
    let todo: Vec<(usize, &Step)> = todo.into_iter().map(|(t, _)| t).collect();
    if todo.is_empty() {
        return done;
    }
    let sent = send(cx, job, &todo).await;
    let results = look(cx, job, &todo, sent).await;
    for result in &results {
        // A change that is not there needs no lease; one that may be there keeps it.
        if result.journal == JournalState::Failed
            && let Some(step) = cx.step(result.index)
        {
            drop_lease(cx, job, step).await;
        }
        if result.result == NodeResult::Failed {
            let target = cx.step(result.index).map(|s| &s.target);
            cx.report.emit(Some(node), target, EventKind::Failed { error: result.text.clone(), hint: result.hint.clone() });
        }
    }
    done.extend(results);
    done
}

fn fail(cx: &Cx, job: &NodeJob, index: usize, step: &Step, text: String, hint: Option<String>, sent: bool) -> StepDone {
    cx.report.emit(Some(job.handle.name()), Some(&step.target), EventKind::Failed { error: text.clone(), hint: hint.clone() });
    StepDone { index, result: NodeResult::Failed, text, hint, journal: JournalState::Failed, sent, unseen: None }
}

/// One answer for each step: written, not wanted, or why it could not be.
async fn write_leases(cx: &Cx, job: &NodeJob, todo: &[(usize, &Step)]) -> Vec<Result<(), String>> {
    let Some(files) = job.handle.transport.as_ref().and_then(|t| t.files()) else {
        return vec![Ok(()); todo.len()];
    };
    let deadline = cx.inner.fleet.settings.timeout;
    join_all(todo.iter().map(|(_, step)| async move {
        match cx.lease(job, &step.target) {
            None => Ok(()),
            Some(lease) => {
                let lease = match lease.ends {
                    Some(_) => {
                        let now = cx.inner.node_now(&job.handle).await;
                        lease.on_the_clock_of_the_node(now.map_err(|e| format!("the node's clock cannot be read: {e}"))?)
                    }
                    None => lease,
                };
                lease_files::create(files, &job.handle.lock_dir, &lease, deadline).await.map_err(|e| e.to_string())
            }
        }
    }))
    .await
}

async fn drop_lease(cx: &Cx, job: &NodeJob, step: &Step) {
    let Some(lease) = cx.lease(job, &step.target) else { return };
    let Some(files) = job.handle.transport.as_ref().and_then(|t| t.files()) else { return };
    let removed = lease_files::remove(files, &job.handle.lock_dir, &lease.name(), cx.inner.fleet.settings.timeout).await;
    if let Err(e) = removed {
        cx.report.warn(Some(job.handle.name()), format!("the lease file of a change that did not happen is left: {e}"));
    }
}

/// Sends the commands of these steps in one go; the replies are events.
pub async fn send(cx: &Cx, job: &NodeJob, todo: &[(usize, &Step)]) -> Result<(), EngineError> {
    let commands: Vec<Command> = todo.iter().flat_map(|(_, s)| s.commands.iter().cloned()).collect();
    let owners: Vec<&Target> = todo.iter().flat_map(|(_, s)| std::iter::repeat_n(&s.target, s.commands.len())).collect();
    let replies = send_commands(&cx.inner, &job.handle, &commands).await?;
    for ((command, reply), target) in commands.iter().zip(replies).zip(owners) {
        cx.report.emit(Some(job.handle.name()), Some(target), EventKind::Sent { command: command.to_string(), reply });
    }
    Ok(())
}

pub async fn send_commands(inner: &Inner, handle: &NodeHandle, commands: &[Command]) -> Result<Vec<String>, EngineError> {
    let admin = handle.engine.as_ref().and_then(|e| e.admin()).ok_or_else(|| EngineError::NotAllowed {
        at: handle.name().to_string(),
        what: "this engine cannot be changed".into(),
        hint: "configure a socket of level admin".into(),
    })?;
    let waits = commands.iter().any(|c| matches!(c, Command::AwaitRemovable(_)));
    let deadline = inner.fleet.settings.timeout + if waits { REMOVABLE } else { Duration::ZERO };
    match tokio::time::timeout(deadline + inner.fleet.settings.timeout, admin.send(commands, deadline)).await {
        Ok(result) => result,
        Err(_) => Err(EngineError::Transport(crate::transport::TransportError::Timeout {
            at: handle.name().to_string(),
            doing: "sending".into(),
            after: deadline,
        })),
    }
}

/// Reads again until every step is seen to hold, or clearly does not.
async fn look(cx: &Cx, job: &NodeJob, todo: &[(usize, &Step)], sent: Result<(), EngineError>) -> Vec<StepDone> {
    let node = job.handle.name();
    let needed: WantOwned = want(todo.iter().map(|(_, s)| &s.target));
    let mut pauses = LOOK_AGAIN.iter();
    loop {
        let seen = observe(&cx.inner, &job.handle, &needed).await;
        let mut states: Vec<Holds> = Vec::with_capacity(todo.len());
        match &seen {
            Ok(seen) => {
                for (_, step) in todo {
                    states.push(if aspect(&step.change) == Aspect::Passing {
                        passing::check(cx, job, step, seen).await
                    } else {
                        holds(&step.target, &step.change, seen)
                    });
                }
            }
            Err(e) => {
                if let Some(pause) = pauses.next().filter(|_| e.is_transient()) {
                    tokio::time::sleep(*pause).await;
                    continue;
                }
                return todo.iter().map(|(index, step)| unverified(*index, step, e, sent.as_ref().err())).collect();
            }
        }
        let all_hold = !states.iter().any(|s| matches!(s, Holds::No(_)));
        if !all_hold
            && sent.is_ok()
            && let Some(pause) = pauses.next()
        {
            tokio::time::sleep(*pause).await;
            continue;
        }
        return todo
            .iter()
            .zip(states)
            .map(|((index, step), state)| judged(cx, node, *index, step, state, sent.as_ref().err()))
            .collect();
    }
}

fn unverified(index: usize, step: &Step, seen: &EngineError, sent: Option<&EngineError>) -> StepDone {
    let (text, sure) = match sent {
        None => (format!("'{}' was accepted, but could not be verified: {seen}", step.change), false),
        Some(e) if !e.is_transient() => (e.to_string(), true),
        Some(e) => (format!("'{}' was sent ({e}), and what came of it could not be read: {seen}", step.change), false),
    };
    StepDone {
        index,
        result: NodeResult::Failed,
        text,
        hint: sent.and_then(EngineError::hint).or(seen.hint()).map(str::to_owned),
        // What may have happened stays an intent: it can be undone.
        journal: if sure { JournalState::Failed } else { JournalState::Intent },
        sent: true,
        unseen: None,
    }
}

fn judged(
    cx: &Cx,
    node: &crate::model::NodeName,
    index: usize,
    step: &Step,
    state: Holds,
    sent: Option<&EngineError>,
) -> StepDone {
    let ok = |text: String| StepDone {
        index,
        result: NodeResult::Done,
        text,
        hint: None,
        journal: JournalState::Done,
        sent: true,
        unseen: None,
    };
    match (state, sent) {
        (Holds::Yes(state), sent) => {
            if let Some(e) = sent {
                cx.report.warn(Some(node), format!("it holds, although the engine answered: {e}"));
            }
            cx.report.emit(Some(node), Some(&step.target), EventKind::Verified { state: state.clone() });
            ok(state)
        }
        (Holds::Unknown(state), None) => {
            cx.report.warn(Some(node), format!("accepted, but a reading does not show it: {state}"));
            ok(format!("accepted, not verifiable here: {state}"))
        }
        (Holds::No(state) | Holds::Unknown(state), Some(e)) => StepDone {
            index,
            result: NodeResult::Failed,
            text: format!("{e} (now: {state})"),
            hint: e.hint().map(str::to_owned),
            journal: if e.is_transient() { JournalState::Intent } else { JournalState::Failed },
            sent: true,
            unseen: None,
        },
        (Holds::No(state), None) => StepDone {
            index,
            result: NodeResult::Failed,
            text: format!("'{}' was accepted, but is not seen to hold: {state}", step.change),
            hint: Some("somebody or something else may be changing it too".into()),
            journal: JournalState::Intent,
            sent: true,
            unseen: None,
        },
    }
}
