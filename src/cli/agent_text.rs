//! The plan for agents in words: for each node every file, its bytes and sums, every argv, and the way back.

use std::collections::BTreeSet;

use super::output::{Cell, Tone};
use crate::ops::agent::plan::AgentPlan;
use crate::ops::agent::{Action, NodeProgram};

pub fn lines(agent: &AgentPlan) -> Vec<Vec<Cell>> {
    let mut lines = Vec::new();
    if let Some(binary) = &agent.request.binary {
        let linkage = if binary.elf.is_static { "static" } else { "dynamic" };
        lines.push(vec![Cell::plain(format!(
            "binary {}: {} bytes, {}, {linkage}, sha256 {}",
            binary.file.display(),
            binary.bytes,
            binary.elf.machine,
            binary.sha256
        ))]);
    }
    lines.push(vec![Cell::plain(format!("at most {} at once", crate::ops::planner::counted(agent.at_once, "node")))]);
    // Files are shown once: most nodes get the same.
    let mut shown = BTreeSet::new();
    for node in &agent.nodes {
        lines.extend(program(node, &mut shown));
    }
    lines
}

fn program(node: &NodeProgram, shown: &mut BTreeSet<String>) -> Vec<Vec<Cell>> {
    let mut lines = vec![vec![Cell::plain(format!("{}:", node.node)), Cell::new(format!("(now {})", node.now), Tone::Dim)]];
    for note in &node.notes {
        lines.push(vec![Cell::new(format!("    note: {note}"), Tone::Warn)]);
    }
    if node.steps.is_empty() {
        lines.push(vec![Cell::new("    nothing to do", Tone::Dim)]);
    }
    for step in &node.steps {
        lines.push(vec![Cell::plain(format!("    > {}", step.action))]);
        if let Action::Write { text, sha256, .. } = &step.action
            && shown.insert(sha256.clone())
        {
            lines.extend(text.lines().map(|l| vec![Cell::new(format!("      | {l}"), Tone::Dim)]));
        }
        for undo in &step.undo {
            lines.push(vec![Cell::new(format!("      taken back by: {undo}"), Tone::Dim)]);
        }
    }
    lines
}
