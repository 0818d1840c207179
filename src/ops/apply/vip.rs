//! VIPs moved: locks on every node concerned, a fresh look, command by command, and then who owns the address is watched until it is the
//! new owner alone. Whatever goes wrong on the way, what was changed is set back, and what holds is said.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::engine::Want;
use crate::model::{Exit, FleetView, Health, NodeName, NodeObs, VrrpObs, VrrpState, VrrpView, sanitize};
use crate::ops::inner::Inner;
use crate::ops::lock::{self, Holder, TTL};
use crate::ops::vip::plan as vips;
use crate::ops::vip::{VipAction, VipMove, VipPlan, VipVerb, Way};
use crate::ops::{EventKind, Judgement, NodeOutcome, NodeResult, Outcome, Plan};
use crate::transport::{Limits, TransportError};

use super::locking::{NodeLock, keep_renewed, release_all};
use super::mutate::{Unready, take};
use super::recheck::unread;
use super::{Done, Report};

/// Between two looks at who owns an address.
const LOOK: Duration = Duration::from_millis(100);
/// Between two questions to the peer's keepalived.
const ASK: Duration = Duration::from_secs(1);
/// Looks in a row that must agree before a move is done: one may fall into the moment between two owners.
const SETTLED: u32 = 3;
/// A probe of a service through the VIP.
const PROBE: Duration = Duration::from_secs(2);
/// A file of this name in a node's lock folder says that a deploy runs there; its first line tells of it.
const DEPLOY: &str = "deploy";

/// The key of the lock that keeps moves of VIPs, drills and deploys of one node apart.
pub fn lock_key() -> String {
    lock::hash(&["keepalived"])
}

pub async fn run(inner: &Arc<Inner>, report: &Report, stop: &CancellationToken, plan: &Plan, vip: VipPlan) -> Done {
    let nodes = vip.nodes();
    let locks = match lock_all(inner, report, plan, &nodes).await {
        Ok(locks) => locks,
        Err(done) => return done,
    };
    let renewing = keep_renewed(locks.clone(), report.clone());
    let done = under_locks(inner, report, stop, plan, &vip, &nodes, &locks).await;
    drop(renewing);
    release_all(&locks, report).await;
    done
}

async fn lock_all(inner: &Arc<Inner>, report: &Report, plan: &Plan, nodes: &[NodeName]) -> Result<Vec<Arc<NodeLock>>, Done> {
    let holder = Holder {
        who: inner.who.clone(),
        process: inner.here.clone(),
        operation: report.operation,
        summary: plan.summary.clone(),
        reason: plan.request.reason.clone(),
        since: Timestamp::now(),
        ttl: TTL.as_secs(),
    };
    let mut locks = Vec::new();
    for node in nodes {
        let Some(handle) = inner.node(node) else { continue };
        let (exit, summary, hint) = match take(inner, report, handle, &[lock_key()], &holder).await {
            Ok((lock, _)) => {
                locks.push(lock);
                continue;
            }
            Err(Unready::Taken(e)) => {
                (Exit::Locked, format!("locked, nothing was done: {e}"), Some("try again when it is done".into()))
            }
            Err(Unready::Failed { why, hint }) => (Exit::Failed, format!("{node}: {why}; nothing was done"), hint),
        };
        release_all(&locks, report).await;
        return Err(Done::nothing(exit, summary, hint.into_iter().collect()));
    }
    Ok(locks)
}

/// The first line of a marker that says a deploy runs on a node.
async fn deploying(inner: &Inner, node: &NodeName) -> Option<String> {
    let handle = inner.node(node)?;
    let files = handle.transport.as_ref()?.files()?;
    let text = files.read(&handle.lock_dir.join(DEPLOY), 4096).await.ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Some(sanitize(text.lines().next().unwrap_or_default()).into_owned())
}

async fn under_locks(
    inner: &Arc<Inner>,
    report: &Report,
    stop: &CancellationToken,
    plan: &Plan,
    vip: &VipPlan,
    nodes: &[NodeName],
    locks: &[Arc<NodeLock>],
) -> Done {
    for node in nodes {
        if let Some(what) = deploying(inner, node).await {
            let hint = "try again when it is over; the marker is the file `deploy` in the node's lock folder".to_owned();
            return Done::nothing(Exit::Locked, format!("{node}: a deploy runs ({what}); nothing was done"), vec![hint]);
        }
    }
    // Between plan and lock the world went on: what was approved must still be what is to be done.
    let view = look_again(inner, plan.basis.view.as_ref()).await;
    let fresh = match vips::plan(&vip.request, &view, &inner.nodes, Timestamp::now()) {
        Ok((fresh, verdicts)) => {
            let limit = if plan.request.force { Judgement::Refuse } else { Judgement::Warn };
            if let Some(against) = verdicts.iter().find(|v| v.judgement > limit) {
                let summary = format!("refused by the {} guard: {}; nothing was done", against.guard, against.text);
                return Done::nothing(Exit::GuardRefused, summary, Vec::new());
            }
            fresh
        }
        Err(e) => return Done::nothing(Exit::Failed, format!("{e}; nothing was done"), e.hint().into_iter().collect()),
    };
    let same = fresh.moves.len() == vip.moves.len()
        && fresh.moves.iter().zip(&vip.moves).all(|(a, b)| (&a.from, &a.to, a.way, &a.vips) == (&b.from, &b.to, b.way, &b.vips));
    if !same {
        let summary = format!("the fleet changed since the plan was made (now: {}); nothing was done", fresh.summary());
        return Done::nothing(Exit::Failed, summary, vec!["look at the new plan and run it again".into()]);
    }
    let mut outcomes = Vec::new();
    let (mut back, mut touched) = (None, Vec::new());
    for m in &fresh.moves {
        let run = Run { inner, report, stop, locks, m };
        let done = run.carry().await;
        touched.extend(m.actions.iter().map(|a| a.node.clone()));
        back = back.or(done.back);
        let failed = done.outcome.result != NodeResult::Done;
        outcomes.push(done.outcome);
        if failed {
            break;
        }
    }
    let moved = back.is_none() && outcomes.iter().all(|o| o.result == NodeResult::Done);
    if moved
        && vip.request.verb == VipVerb::DrainNode
        && let (Some(node), Some(within)) = (&vip.request.node, vip.request.wait)
    {
        outcomes.push(drained(inner, report, stop, node, within).await);
    }
    outcome(plan, vip, outcomes, back, touched)
}

/// All keepalived and engines of the nodes, read now.
async fn look_again(inner: &Inner, old: Option<&FleetView>) -> FleetView {
    let deadline = inner.fleet.settings.timeout;
    let nodes = join_all(inner.nodes.iter().map(|handle| async move {
        let before = old.and_then(|v| v.node(handle.name().as_str())).map(|n| (**n).clone());
        let mut node = before.unwrap_or_else(|| unread(handle));
        if let Some(vrrp) = &handle.vrrp {
            node.vrrp = Some(match vrrp.observe(true, deadline).await {
                Ok(seen) => VrrpView { health: Health::Fresh, last: Some(Arc::new(seen)), problem: None },
                Err(e) => VrrpView { health: Health::Dead, last: None, problem: Some(e.problem()) },
            });
            if let Some(engine) = &handle.engine {
                match engine.observe(Want::All, deadline).await {
                    Ok(seen) => (node.health, node.last, node.problem) = (Health::Fresh, Some(Arc::new(seen)), None),
                    Err(e) => (node.health, node.problem) = (Health::Dead, Some(e.problem())),
                }
            }
        }
        Arc::new(node)
    }))
    .await;
    FleetView { at: Timestamp::now(), now: Instant::now(), nodes }
}

struct MoveDone {
    outcome: NodeOutcome,
    /// Something was changed and had to be set back: true where that succeeded.
    back: Option<bool>,
}

struct Run<'a> {
    inner: &'a Inner,
    report: &'a Report,
    stop: &'a CancellationToken,
    locks: &'a [Arc<NodeLock>],
    m: &'a VipMove,
}

impl Run<'_> {
    fn outcome(&self, result: NodeResult, text: String) -> NodeOutcome {
        NodeOutcome { node: self.m.from.clone(), target: None, result, text, unseen: None }
    }

    async fn carry(&self) -> MoveDone {
        let m = self.m;
        let before = self.services().await;
        for (n, action) in m.actions.iter().enumerate() {
            let why = if self.stop.is_cancelled() { Some("stopped".to_owned()) } else { self.act(action).await.err() };
            if let Some(why) = why {
                return self.back(n + usize::from(!self.stop.is_cancelled()), why).await;
            }
        }
        if m.way == Way::OnlyPriority {
            return MoveDone { outcome: self.outcome(NodeResult::Done, "may hold VIPs again".into()), back: None };
        }
        let began = Instant::now();
        if let Err(why) = self.owned().await {
            return self.back(m.actions.len(), why).await;
        }
        let took = began.elapsed();
        let state = format!("{} alone carries {}, after {} ms", m.to, self.addresses(), took.as_millis());
        self.report.emit(Some(&m.to), None, EventKind::Verified { state: state.clone() });
        let after = self.services().await;
        if let Some((at, why)) = after.iter().find_map(|(at, s)| {
            let worked = before.iter().any(|(b, s)| b == at && s.is_ok());
            Some((at, s.as_ref().err()?)).filter(|_| worked)
        }) {
            return self.back(m.actions.len(), format!("{at} answered before the move and does not on {}: {why}", m.to)).await;
        }
        let mut text = state;
        for (at, answer) in &after {
            match answer {
                Ok(answer) => {
                    self.report.emit(Some(&m.to), None, EventKind::Verified { state: format!("{at}: {answer}") });
                    text.push_str(&format!("; {at}: {answer}"));
                }
                Err(why) => {
                    let text = format!("{at} could not be probed from here, before the move neither: {why}");
                    self.report.warn(Some(&m.to), text);
                }
            }
        }
        MoveDone { outcome: self.outcome(NodeResult::Done, text), back: None }
    }

    fn addresses(&self) -> String {
        self.m.vips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    async fn act(&self, action: &VipAction) -> Result<(), String> {
        for lock in self.locks {
            lock.confirm().await?;
        }
        let reply = self.exec(&action.node, &action.argv, &action.stdin).await?;
        self.report.emit(Some(&action.node), None, EventKind::Sent { command: action.to_string(), reply });
        Ok(())
    }

    async fn exec(&self, node: &NodeName, argv: &[String], stdin: &str) -> Result<String, String> {
        let transport = self.inner.node(node).and_then(|h| h.transport.as_ref()).ok_or("no way to run commands there")?;
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let limits = Limits { deadline: self.inner.fleet.settings.timeout * 2, output: 64 << 10 };
        let ran = match transport.run(&words, stdin.as_bytes(), limits).await {
            Ok(ran) => ran,
            Err(e @ TransportError::NotFound { .. }) => return Err(format!("{}: {e}", argv.join(" "))),
            Err(e) => return Err(format!("{node}: {}: {e}", argv.join(" "))),
        };
        let text = |bytes: &[u8]| sanitize(String::from_utf8_lossy(bytes).trim()).into_owned();
        match ran.status {
            // What tee writes is what was sent.
            Some(0) => Ok(if stdin.is_empty() { text(&ran.stdout) } else { String::new() }),
            status => {
                let said = if ran.stderr.is_empty() { text(&ran.stdout) } else { text(&ran.stderr) };
                let status = status.map_or_else(|| "ended by a signal".to_owned(), |s| format!("exit status {s}"));
                Err(format!("{node}: {}: {said} ({status})", argv.join(" ")))
            }
        }
    }

    /// Looks until the new owner alone carries every address. The error says what was seen instead.
    async fn owned(&self) -> Result<(), String> {
        let m = self.m;
        let ends = Instant::now() + m.within;
        let mut settled = 0;
        let mut dead_peer = 0;
        let mut asked = Instant::now();
        loop {
            // The daemon of the peer logs each question: it is asked seldom, the interfaces are read at every look.
            let anew = asked.elapsed() >= ASK;
            if anew {
                asked = Instant::now();
            }
            let (from, to) = tokio::join!(self.vrrp(&m.from, false), self.vrrp(&m.to, anew));
            let all = |obs: &VrrpObs| m.vips.iter().all(|v| obs.holds(*v));
            let none = |obs: &VrrpObs| !m.vips.iter().any(|v| obs.holds(*v));
            match (&from, &to) {
                (Ok(from), Ok(to)) if none(from) && all(to) => settled += 1,
                _ => settled = 0,
            }
            if settled == SETTLED {
                return Ok(());
            }
            // The peer is dying: whoever is to take the VIP over must be there.
            dead_peer = match &to {
                Err(_) => dead_peer + 1,
                Ok(to) if m.way != Way::Start && gone(to, m) => dead_peer + 1,
                Ok(_) => 0,
            };
            if dead_peer == SETTLED {
                let why = match &to {
                    Err(e) => format!("{} cannot be read any more: {e}", m.to),
                    Ok(to) if to.daemons.is_empty() => format!("keepalived on {} has ended", m.to),
                    Ok(_) => format!("keepalived on {} is in FAULT", m.to),
                };
                return Err(why);
            }
            if self.stop.is_cancelled() {
                return Err("stopped".into());
            }
            if Instant::now() > ends {
                return Err(format!("{} did not take {} over within {:?}", m.to, self.addresses(), m.within));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn vrrp(&self, node: &NodeName, anew: bool) -> Result<VrrpObs, String> {
        let vrrp = self.inner.node(node).and_then(|h| h.vrrp.as_ref()).ok_or("keepalived is not named in the fleet file")?;
        vrrp.observe(anew, self.inner.fleet.settings.timeout).await.map_err(|e| e.to_string())
    }

    /// What answers on the VIP, seen from here.
    async fn services(&self) -> Vec<(SocketAddr, Result<String, String>)> {
        let targets = self.m.vips.iter().flat_map(|vip| self.m.ports.iter().map(|port| SocketAddr::new(*vip, *port)));
        join_all(targets.map(|at| async move { (at, probe(at).await) })).await
    }

    /// Undoes the first `n` actions, last first, and says what holds then.
    async fn back(&self, n: usize, why: String) -> MoveDone {
        let m = self.m;
        self.report.emit(Some(&m.from), None, EventKind::Failed { error: why.clone(), hint: None });
        let (mut undone, mut stuck) = (0, Vec::new());
        for action in m.actions.iter().take(n).rev() {
            for (argv, stdin) in &action.undo {
                undone += 1;
                match self.exec(&action.node, argv, stdin).await {
                    Ok(reply) => {
                        let command = VipAction { argv: argv.clone(), stdin: stdin.clone(), undo: Vec::new(), ..action.clone() };
                        self.report.emit(Some(&action.node), None, EventKind::Sent { command: command.to_string(), reply });
                    }
                    Err(e) => stuck.push(e),
                }
            }
        }
        let holds = self.holds().await;
        let (result, back, text) = match (undone, stuck.first()) {
            (0, _) => (NodeResult::Failed, None, format!("{why}; {holds}")),
            (_, None) => {
                self.report.emit(Some(&m.from), None, EventKind::Returned);
                (NodeResult::Returned, Some(true), format!("set back: {why}; {holds}"))
            }
            (_, Some(first)) => {
                (NodeResult::Failed, Some(false), format!("{why}; and it could not be set back: {first}; {holds}"))
            }
        };
        MoveDone { outcome: self.outcome(result, text), back }
    }

    async fn holds(&self) -> String {
        let nodes = join_all([&self.m.from, &self.m.to].map(|node| async move { (node, self.vrrp(node, true).await) })).await;
        let carries = |obs: &VrrpObs| self.m.vips.iter().any(|v: &IpAddr| obs.holds(*v));
        let told: Vec<String> = nodes
            .iter()
            .map(|(node, seen)| match seen {
                Ok(obs) if carries(obs) => format!("{node} carries it"),
                Ok(_) => format!("{node} does not carry it"),
                Err(_) => format!("{node} cannot be read"),
            })
            .collect();
        format!("{}: {} now", self.addresses(), told.join(", "))
    }
}

/// The node cannot take an address over any more.
fn gone(obs: &VrrpObs, m: &VipMove) -> bool {
    let fault =
        |i: &crate::model::VrrpInstance| i.state == Some(VrrpState::Fault) && i.vips.iter().any(|v| m.vips.contains(&v.address));
    obs.daemons.is_empty() || obs.instances.iter().any(fault)
}

/// Connects, and asks as a browser would; a service that is no HTTP is well where it takes the connection.
async fn probe(at: SocketAddr) -> Result<String, String> {
    let asked = async {
        let mut stream = TcpStream::connect(at).await.map_err(|e| e.to_string())?;
        let request = format!("GET / HTTP/1.0\r\nHost: {}\r\nUser-Agent: lbdeck\r\n\r\n", at.ip());
        let mut head = [0; 12];
        let answered = async {
            stream.write_all(request.as_bytes()).await.ok()?;
            stream.read_exact(&mut head).await.ok()
        };
        let _ = tokio::time::timeout(PROBE / 2, answered).await;
        let head = String::from_utf8_lossy(&head);
        Ok(match head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)) {
            Some(status) => format!("HTTP {status}"),
            None => "takes connections".to_owned(),
        })
    };
    tokio::time::timeout(PROBE, asked).await.unwrap_or_else(|_| Err(format!("no connection within {PROBE:?}")))
}

/// Watches the connections of a node down to zero.
async fn drained(inner: &Inner, report: &Report, stop: &CancellationToken, node: &NodeName, within: Duration) -> NodeOutcome {
    let began = Instant::now();
    let of = |result, text: String| NodeOutcome { node: node.clone(), target: None, result, text, unseen: None };
    let Some(engine) = inner.node(node).and_then(|h| h.engine.as_ref()) else {
        return of(NodeResult::Done, "no engine is named there, so no connections can be counted; it holds no VIP".into());
    };
    loop {
        let seen = engine.observe(Want::All, inner.fleet.settings.timeout).await;
        let left = match &seen {
            Ok(seen) => sessions(seen),
            Err(e) => return of(NodeResult::Failed, format!("its connections cannot be counted: {e}")),
        };
        let waited = began.elapsed();
        if left == 0 {
            report.emit(Some(node), None, EventKind::Drained { after: waited, unseen: None });
            return of(NodeResult::Done, "no VIP, no session left: safe to reboot".into());
        }
        report.emit(Some(node), None, EventKind::Waiting { sessions: left, queue: 0, connections: None, eta: None, waited });
        if stop.is_cancelled() || waited >= within {
            let text =
                format!("it holds no VIP, but {left} sessions are left after {} s: not yet safe to reboot", waited.as_secs());
            return of(NodeResult::NotDrained, text);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Sessions of clients: frontends count each once.
fn sessions(seen: &NodeObs) -> u64 {
    seen.frontends.iter().map(|f| u64::from(f.gauges.sessions)).sum()
}

fn outcome(plan: &Plan, vip: &VipPlan, nodes: Vec<NodeOutcome>, back: Option<bool>, mut touched: Vec<NodeName>) -> Done {
    let exit = match back {
        Some(true) => Exit::FailedRolledBack,
        Some(false) => Exit::RollbackFailed,
        None if nodes.iter().all(|n| n.result == NodeResult::Done) => Exit::Ok,
        None => Exit::Failed,
    };
    let said = match exit {
        Exit::Ok => "done",
        Exit::FailedRolledBack => "failed, and set back",
        Exit::RollbackFailed => "failed, and could not be set back",
        _ => "not done",
    };
    let mut next = Vec::new();
    let list = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match (vip.request.verb, exit) {
        (VipVerb::Failover, Exit::Ok) => {
            next.push(format!("to bring it back: `lbdeck vip failback {}`", list(&vip.request.vips)))
        }
        (VipVerb::DrainNode, _) => {
            let node = vip.request.node.as_ref().map_or("", |n| n.as_str());
            next.push(format!("to bring it back into service: `lbdeck node return {node}`"));
        }
        (_, Exit::Ok) => {}
        _ => next.push("`lbdeck vip list` shows who holds what".into()),
    }
    touched.sort();
    touched.dedup();
    let summary = format!("{}: {said}", plan.summary);
    Done { outcome: Outcome { exit, summary, nodes, next, leases: Vec::new() }, journal: Vec::new(), touched }
}
