//! Moves of VIPs in words: which command goes where, what a file gets, how much it costs.

use super::output::{Cell, Tone};
use crate::ops::vip::{VipMove, VipPlan, Way};

pub fn lines(plan: &VipPlan) -> Vec<Vec<Cell>> {
    let mut lines: Vec<Vec<Cell>> = plan.already.iter().map(|text| vec![Cell::new(text, Tone::Dim)]).collect();
    lines.extend(plan.moves.iter().flat_map(of_move));
    lines
}

fn of_move(m: &VipMove) -> Vec<Vec<Cell>> {
    let vips = m.vips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let head = match m.way {
        Way::OnlyPriority => format!("{}: {}", m.from, m.way.words()),
        _ => format!("{vips}: from {} to {}: {}", m.from, m.to, m.way.words()),
    };
    let mut lines = vec![vec![Cell::plain(head), Cell::new(format!("({})", m.instances.join(", ")), Tone::Dim)]];
    for action in &m.actions {
        lines.push(vec![
            Cell::plain(format!("    {}> {action}", action.node)),
            Cell::new(format!("  {}", action.what), Tone::Dim),
        ]);
    }
    lines.extend(m.diff.iter().map(|line| vec![Cell::new(format!("    {line}"), Tone::Good)]));
    lines
}
