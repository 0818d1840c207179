//! Waiting for the last session of a drained server on one node: with proof, with an end, and awake to what happens meanwhile.

use std::time::{Duration, Instant};

use crate::config::duration::show_duration;
use crate::model::{AdminState, Change, NodeObs, ServerObs, ServerRef, Target};
use crate::ops::plan::Step;
use crate::ops::planner::counted;
use crate::ops::verify::{describe, hides_drain};
use crate::ops::{AtDeadline, DrainOptions, EventKind, NodeResult};

use super::act::{Cx, NodeJob, StepDone, send_commands};
use super::deadline;
use super::recheck::{WantOwned, observe, want};

/// First and longest pause between two looks.
const SOON: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(1);
/// How often a drain that was lost is made again on one node.
const AGAIN: u32 = 5;
/// An unreadable node is given up after so many times the time after which it counts as dead.
const PATIENCE: u32 = 4;

/// One server that is waited for.
struct Waiting<'a> {
    index: usize,
    step: &'a Step,
    at: &'a ServerRef,
    since: Instant,
    /// What was left at the first look, for the estimate.
    first: Option<u64>,
    told: Option<(Instant, u64)>,
    again: u32,
    maint_told: bool,
    end: Option<End>,
}

pub enum End {
    /// In words, and what could not be looked at.
    Drained(String, Option<String>),
    Left(u64),
    Gone(NodeResult, String),
}

/// The process that answered, so that another one is noticed.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Worker {
    pid: Option<u32>,
}

pub async fn wait(cx: &Cx, job: &NodeJob, options: &DrainOptions, done: &mut [StepDone]) {
    let now = Instant::now();
    let mut waiting: Vec<Waiting<'_>> = done
        .iter()
        .filter(|d| matches!(d.result, NodeResult::Done | NodeResult::Already))
        .filter_map(|d| {
            let step = cx.step(d.index).filter(|s| s.change == Change::Drain)?;
            let Target::Server(at) = &step.target else { return None };
            Some(Waiting {
                index: d.index,
                step,
                at,
                since: now,
                first: None,
                told: None,
                again: 0,
                maint_told: step.already,
                end: None,
            })
        })
        .collect();
    if waiting.is_empty() {
        return;
    }
    watch(cx, job, &mut waiting).await;
    for w in waiting {
        let Some(result) = done.iter_mut().find(|d| d.index == w.index) else { continue };
        let was_already = result.result == NodeResult::Already;
        match w.end {
            Some(End::Drained(text, unseen)) => {
                result.result = if was_already { NodeResult::Already } else { NodeResult::Done };
                result.text = text;
                result.unseen = unseen;
            }
            Some(End::Gone(kind, text)) => {
                result.result = kind;
                result.text = text;
            }
            Some(End::Left(left)) => {
                let then = if cx.stop.is_cancelled() { None } else { Some(options.then) };
                let (kind, text) = match then {
                    None => (NodeResult::NotDrained, format!("stopped waiting: still draining, {} left", counted_left(left))),
                    Some(then) => {
                        cx.report.emit(
                            Some(job.handle.name()),
                            Some(&w.step.target),
                            EventKind::DeadlineReached { left, then: deadline::word(then).into() },
                        );
                        match then {
                            AtDeadline::Fail | AtDeadline::Return => {
                                (NodeResult::NotDrained, format!("{} left at the deadline", counted_left(left)))
                            }
                            AtDeadline::Kill => deadline::kill(cx, job, w.step, w.at, left).await,
                            AtDeadline::Maint => deadline::maint(cx, job, w.step, w.at, left).await,
                        }
                    }
                };
                result.result = kind;
                result.text = text;
            }
            None => {}
        }
    }
}

pub fn counted_left(left: u64) -> String {
    counted(usize::try_from(left).unwrap_or(usize::MAX), "session")
}

async fn watch(cx: &Cx, job: &NodeJob, waiting: &mut [Waiting<'_>]) {
    let node = job.handle.name();
    let needed: WantOwned = want(waiting.iter().map(|w| &w.step.target));
    let patience = cx.inner.fleet.settings.dead_after * PATIENCE;
    let mut pause = SOON;
    let mut worker = Worker { pid: job.seen.engine.pid };
    let mut before_reload: Option<u32> = None;
    let mut unread: Option<(Instant, String)> = None;
    loop {
        match observe(&cx.inner, &job.handle, &needed).await {
            Ok(seen) => {
                if let Some((since, _)) = unread.take() {
                    cx.report.warn(Some(node), format!("answers again after {}", show_duration(since.elapsed())));
                }
                let now = Worker { pid: seen.engine.pid };
                let reloaded = now != worker && now.pid.is_some();
                if reloaded {
                    before_reload = worker.pid;
                    worker = now;
                }
                let hidden = match before_reload {
                    Some(pid) => old_worker_lives(cx, job, pid).await,
                    None => Hidden::Nothing,
                };
                for w in waiting.iter_mut().filter(|w| w.end.is_none()) {
                    look(cx, job, w, &seen, reloaded, &hidden).await;
                }
            }
            Err(e) => {
                let since = match &unread {
                    None => {
                        cx.report.warn(Some(node), format!("cannot be read while it drains: {e}"));
                        Instant::now()
                    }
                    Some((since, _)) => *since,
                };
                unread = Some((since, e.to_string()));
                if !e.is_transient() || since.elapsed() >= patience {
                    end_all(waiting, || {
                        End::Gone(
                            NodeResult::Unreachable,
                            format!("not known to be drained: unreadable for {}: {e}", show_duration(since.elapsed())),
                        )
                    });
                }
            }
        }
        if waiting.iter().all(|w| w.end.is_some()) {
            return;
        }
        let at_deadline = async {
            match cx.deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let over = tokio::select! {
            biased;
            () = cx.stop.cancelled() => true,
            () = at_deadline => true,
            () = tokio::time::sleep(pause) => false,
        };
        if over {
            for w in waiting.iter_mut().filter(|w| w.end.is_none()) {
                w.end = Some(match &unread {
                    Some((_, why)) => End::Gone(NodeResult::Unreachable, format!("not known to be drained: {why}")),
                    None => End::Left(w.told.map_or(0, |(_, left)| left)),
                });
            }
            return;
        }
        pause = (pause * 13 / 10).min(SELDOM);
    }
}

fn end_all(waiting: &mut [Waiting<'_>], end: impl Fn() -> End) {
    for w in waiting.iter_mut().filter(|w| w.end.is_none()) {
        w.end = Some(end());
    }
}

/// What processes from before a reload may still hold, where the socket does not reach them.
#[derive(Clone, PartialEq, Eq)]
enum Hidden {
    Nothing,
    /// The process that this drain began on still runs.
    Something,
    /// Nobody can be asked, and why.
    Unknown(String),
}

async fn old_worker_lives(cx: &Cx, job: &NodeJob, pid: u32) -> Hidden {
    let Some(workers) = job.handle.engine.as_ref().and_then(|e| e.workers()) else {
        return Hidden::Unknown("no master socket".into());
    };
    match workers.workers(cx.inner.fleet.settings.timeout).await {
        Ok(all) if all.iter().any(|w| w.pid == pid) => Hidden::Something,
        Ok(_) => Hidden::Nothing,
        Err(e) => Hidden::Unknown(e.to_string()),
    }
}

/// Processes that were old before this drain began, where the master tells: what they hold is not in any reading.
async fn older_workers(cx: &Cx, job: &NodeJob) -> Option<String> {
    let workers = job.handle.engine.as_ref().and_then(|e| e.workers())?;
    match workers.workers(cx.inner.fleet.settings.timeout).await {
        Ok(all) => match all.iter().filter(|w| w.old).count() {
            0 => None,
            n => Some(format!("what {} from before an earlier reload still holds cannot be seen", counted_processes(n))),
        },
        Err(e) => Some(format!("what processes from before an earlier reload still hold cannot be seen ({e})")),
    }
}

fn counted_processes(n: usize) -> String {
    format!("{n} process{}", if n == 1 { "" } else { "es" })
}

async fn look(cx: &Cx, job: &NodeJob, w: &mut Waiting<'_>, seen: &NodeObs, reloaded: bool, hidden: &Hidden) {
    let node = job.handle.name();
    let target = Some(&w.step.target);
    let Some(server) = seen.server(w.at.pool.as_str(), w.at.server.as_str()) else {
        let what = if reloaded { "the reload removed the server" } else { "the server was removed" };
        cx.report.emit(Some(node), target, EventKind::Lost { what: what.into(), again: false });
        w.end = Some(End::Gone(NodeResult::NotDrained, format!("{what}: nothing tells any more what it still serves")));
        return;
    };
    if !server.admin.has(AdminState::FDRAIN | AdminState::FMAINT) && !hides_drain(server) {
        lost(cx, job, w, seen, server, reloaded).await;
        return;
    }
    if server.admin.has(AdminState::FMAINT) && !w.maint_told {
        cx.report.warn(Some(node), format!("somebody put {} into maintenance; waiting for its sessions goes on", w.at));
        w.maint_told = true;
    }
    let left = server.left();
    if left == 0 && *hidden != Hidden::Something {
        let after = w.since.elapsed();
        let mut text = "no session, queued request or connection left".to_owned();
        let unseen = match hidden {
            Hidden::Unknown(why) => Some(format!("what the process before the reload still holds cannot be seen ({why})")),
            _ => older_workers(cx, job).await,
        };
        if let Some(unseen) = &unseen {
            text.push_str(&format!("; {unseen}"));
            cx.report.warn(Some(node), format!("{}: {text}", w.at));
        }
        if server.used_conns.is_none() {
            text = text.replace(", queued request or connection", " or queued request");
        }
        cx.report.emit(Some(node), target, EventKind::Drained { after, unseen: unseen.clone() });
        w.end = Some(End::Drained(text, unseen));
        return;
    }
    tell(cx, job, w, server, left);
}

/// At most once a second, or when the number moved.
fn tell(cx: &Cx, job: &NodeJob, w: &mut Waiting<'_>, server: &ServerObs, left: u64) {
    let first = *w.first.get_or_insert(left);
    let waited = w.since.elapsed();
    let due = w.told.is_none_or(|(at, before)| before != left || at.elapsed() >= SELDOM);
    if !due {
        return;
    }
    w.told = Some((Instant::now(), left));
    let gone = first.saturating_sub(left);
    let eta = (gone > 0).then(|| waited.mul_f64(left as f64 / gone as f64));
    let kind = EventKind::Waiting {
        sessions: server.gauges.sessions,
        queue: server.gauges.queue,
        connections: server.used_conns,
        eta,
        waited,
    };
    cx.report.emit(Some(job.handle.name()), Some(&w.step.target), kind);
}

/// The drain no longer holds: a reload wiped it, or somebody gave the server back by other means.
async fn lost(cx: &Cx, job: &NodeJob, w: &mut Waiting<'_>, seen: &NodeObs, server: &ServerObs, reloaded: bool) {
    let node = job.handle.name();
    let what = if reloaded {
        "the engine was reloaded, which wipes drains".to_owned()
    } else {
        format!("somebody else gave the server back ({})", describe(server))
    };
    let again = w.again < AGAIN;
    w.again += 1;
    cx.report.emit(Some(node), Some(&w.step.target), EventKind::Lost { what: what.clone(), again });
    if !again {
        w.end = Some(End::Gone(NodeResult::Failed, format!("the drain was lost {} times: {what}", w.again)));
        return;
    }
    if let Err(e) = drain_again(cx, job, w.step, seen).await {
        w.end = Some(End::Gone(NodeResult::Failed, format!("{what}, and draining it again failed: {e}")));
    }
    // What holds now is seen by the next look.
}

async fn drain_again(cx: &Cx, job: &NodeJob, step: &Step, seen: &NodeObs) -> Result<(), String> {
    job.lock.confirm().await?;
    let admin = job.handle.engine.as_ref().and_then(|e| e.admin()).ok_or("this engine cannot be changed")?;
    let commands = admin.encode(&step.target, &step.change, seen)?;
    let replies = send_commands(&cx.inner, &job.handle, &commands).await.map_err(|e| e.to_string())?;
    for (command, reply) in commands.iter().zip(replies) {
        let kind = EventKind::Sent { command: command.to_string(), reply };
        cx.report.emit(Some(job.handle.name()), Some(&step.target), kind);
    }
    Ok(())
}
