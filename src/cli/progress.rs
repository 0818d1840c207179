//! What an operation does while it runs, on stderr: bars in a terminal, plain lines elsewhere, JSON for programs.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::context::Context;
use super::failure::Result;
use super::output::{Tone, VERSION};
use super::printer::Printer;
use crate::app::TerminalGuard;
use crate::config::duration::show_duration;
use crate::ops::agent::program::mib;
use crate::ops::{Event, EventKind, Plan};

/// Up to so many steps have a line of their own.
const LINES: usize = 16;
/// Plain lines tell of one waiting step at most so often.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

type Key = (Option<String>, Option<String>);

pub struct Progress {
    printer: Printer,
    mode: Mode,
    /// Output of commands comes to stdout, with the node in front where there are several.
    prefix: bool,
    /// A line is a node: the plan has no targets.
    by_node: bool,
}

enum Mode {
    /// Only what goes wrong.
    Silent,
    Json,
    Plain {
        told: HashMap<Key, Instant>,
    },
    Bars(Box<Bars>),
}

struct Bars {
    all: MultiProgress,
    bars: HashMap<Key, ProgressBar>,
    sum: Option<Sum>,
    _guard: TerminalGuard,
}

/// One line for many steps.
struct Sum {
    bar: ProgressBar,
    left: HashMap<Key, u64>,
    done: usize,
    steps: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    #[serde(flatten)]
    event: &'a Event,
}

impl Progress {
    pub fn new(context: &Context, json: bool, plan: &Plan) -> Self {
        let steps = plan.steps.len();
        let terminal = std::io::stderr().is_terminal();
        let mode = if json {
            Mode::Json
        } else if context.global.quiet || context.global.no_progress {
            Mode::Silent
        } else if terminal {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let sum = (steps > LINES).then(|| Sum { bar: spinner(&all, ""), left: HashMap::new(), done: 0, steps });
            let bars = Bars { all, bars: HashMap::new(), sum, _guard: TerminalGuard::without_echo_of_keys() };
            Mode::Bars(Box::new(bars))
        } else {
            Mode::Plain { told: HashMap::new() }
        };
        let by_node = plan.agent.is_some();
        Self { printer: context.printer.clone(), mode, by_node, prefix: plan.exec.as_ref().is_some_and(|e| e.nodes.len() > 1) }
    }

    pub fn event(&mut self, event: &Event) -> Result<()> {
        if let EventKind::Output { stream, line } = &event.kind
            && !matches!(self.mode, Mode::Json)
        {
            return self.output(event, stream, line);
        }
        match &mut self.mode {
            Mode::Json => self.printer.json_line_aside(&Line { version: VERSION, event }),
            Mode::Silent => {
                if let (Some((text, tone)), true) = (words(event), is_trouble(&event.kind)) {
                    self.printer.aside(&self.printer.paint_talk(tone, &text));
                }
            }
            Mode::Plain { told } => {
                if let EventKind::Waiting { .. } | EventKind::Progress { .. } = event.kind {
                    let last = told.entry(key(event)).or_insert_with(|| Instant::now() - PLAIN_PAUSE);
                    if last.elapsed() < PLAIN_PAUSE {
                        return Ok(());
                    }
                    *last = Instant::now();
                }
                if let Some((text, tone)) = words(event) {
                    self.printer.aside(&self.printer.paint_talk(tone, &text));
                }
            }
            Mode::Bars(screen) => match &mut screen.sum {
                Some(sum) => {
                    sum.event(event);
                    if is_trouble(&event.kind) {
                        say(&self.printer, &screen.all, event);
                    }
                }
                None => bar_event(&self.printer, &screen.all, &mut screen.bars, event, self.by_node),
            },
        }
        Ok(())
    }

    /// A line of talk that does not tear the bars.
    pub fn say(&self, text: &str) {
        match &self.mode {
            Mode::Bars(screen) => screen.all.suspend(|| self.printer.aside(text)),
            _ => self.printer.aside(text),
        }
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        if let Mode::Bars(screen) = &self.mode {
            for bar in screen.bars.values().chain(screen.sum.as_ref().map(|s| &s.bar)) {
                bar.finish_and_clear();
            }
            // A terminal that is gone needs no cleaning.
            let _ = screen.all.clear();
        }
    }

    fn output(&self, event: &Event, stream: &str, line: &str) -> Result<()> {
        // Programs read the document at the end.
        if self.printer.is_structured() {
            return Ok(());
        }
        let text = match &event.node {
            Some(node) if self.prefix => format!("{node}: {line}"),
            _ => line.to_owned(),
        };
        if stream == "stderr" {
            self.say(&text);
            return Ok(());
        }
        match &self.mode {
            Mode::Bars(screen) => screen.all.suspend(|| self.printer.raw(format!("{text}\n").as_bytes())),
            _ => self.printer.raw(format!("{text}\n").as_bytes()),
        }
    }
}

impl Sum {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Waiting { sessions, queue, .. } => {
                self.left.insert(key(event), sessions + queue);
            }
            EventKind::Drained { .. } | EventKind::Returned => {
                self.left.insert(key(event), 0);
                self.done += 1;
            }
            _ => {}
        }
        let left: u64 = self.left.values().sum();
        self.bar.set_message(format!("{} of {} done, {left} sessions left", self.done, self.steps));
    }
}

fn key(event: &Event) -> Key {
    (event.node.as_ref().map(ToString::to_string), event.target.as_ref().map(ToString::to_string))
}

fn spinner(all: &MultiProgress, prefix: &str) -> ProgressBar {
    // A bar that moves before it belongs to the others draws on its own and leaves lines behind.
    let bar = all.add(ProgressBar::no_length());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(prefix.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn bar_event(printer: &Printer, all: &MultiProgress, bars: &mut HashMap<Key, ProgressBar>, event: &Event, by_node: bool) {
    if is_trouble(&event.kind) || event.node.is_none() {
        if !matches!(event.kind, EventKind::Finished { .. }) {
            say(printer, all, event);
        }
        return;
    }
    // A line is a target on a node; what concerns the node alone (its lock) needs none.
    let (node, target) = key(event);
    if target.is_none() && !by_node {
        return;
    }
    let prefix = [node.clone(), target.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let bar = bars.entry((node, target)).or_insert_with(|| spinner(all, &prefix));
    let text = what(&event.kind).unwrap_or_default();
    match event.kind {
        EventKind::Drained { .. } | EventKind::Returned => bar.finish_with_message(text),
        _ => bar.set_message(text),
    }
}

fn say(printer: &Printer, all: &MultiProgress, event: &Event) {
    if let Some((text, tone)) = words(event) {
        all.suspend(|| printer.aside(&printer.paint_talk(tone, &text)));
    }
}

/// What nobody must miss, however quiet it is to be.
fn is_trouble(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Lost { .. } | EventKind::DeadlineReached { .. } | EventKind::Warning { .. } | EventKind::Failed { .. }
    )
}

/// An event as a line: node, target, what.
fn words(event: &Event) -> Option<(String, Tone)> {
    let what = what(&event.kind)?;
    let at: Vec<String> = [event.node.as_ref().map(ToString::to_string), event.target.as_ref().map(ToString::to_string)]
        .into_iter()
        .flatten()
        .collect();
    let tone = match event.kind {
        EventKind::Failed { .. } => Tone::Bad,
        ref kind if is_trouble(kind) => Tone::Warn,
        EventKind::Drained { .. } | EventKind::Verified { .. } => Tone::Good,
        _ => Tone::Plain,
    };
    Some((if at.is_empty() { what } else { format!("{}: {what}", at.join(": ")) }, tone))
}

fn what(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::Started { summary } => summary.clone(),
        EventKind::Locked { token } => format!("locked (token {token})"),
        EventKind::LockedHereOnly { why } => format!("locked on this machine only: {why}"),
        EventKind::Sent { command, reply } if reply.is_empty() => format!("sent: {command}"),
        EventKind::Sent { command, reply } => format!("sent: {command}: {reply}"),
        EventKind::Verified { state } => format!("verified: {state}"),
        EventKind::Progress { what, done, total } => {
            format!("{what}: {} of {} ({}%)", mib(*done), mib(*total), (done * 100).checked_div(*total).unwrap_or(100))
        }
        EventKind::Waiting { sessions, queue, connections, eta, waited } => {
            waiting(*sessions, *queue, *connections, *eta, *waited)
        }
        EventKind::Drained { after, unseen: None } => format!("drained after {}", show_duration(*after)),
        EventKind::Drained { after, unseen: Some(unseen) } => {
            format!("drained as far as can be seen after {}; {unseen}", show_duration(*after))
        }
        EventKind::Lost { what, again: true } => format!("lost: {what}; done again"),
        EventKind::Lost { what, again: false } => format!("lost: {what}"),
        EventKind::DeadlineReached { left, then } => format!("the deadline has come with {left} left: {then}"),
        EventKind::Warning { text } => format!("warning: {text}"),
        EventKind::Failed { error, hint: Some(hint) } => format!("failed: {error} (hint: {hint})"),
        EventKind::Failed { error, hint: None } => format!("failed: {error}"),
        EventKind::Returned => "given back".to_owned(),
        EventKind::Output { .. } | EventKind::Finished { .. } => return None,
    })
}

fn waiting(sessions: u64, queue: u64, connections: Option<u64>, eta: Option<Duration>, waited: Duration) -> String {
    let mut text = format!("{sessions} session{} left", if sessions == 1 { "" } else { "s" });
    if queue > 0 {
        text.push_str(&format!(", {queue} queued"));
    }
    if let Some(connections) = connections.filter(|c| *c > sessions) {
        text.push_str(&format!(", {connections} connections in use"));
    }
    text.push_str(&format!(", waited {}", show_duration(waited)));
    match eta {
        Some(eta) => text.push_str(&format!(", about {} to go", show_duration(eta))),
        None => text.push_str(", no end in sight yet"),
    }
    text
}
