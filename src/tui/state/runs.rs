//! Operations of this console, folded from their events: for each node and target, how far it is and what is left.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::duration::show_duration;
use crate::model::{Exit, NodeName, Target};
use crate::ops::{Event, EventKind, NodeResult, Outcome, Plan};
use crate::tui::event::Clock;
use crate::tui::theme::Tone;

/// Lines of one operation's log at most; waiting is not logged line by line.
const LOG: usize = 5_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    Planned,
    Locked,
    Sent,
    Verified,
    Waiting,
    Drained,
    Lost,
    Failed,
    Over(bool),
}

/// One target on one node.
#[derive(Clone, Debug)]
pub struct Lane {
    pub node: NodeName,
    pub target: Option<Target>,
    pub phase: Phase,
    /// Sessions, queued requests and connections in use, as counted last.
    pub left: Option<(u64, u64, Option<u64>)>,
    /// Most sessions seen, for the bar.
    pub most: u64,
    pub eta: Option<Duration>,
    pub waited: Option<Duration>,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct LogLine {
    pub at: Timestamp,
    pub tone: Tone,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct Run {
    /// The console's own number, known before the store gives one.
    pub id: u64,
    pub operation: Option<i64>,
    pub summary: String,
    pub began: Timestamp,
    began_at: Instant,
    ended_at: Option<Instant>,
    pub lanes: Vec<Lane>,
    pub log: Vec<LogLine>,
    pub outcome: Option<Outcome>,
    pub refused: bool,
    pub stopping: bool,
}

impl Run {
    pub fn new(id: u64, plan: &Plan, clock: Clock) -> Run {
        let lane = |node: &NodeName, target: Option<Target>, text: String, phase| Lane {
            node: node.clone(),
            target,
            phase,
            left: None,
            most: 0,
            eta: None,
            waited: None,
            text,
        };
        let steps = plan.steps.iter().map(|s| {
            let text = if s.already { "holds already".to_owned() } else { s.now.clone() };
            lane(&s.node, Some(s.target.clone()), text, Phase::Planned)
        });
        let commands = plan.exec.iter().flat_map(|e| e.nodes.iter()).map(|n| lane(n, None, String::new(), Phase::Planned));
        let unread = plan.unreachable.iter().map(|(node, why)| lane(node, None, format!("not touched: {why}"), Phase::Failed));
        Run {
            id,
            operation: None,
            summary: plan.summary.clone(),
            began: clock.wall,
            began_at: clock.now,
            ended_at: None,
            lanes: steps.chain(commands).chain(unread).collect(),
            log: Vec::new(),
            outcome: None,
            refused: false,
            stopping: false,
        }
    }

    pub fn is_over(&self) -> bool {
        self.ended_at.is_some()
    }
    pub fn took(&self, now: Instant) -> Duration {
        self.ended_at.unwrap_or(now).saturating_duration_since(self.began_at)
    }

    /// Sessions left over all lanes, and the longest ETA.
    pub fn left(&self) -> (u64, Option<Duration>) {
        let sessions = self.lanes.iter().filter_map(|l| l.left).map(|(sessions, ..)| sessions).sum();
        (sessions, self.lanes.iter().filter_map(|l| l.eta).max())
    }

    pub fn end(&mut self, now: Instant) {
        self.ended_at.get_or_insert(now);
    }

    /// In one line: how it stands, or how it ended.
    pub fn state(&self) -> (String, Tone) {
        if let Some(outcome) = &self.outcome {
            let tone = if outcome.exit == Exit::Ok { Tone::Ok } else { Tone::Bad };
            return (outcome.summary.clone(), tone);
        }
        if self.refused {
            return ("refused".into(), Tone::Bad);
        }
        if self.is_over() {
            return ("ended without an outcome: see what was left unfinished".into(), Tone::Bad);
        }
        let done = self.lanes.iter().filter(|l| matches!(l.phase, Phase::Drained | Phase::Over(_) | Phase::Failed)).count();
        let (left, eta) = self.left();
        let mut text = format!("{done}/{} done", self.lanes.len());
        if self.lanes.iter().any(|l| l.phase == Phase::Waiting) {
            text.push_str(&format!(", {left} sessions left"));
        }
        if let Some(eta) = eta {
            text.push_str(&format!(", ETA {}", show_duration(eta)));
        }
        if self.stopping {
            text.push_str(", stopping");
        }
        (text, Tone::Accent)
    }

    pub fn take(&mut self, event: &Event, now: Instant) {
        if event.operation > 0 {
            self.operation = Some(event.operation);
        }
        let mut lanes: Vec<&mut Lane> = self.lanes.iter_mut().filter(|lane| lane.is_of(event)).collect();
        let mut set = |phase: Option<Phase>, text: &str| {
            for lane in &mut lanes {
                lane.phase = phase.unwrap_or(lane.phase);
                lane.text = text.to_owned();
            }
        };
        let line = match &event.kind {
            EventKind::Started { summary } => Some((Tone::Plain, format!("started: {summary}"))),
            EventKind::Locked { token } => {
                set(Some(Phase::Locked), "locked");
                Some((Tone::Dim, format!("locked, token {token}")))
            }
            EventKind::LockedHereOnly { why } => {
                set(Some(Phase::Locked), "locked on this machine only");
                Some((Tone::Warn, format!("locked on this machine only: {why}")))
            }
            EventKind::Sent { command, reply } => {
                set(Some(Phase::Sent), command);
                let reply = if reply.trim().is_empty() { "accepted" } else { reply.trim() };
                Some((Tone::Plain, format!("sent: {command}  →  {reply}")))
            }
            EventKind::Verified { state } => {
                set(Some(Phase::Verified), state);
                Some((Tone::Ok, format!("verified: {state}")))
            }
            EventKind::Progress { what, done, total } => {
                set(Some(Phase::Sent), &format!("{what}: {done} of {total} bytes"));
                None
            }
            EventKind::Waiting { sessions, queue, connections, eta, waited } => {
                for lane in &mut lanes {
                    lane.phase = Phase::Waiting;
                    lane.left = Some((*sessions, *queue, *connections));
                    lane.most = lane.most.max(*sessions);
                    (lane.eta, lane.waited) = (*eta, Some(*waited));
                    lane.text = "waiting for the last session".to_owned();
                }
                None
            }
            EventKind::Drained { after, unseen } => {
                let after = show_duration(*after);
                let (tone, text) = match unseen {
                    None => (Tone::Ok, format!("drained after {after}")),
                    Some(unseen) => (Tone::Warn, format!("drained as far as can be seen after {after}; {unseen}")),
                };
                set(Some(Phase::Drained), &text);
                for lane in &mut lanes {
                    lane.left = Some((0, 0, lane.left.and_then(|l| l.2).map(|_| 0)));
                    lane.eta = None;
                }
                Some((tone, text))
            }
            EventKind::Lost { what, again } => {
                let text = if *again { format!("{what}: done again") } else { what.clone() };
                set(Some(Phase::Lost), &text);
                Some((Tone::Bad, format!("lost: {text}")))
            }
            EventKind::DeadlineReached { left, then } => Some((Tone::Warn, format!("deadline reached with {left} left: {then}"))),
            EventKind::Warning { text } => Some((Tone::Warn, text.clone())),
            EventKind::Failed { error, hint } => {
                set(Some(Phase::Failed), error);
                let hint = hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
                Some((Tone::Bad, format!("failed: {error}{hint}")))
            }
            EventKind::Output { stream, line } => {
                set(Some(Phase::Verified), line);
                let tone = if *stream == "stderr" { Tone::Warn } else { Tone::Plain };
                Some((tone, line.clone()))
            }
            EventKind::Returned => {
                set(None, "given back");
                Some((Tone::Ok, "given back".to_owned()))
            }
            EventKind::Finished { outcome } => {
                self.finish(outcome);
                self.end(now);
                let tone = if outcome.exit == Exit::Ok { Tone::Ok } else { Tone::Bad };
                Some((tone, format!("finished: {}", outcome.summary)))
            }
        };
        if let Some((tone, text)) = line
            && self.log.len() < LOG
        {
            let place = match (&event.node, &event.target) {
                (Some(node), Some(target)) => format!("{node} {target}  "),
                (Some(node), None) => format!("{node}  "),
                (None, Some(target)) => format!("{target}  "),
                (None, None) => String::new(),
            };
            self.log.push(LogLine { at: event.at, tone, text: format!("{place}{text}") });
        }
    }

    fn finish(&mut self, outcome: &Outcome) {
        for result in &outcome.nodes {
            for lane in &mut self.lanes {
                if lane.node == result.node && (result.target.is_none() || lane.target == result.target) {
                    let well = matches!(result.result, NodeResult::Done | NodeResult::Already | NodeResult::Returned);
                    lane.phase = Phase::Over(well);
                    lane.text = result.text.clone();
                    lane.eta = None;
                }
            }
        }
        self.outcome = Some(outcome.clone());
    }
}

impl Lane {
    fn is_of(&self, event: &Event) -> bool {
        event.node.as_ref().is_some_and(|node| *node == self.node) && (event.target.is_none() || event.target == self.target)
    }
}

impl Phase {
    pub const fn word(self) -> &'static str {
        match self {
            Phase::Planned => "· planned",
            Phase::Locked => "◦ locked",
            Phase::Sent => "→ sent",
            Phase::Verified => "✓ holds",
            Phase::Waiting => "◐ draining",
            Phase::Drained => "✓ drained",
            Phase::Lost => "! lost",
            Phase::Failed => "✖ failed",
            Phase::Over(true) => "✓ done",
            Phase::Over(false) => "✖ not done",
        }
    }
    pub const fn tone(self) -> Tone {
        match self {
            Phase::Planned | Phase::Locked => Tone::Dim,
            Phase::Sent => Tone::Plain,
            Phase::Waiting => Tone::Held,
            Phase::Verified | Phase::Drained | Phase::Over(true) => Tone::Ok,
            Phase::Lost => Tone::Warn,
            Phase::Failed | Phase::Over(false) => Tone::Bad,
        }
    }
}
