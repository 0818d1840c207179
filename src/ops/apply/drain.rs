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
use super::old_processes::{self, Hidden, Replaced};
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
    old_told: bool,
    /// Nothing is left in the process that answers, but this one runs on.
    behind: Option<u32>,
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
                old_told: false,
                behind: None,
                end: None,
            })
        })
        .collect();
    if waiting.is_empty() {
        return;
    }
    let replaced = watch(cx, job, &mut waiting).await;
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
                            AtDeadline::Kill => {
                                let killed = deadline::kill(cx, job, w.step, w.at, left, replaced).await;
                                result.unseen = killed.unseen;
                                (killed.result, killed.text)
                            }
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

/// Gives the process that was replaced by a reload meanwhile.
async fn watch(cx: &Cx, job: &NodeJob, waiting: &mut [Waiting<'_>]) -> Option<Replaced> {
    let node = job.handle.name();
    let needed: WantOwned = want(waiting.iter().map(|w| &w.step.target));
    let patience = cx.inner.fleet.settings.dead_after * PATIENCE;
    let mut pause = SOON;
    let mut worker = Worker { pid: job.seen.engine.pid };
    let mut before_reload: Option<Replaced> = None;
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
                    before_reload = worker.pid.map(|old| Replaced { old, new: now.pid });
                    worker = now;
                }
                for w in waiting.iter_mut().filter(|w| w.end.is_none()) {
                    look(cx, job, w, &seen, reloaded, before_reload).await;
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
            return before_reload;
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
                    None if w.behind.is_some() => End::Gone(NodeResult::NotDrained, behind(w.behind)),
                    None => End::Left(w.told.map_or(0, |(_, left)| left)),
                });
            }
            return before_reload;
        }
        pause = (pause * 13 / 10).min(SELDOM);
    }
}

fn end_all(waiting: &mut [Waiting<'_>], end: impl Fn() -> End) {
    for w in waiting.iter_mut().filter(|w| w.end.is_none()) {
        w.end = Some(end());
    }
}

async fn look(cx: &Cx, job: &NodeJob, w: &mut Waiting<'_>, seen: &NodeObs, reloaded: bool, replaced: Option<Replaced>) {
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
    w.behind = None;
    let unseen = match server.left() {
        0 => match old_processes::hold(cx, job, w.at, replaced).await {
            Hidden::Left(old) => {
                if !w.old_told {
                    let text = format!("{} of {} live on in processes from before a reload", counted_left(old), w.at);
                    cx.report.warn(Some(node), text);
                    w.old_told = true;
                }
                tell(cx, job, w, Left { sessions: old, queue: 0, connections: None, in_all: old });
                return;
            }
            Hidden::Runs(pid) => {
                if !w.old_told {
                    let text = format!(
                        "process {pid} from before the reload runs on, and without master socket nothing tells what it holds of {}",
                        w.at
                    );
                    cx.report.warn(Some(node), text);
                    w.old_told = true;
                }
                w.behind = Some(pid);
                return;
            }
            Hidden::Nothing => None,
            Hidden::Unknown(why) => Some(old_processes::unseen(&why)),
        },
        here => {
            let connections = server.used_conns.map(u64::from);
            let (sessions, queue) = (server.gauges.sessions.into(), server.gauges.queue.into());
            tell(cx, job, w, Left { sessions, queue, connections, in_all: here });
            return;
        }
    };
    let counts = if server.used_conns.is_some() { "session, queued request or connection" } else { "session or queued request" };
    let mut text = format!("no {counts} left");
    if let Some(unseen) = &unseen {
        text.push_str(&format!("; {unseen}"));
        cx.report.warn(Some(node), format!("{}: {text}", w.at));
    }
    cx.report.emit(Some(node), target, EventKind::Drained { after: w.since.elapsed(), unseen: unseen.clone() });
    w.end = Some(End::Drained(text, unseen));
}

fn behind(pid: Option<u32>) -> String {
    let pid = pid.map_or_else(String::new, |pid| format!(" {pid}"));
    format!(
        "not known to be drained: process{pid} from before the reload runs on, and nothing tells what it holds: \
         name the engine's master_socket (`haproxy -S`) in the fleet file"
    )
}

/// What still ties clients to a server.
struct Left {
    sessions: u64,
    queue: u64,
    connections: Option<u64>,
    in_all: u64,
}

/// At most once a second, or when the number moved.
fn tell(cx: &Cx, job: &NodeJob, w: &mut Waiting<'_>, seen: Left) {
    let left = seen.in_all;
    let first = *w.first.get_or_insert(left);
    let waited = w.since.elapsed();
    let due = w.told.is_none_or(|(at, before)| before != left || at.elapsed() >= SELDOM);
    if !due {
        return;
    }
    w.told = Some((Instant::now(), left));
    let gone = first.saturating_sub(left);
    let eta = (gone > 0).then(|| waited.mul_f64(left as f64 / gone as f64));
    let kind = EventKind::Waiting { sessions: seen.sessions, queue: seen.queue, connections: seen.connections, eta, waited };
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
