//! A plan in words: what would be sent where, and what the guards say.

use super::agent_text;
use super::output::{Cell, Tone};
use super::printer::Block;
use super::vip_text;
use crate::config::ConfirmLevel;
use crate::config::duration::show_duration;
use crate::ops::{Judgement, Plan, Step};

pub fn blocks(plan: &Plan) -> Vec<Block> {
    let mut head = vec![vec![Cell::plain(&plan.summary)]];
    if let Some(reason) = &plan.request.reason {
        head.push(vec![Cell::plain(format!("reason: {reason}"))]);
    }
    if let Some(lease) = plan.request.lease {
        head.push(vec![Cell::plain(format!("given back after {}", show_duration(lease)))]);
    }
    let mut blocks = vec![Block::Lines(head)];
    if let Some(exec) = &plan.exec {
        let argv = exec.argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        let line = |node| vec![Cell::plain(format!("  {node}:")), Cell::plain(&argv)];
        blocks.push(Block::Lines(exec.nodes.iter().map(line).collect()));
    }
    if let Some(agent) = &plan.agent {
        blocks.push(Block::Lines(agent_text::lines(agent)));
    }
    if let Some(vip) = &plan.vip {
        blocks.push(Block::Lines(vip_text::lines(vip)));
    }
    if !plan.steps.is_empty() {
        blocks.push(Block::Lines(plan.steps.iter().flat_map(step).collect()));
    }
    let mut guards: Vec<Vec<Cell>> =
        plan.verdicts.iter().map(|v| vec![judgement(v.judgement), Cell::plain(format!("{}: {}", v.guard, v.text))]).collect();
    let ask = match plan.confirm {
        ConfirmLevel::None => None,
        ConfirmLevel::Ask => Some("asks for a yes (--yes)".to_owned()),
        ConfirmLevel::Typed => Some(format!("asks for '{}' to be typed (--confirm '{}')", plan.confirm_word, plan.confirm_word)),
    };
    guards.extend(ask.map(|text| vec![Cell::new(format!("{:7}", "CONFIRM"), Tone::Dim), Cell::plain(text)]));
    if !guards.is_empty() {
        blocks.push(Block::Lines(guards));
    }
    blocks
}

fn step(step: &Step) -> Vec<Vec<Cell>> {
    let mut lines = vec![vec![
        Cell::plain(format!("{}: {}: {}", step.node, step.target, step.change)),
        Cell::new(format!("(now {})", step.now), Tone::Dim),
    ]];
    if step.already {
        lines.push(vec![Cell::new("    nothing to send: it holds already", Tone::Dim)]);
    }
    for command in &step.commands {
        lines.push(vec![Cell::plain(format!("    > {command}"))]);
    }
    if !step.inverse.is_empty() {
        let inverse = step.inverse.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        lines.push(vec![Cell::new(format!("    given back by: {inverse}"), Tone::Dim)]);
    }
    if step.lost_on_reload {
        lines.push(vec![Cell::new("    lost on next reload", Tone::Warn)]);
    }
    lines
}

fn judgement(judgement: Judgement) -> Cell {
    let (word, tone) = match judgement {
        Judgement::Ok => ("OK", Tone::Good),
        Judgement::Warn => ("WARN", Tone::Warn),
        Judgement::Refuse => ("REFUSE", Tone::Bad),
        Judgement::Never => ("NEVER", Tone::Bad),
    };
    Cell::new(format!("{word:7}"), tone)
}

/// One word of argv, so that words with blanks can be told apart.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
