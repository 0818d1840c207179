//! How an operation ended: a row a node and target, what to do next.

use std::collections::BTreeMap;

use serde::Serialize;

use super::failure::Result;
use super::output::{Cell, Column, Output, Tone};
use super::printer::Printer;
use crate::model::{Exit, NodeName};
use crate::ops::{Event, EventKind, NodeOutcome, NodeResult, Outcome};

/// What commands on the nodes wrote (exec); empty for everything else.
#[derive(Debug, Default)]
pub struct Outputs(BTreeMap<NodeName, Lines>);

#[derive(Debug, Default, Serialize)]
struct Lines {
    stdout: Vec<String>,
    stderr: Vec<String>,
}

impl Outputs {
    pub fn gather(&mut self, event: &Event) {
        if let (EventKind::Output { stream, line }, Some(node)) = (&event.kind, &event.node) {
            let lines = self.0.entry(node.clone()).or_default();
            if *stream == "stderr" { &mut lines.stderr } else { &mut lines.stdout }.push(line.clone());
        }
    }
}

#[derive(Serialize)]
pub struct Report {
    operation: i64,
    #[serde(flatten)]
    pub outcome: Outcome,
    exit_code: u8,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    outputs: BTreeMap<NodeName, Lines>,
}

impl Report {
    pub fn new(operation: i64, outcome: Outcome, outputs: Outputs) -> Self {
        Self { operation, exit_code: outcome.exit.code(), outcome, outputs: outputs.0 }
    }

    pub fn print(&self, printer: &Printer) -> Result<()> {
        let outcome = &self.outcome;
        match printer.output {
            Output::Json | Output::Yaml => return printer.show("outcome", &[self], &[], &[]),
            // What the nodes wrote is on stdout already.
            Output::Table | Output::Wide | Output::Csv if !self.outputs.is_empty() => {
                for node in outcome.nodes.iter().filter(|n| !good(n.result)) {
                    printer.warn(&format!("{}: {}", node.node, node.text));
                }
            }
            Output::Table | Output::Wide | Output::Csv => {
                if !outcome.nodes.is_empty() {
                    printer.list("outcomes", &outcome.nodes, &columns(), &[])?;
                }
            }
        }
        match outcome.exit {
            Exit::Ok => printer.talk(&outcome.summary),
            _ => printer.warn(&outcome.summary),
        }
        for next in &outcome.next {
            printer.hint(next);
        }
        Ok(())
    }
}

fn good(result: NodeResult) -> bool {
    matches!(result, NodeResult::Done | NodeResult::Already | NodeResult::Returned)
}

fn word(result: NodeResult) -> &'static str {
    match result {
        NodeResult::Done => "done",
        NodeResult::Already => "already",
        NodeResult::NotDrained => "NOT DRAINED",
        NodeResult::Unreachable => "UNREACHABLE",
        NodeResult::Failed => "FAILED",
        NodeResult::Returned => "returned",
        NodeResult::NotStarted => "NOT STARTED",
    }
}

type Col<'a> = Column<'a, NodeOutcome>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("NODE", |n| Cell::plain(&n.node)),
        Col::left("TARGET", |n| Cell::opt(n.target.as_ref())),
        Col::left("RESULT", |n| match &n.unseen {
            Some(_) if good(n.result) => Cell::new("NOT PROVEN", Tone::Warn),
            _ => Cell::new(word(n.result), if good(n.result) { Tone::Good } else { Tone::Bad }),
        }),
        Col::left("DETAIL", |n| Cell::plain(&n.text)),
    ]
}
