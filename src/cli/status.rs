//! `lbdeck status`: what is wrong, gravest first, then the fleet in a few lines.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::ask::ask_nodes;
use super::context::{Context, Look, Origin, looked, told};
use super::failure::Result;
use super::output::{Cell, Output, Tone};
use super::printer::Block;
use super::select::NodeSelect;
use crate::collect::problems::{Facts, Finding, Severity, find};
use crate::config::duration::show_duration;
use crate::model::{Certificate, Exit, FleetView, Health, NodeName, NodeView};
use crate::store::Lease;

#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  every node was read, whatever its problems
  1  a node could not be read; what is known of the others is printed

Examples:
  lbdeck status
  lbdeck status --zone eu-1 --certificates
  lbdeck status -o json | jq -e '[.items[].problems[] | select(.severity == \"critical\")] | length == 0'")]
pub struct StatusArgs {
    /// Read certificates too, and tell which end soon
    #[arg(long)]
    certificates: bool,

    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
struct Status<'a> {
    problems: &'a [Finding],
    summary: Summary,
}

#[derive(Serialize, Default)]
struct Summary {
    nodes: usize,
    nodes_fresh: usize,
    nodes_stale: usize,
    nodes_dead: usize,
    engines: Vec<String>,
    pools: usize,
    /// Distinct servers, by pool and name.
    servers: usize,
    /// Servers counted once a node, and how many of those take new traffic.
    cells: usize,
    cells_serving: usize,
    /// Over the frontends of all nodes.
    sessions: u64,
    rate: u64,
    leases_open: usize,
    oldest_age_ms: u64,
    sources: Vec<String>,
}

impl StatusArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        // Side by side: a node that hangs is waited for once.
        let app = context.selected_app(&self.nodes)?;
        let (view, (leases, unlisted)) = tokio::join!(app.collector.observe_once(), app.ops.leases_listed());
        let mut look = Look { app, view };
        if self.certificates {
            with_certificates(context, &mut look).await;
        }
        // Reading must not fail with the store; but then it cannot know what a killed run left.
        let unfinished = look.app.ops.unfinished().unwrap_or_else(|error| {
            context.printer.warn(&format!("operations that were left unfinished are not known: {error}"));
            context.printer.hint(&error.hint());
            Vec::new()
        });
        let problems = find(&Facts {
            view: &look.view,
            fleet: &look.app.fleet,
            leases: &leases,
            unfinished: &unfinished,
            now: Timestamp::now(),
        });
        let summary = summary(&look, &leases);
        let unread = look.unread();
        match context.printer.output {
            Output::Csv => context.printer.list("problems", &problems, &[], &unread)?,
            _ => {
                let blocks = [problem_lines(&problems), summary_lines(&summary)];
                let status = Status { problems: &problems, summary };
                context.printer.show("status", &[status], &blocks, told(&context.printer, &unread))?;
            }
        }
        // Behind the problems; of a node that could not be read at all they tell enough.
        for (node, problem) in unlisted.iter().filter(|(node, _)| !unread.iter().any(|u| u.node == *node)) {
            context.printer.warn(&format!("leases of {node} are not known: {}", problem.what));
        }
        Ok(looked(&unread))
    }
}

/// Reads the certificates of each node into the picture.
async fn with_certificates(context: &Context, look: &mut Look) {
    let collector = &look.app.collector;
    let (answers, _) = ask_nodes(look, |node| async move { Ok((node.clone(), collector.certificates(node).await)) }).await;
    let mut known: Vec<(NodeName, Vec<Certificate>)> = Vec::new();
    for (_, (node, answer)) in answers {
        match answer {
            Ok(certificates) => known.push((node, certificates)),
            Err(problem) => context.printer.warn(&format!("certificates of {node} are not known: {}", problem.what)),
        }
    }
    let nodes = look.view.nodes.iter().map(|node| {
        let (Some(obs), Some((_, certificates))) = (node.last.as_deref(), known.iter().find(|(name, _)| *name == node.meta.name))
        else {
            return node.clone();
        };
        let mut obs = obs.clone();
        obs.certificates = Some(certificates.clone());
        Arc::new(NodeView { last: Some(Arc::new(obs)), ..NodeView::clone(node) })
    });
    look.view = Arc::new(FleetView { at: look.view.at, now: look.view.now, nodes: nodes.collect() });
}

fn summary(look: &Look, leases: &[Lease]) -> Summary {
    let count = |health: Health| look.view.nodes.iter().filter(|n| n.health == health).count();
    let mut summary = Summary {
        nodes: look.view.nodes.len(),
        nodes_fresh: count(Health::Fresh),
        nodes_stale: count(Health::Stale),
        nodes_dead: count(Health::Dead) + count(Health::Connecting),
        pools: look.view.pool_names().len(),
        servers: look.view.server_refs().len(),
        leases_open: leases.iter().filter(|l| l.is_open()).count(),
        ..Summary::default()
    };
    for (node, obs) in look.fresh() {
        let servers = || obs.pools.iter().flat_map(|p| &p.servers);
        summary.cells += servers().count();
        summary.cells_serving += servers().filter(|s| s.is_serving()).count();
        summary.sessions += obs.frontends.iter().map(|f| u64::from(f.gauges.sessions)).sum::<u64>();
        summary.rate += obs.frontends.iter().map(|f| u64::from(f.gauges.rate)).sum::<u64>();
        summary.oldest_age_ms = summary.oldest_age_ms.max(Origin::new(node, obs).age_ms);
        add(&mut summary.engines, format!("{} {}", obs.engine.kind.label(), obs.engine.version));
        add(&mut summary.sources, obs.source.split_whitespace().next().unwrap_or_default().to_owned());
    }
    summary
}

fn add(set: &mut Vec<String>, word: String) {
    if !set.contains(&word) {
        set.push(word);
    }
}

fn problem_lines(problems: &[Finding]) -> Block {
    if problems.is_empty() {
        return Block::Lines(vec![vec![Cell::new("no problems", Tone::Good)]]);
    }
    let mut lines = Vec::new();
    for problem in problems {
        let tone = match problem.severity {
            Severity::Critical => Tone::Bad,
            Severity::Warning => Tone::Warn,
            Severity::Notice => Tone::Dim,
        };
        lines.push(vec![
            Cell::new(format!("{:8}", problem.severity.label().to_uppercase()), tone),
            Cell::new(format!("{}:", problem.kind.label()), tone),
            Cell::plain(format!("{}: {}", problem.subject, problem.text)),
        ]);
        if let Some(hint) = &problem.hint {
            lines.push(vec![Cell::plain(" ".repeat(8)), Cell::new(format!("hint: {hint}"), Tone::Dim)]);
        }
    }
    Block::Lines(lines)
}

fn summary_lines(s: &Summary) -> Block {
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let mut nodes = format!("{}: {} fresh", plural(s.nodes, "node"), s.nodes_fresh);
    for (n, word) in [(s.nodes_stale, "stale"), (s.nodes_dead, "dead")] {
        if n > 0 {
            nodes.push_str(&format!(", {n} {word}"));
        }
    }
    if !s.engines.is_empty() {
        nodes.push_str(&format!(" ({})", s.engines.join(", ")));
    }
    let mut lines = vec![vec![Cell::plain(nodes)]];
    if s.nodes_fresh > 0 {
        lines.push(vec![Cell::plain(format!(
            "{}, {}; serving {} of {} on the nodes",
            plural(s.pools, "pool"),
            plural(s.servers, "server"),
            s.cells_serving,
            s.cells
        ))]);
        lines.push(vec![Cell::plain(format!(
            "{} sessions, {}/s new; {}",
            s.sessions,
            s.rate,
            plural(s.leases_open, "open lease")
        ))]);
        let age = show_duration(std::time::Duration::from_millis(s.oldest_age_ms));
        lines.push(vec![Cell::new(format!("oldest reading {age} ago, by {}", s.sources.join(", ")), Tone::Dim)]);
    }
    Block::Lines(lines)
}
