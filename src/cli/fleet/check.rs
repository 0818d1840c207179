//! `lbdeck fleet check`: what stands in the way of working with the fleet, and how to mend it.

use std::collections::BTreeMap;

use clap::Args;

use super::progress::Progress;
use crate::app::{Prompting, survey};
use crate::cli::context::{Context, keep};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Output, Tone};
use crate::cli::printer::Block;
use crate::cli::select::NodeSelect;
use crate::collect::check::{Finding, Level};
use crate::model::Exit;

#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 nothing fails, 1 something fails on a node, 2 the fleet file is invalid

Examples:
  lbdeck fleet check
  lbdeck fleet check --zone eu-1 -o wide           with everything that is well
  lbdeck fleet check -o json | jq '.items[] | select(.level == \"fail\")'")]
pub struct CheckArgs {
    #[command(flatten)]
    nodes: NodeSelect,
}

impl CheckArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let mut fleet = context.fleet()?;
        keep(&mut fleet, &self.nodes)?;
        let findings = {
            let progress = Progress::new(context, "checked", fleet.nodes.len());
            survey::check(fleet, Prompting::Terminal, |node| progress.done(node)).await
        };
        self.print(context, &findings)?;
        let count = |level| findings.iter().filter(|f| f.level == level).count();
        let (fails, warnings) = (count(Level::Fail), count(Level::Warn));
        context.printer.talk(&format!("{fails} failed, {warnings} to know, {} well", count(Level::Ok)));
        Ok(if fails > 0 { Exit::Failed } else { Exit::Ok })
    }

    fn print(&self, context: &Context, findings: &[Finding]) -> Result<()> {
        let mut findings = findings.to_vec();
        match context.printer.output {
            Output::Table | Output::Wide => {
                context.printer.show("findings", &findings, &blocks(&findings, context.printer.output == Output::Wide), &[])
            }
            Output::Json | Output::Yaml | Output::Csv => {
                findings.sort_by_key(|f| f.level);
                context.printer.list("findings", &findings, &columns(), &[])
            }
        }
    }
}

fn columns() -> Vec<Column<'static, Finding>> {
    vec![
        Column::left("LEVEL", |f: &Finding| level_cell(f.level)),
        Column::left("NODE", |f: &Finding| Cell::opt(f.node.as_ref())),
        Column::left("CHECK", |f: &Finding| Cell::plain(f.check)),
        Column::left("FINDING", |f: &Finding| Cell::plain(&f.text)),
        Column::left("REMEDY", |f: &Finding| Cell::opt(f.remedy.as_ref())),
    ]
}

fn level_cell(level: Level) -> Cell {
    match level {
        Level::Fail => Cell::new("FAIL", Tone::Bad),
        Level::Warn => Cell::new("warn", Tone::Warn),
        Level::Ok => Cell::new("ok", Tone::Good),
    }
}

/// A block a node, those with problems first. What is well takes one line, unless `all` is asked for.
fn blocks(findings: &[Finding], all: bool) -> Vec<Block> {
    let mut order: Vec<&str> = Vec::new();
    let mut of: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        let node = finding.node.as_ref().map_or("fleet", |n| n.as_str());
        if !of.contains_key(node) {
            order.push(node);
        }
        of.entry(node).or_default().push(finding);
    }
    let gravest = |node: &str| of.get(node).and_then(|f| f.iter().map(|f| f.level).min()).unwrap_or(Level::Ok);
    order.sort_by_key(|node| gravest(node));
    let (mut blocks, mut well) = (Vec::new(), Vec::new());
    for node in order {
        let mut found = of.get(node).cloned().unwrap_or_default();
        found.sort_by_key(|f| f.level);
        if gravest(node) == Level::Ok && !all {
            well.push((node.to_owned(), Cell::new(checks(&found), Tone::Good)));
        } else {
            blocks.push(Block::Pairs { title: node.to_owned(), pairs: pairs(&found, all) });
        }
    }
    if !well.is_empty() {
        blocks.push(Block::Pairs { title: "nothing to mend".to_owned(), pairs: well });
    }
    blocks
}

fn pairs(found: &[&Finding], all: bool) -> Vec<(String, Cell)> {
    let mut pairs = Vec::new();
    for finding in found.iter().filter(|f| all || f.level != Level::Ok) {
        let level = level_cell(finding.level);
        pairs.push((format!("{:4} {}", level.text, finding.check), Cell::new(&finding.text, level.tone)));
        if let Some(remedy) = &finding.remedy {
            pairs.push((String::new(), Cell::plain(format!("mend: {remedy}"))));
        }
    }
    let well: Vec<&Finding> = found.iter().copied().filter(|f| f.level == Level::Ok).collect();
    if !all && !well.is_empty() {
        pairs.push(("ok".to_owned(), Cell::new(checks(&well), Tone::Good)));
    }
    pairs
}

fn checks(found: &[&Finding]) -> String {
    found.iter().map(|f| f.check).collect::<Vec<_>>().join(", ")
}
