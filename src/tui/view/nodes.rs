//! All nodes: can they be believed, how old is what they said, how much they carry.

use std::sync::Arc;

use crate::config::duration::show_duration;
use crate::model::{Health, NodeView, SocketLevel};
use crate::tui::state::class::{Class, Classes, health_tone, health_word};
use crate::tui::state::grid::{Cell, Column, Ctx, Key, Listing, Row, natural};
use crate::tui::state::sums::NodeSums;
use crate::tui::theme::Tone;

pub struct NodeLine {
    node: Arc<NodeView>,
    sums: NodeSums,
}

impl Row for NodeLine {
    fn key(&self) -> Key {
        Key::Node(self.node.meta.name.clone())
    }
    fn search(&self, into: &mut String) {
        let meta = &self.node.meta;
        into.push_str(meta.name.as_str());
        for word in [Some(&meta.address), meta.zone.as_ref(), meta.role.as_ref()].into_iter().flatten().chain(&meta.tags) {
            into.push(' ');
            into.push_str(word);
        }
        into.push(' ');
        into.push_str(health_word(self.node.health));
        if let Some(problem) = &self.node.problem {
            into.push(' ');
            into.push_str(&problem.what);
        }
    }
    fn stale(&self) -> bool {
        self.node.health != Health::Fresh
    }
}

const fn rank(health: Health) -> u8 {
    match health {
        Health::Dead => 0,
        Health::Stale => 1,
        Health::Connecting => 2,
        Health::Fresh => 3,
    }
}

pub const fn level_word(level: SocketLevel) -> &'static str {
    match level {
        SocketLevel::Unknown => "?",
        SocketLevel::User => "user",
        SocketLevel::Operator => "operator",
        SocketLevel::Admin => "admin",
        SocketLevel::StatsReadOnly => "stats page",
        SocketLevel::StatsAdmin => "stats admin",
    }
}

/// Age of what is shown of a node, worded so that old data cannot be taken for new.
pub fn age(node: &NodeView, ctx: &Ctx<'_>) -> Cell {
    match node.age(ctx.now) {
        None => Cell::dim("never"),
        Some(age) => {
            let tone = if node.health == Health::Fresh { Tone::Dim } else { health_tone(node.health) };
            let tenths = age.as_millis() / 100;
            let text = if tenths < 100 { format!("{}.{}s", tenths / 10, tenths % 10) } else { show_duration(age) };
            Cell::new(text, tone)
        }
    }
}

/// Youngest reading first; nodes that were never read before all others.
pub fn by_age(a: &NodeView, b: &NodeView) -> std::cmp::Ordering {
    let seen = |node: &NodeView| node.last.as_ref().map(|o| std::cmp::Reverse(o.seen));
    seen(a).cmp(&seen(b))
}

fn classes(sums: &NodeSums) -> &Classes {
    &sums.classes
}

const COLUMNS: &[Column<NodeLine>] = &[
    Column::left(
        "NODE",
        (8, 24),
        0,
        |r, _| Cell::name(r.node.meta.name.as_str()),
        |a, b| natural(a.node.meta.name.as_str(), b.node.meta.name.as_str()),
    ),
    Column::left(
        "STATE",
        (7, 12),
        0,
        |r, _| Cell::new(health_word(r.node.health), health_tone(r.node.health)),
        |a, b| rank(a.node.health).cmp(&rank(b.node.health)),
    ),
    Column::right("AGE", (5, 7), 0, |r, ctx| age(&r.node, ctx), |a, b| by_age(&a.node, &b.node)),
    Column::right(
        "UP",
        (5, 9),
        1,
        |r, _| {
            let (up, of) = (classes(&r.sums).serving(), classes(&r.sums).total());
            Cell::new(format!("{up}/{of}"), if up == of { Tone::Plain } else { Tone::Warn })
        },
        |a, b| classes(&a.sums).serving().cmp(&classes(&b.sums).serving()),
    ),
    Column::right(
        "DOWN",
        (4, 5),
        2,
        |r, _| {
            let down = classes(&r.sums).count(Class::Down);
            Cell::new(down.to_string(), if down == 0 { Tone::Dim } else { Tone::Bad })
        },
        |a, b| classes(&a.sums).count(Class::Down).cmp(&classes(&b.sums).count(Class::Down)),
    ),
    Column::right(
        "HELD",
        (4, 5),
        4,
        |r, _| {
            let held = r.sums.classes.held();
            Cell::new(held.to_string(), if held == 0 { Tone::Dim } else { Tone::Held })
        },
        |a, b| a.sums.classes.held().cmp(&b.sums.classes.held()),
    ),
    Column::right("SESS", (5, 7), 1, |r, _| Cell::count(r.sums.sessions), |a, b| a.sums.sessions.cmp(&b.sums.sessions)),
    Column::right("RATE/s", (6, 7), 1, |r, _| Cell::count(r.sums.rate), |a, b| a.sums.rate.cmp(&b.sums.rate)),
    Column::right("QUEUE", (5, 6), 3, |r, _| Cell::fault(r.sums.queue), |a, b| a.sums.queue.cmp(&b.sums.queue)),
    Column::left(
        "ZONE",
        (4, 12),
        3,
        |r, _| Cell::plain(r.node.meta.zone.clone().unwrap_or_default()),
        |a, b| a.node.meta.zone.cmp(&b.node.meta.zone),
    ),
    Column::left(
        "ROLE",
        (4, 12),
        7,
        |r, _| Cell::plain(r.node.meta.role.clone().unwrap_or_default()),
        |a, b| a.node.meta.role.cmp(&b.node.meta.role),
    ),
    Column::left(
        "ENGINE",
        (7, 22),
        5,
        |r, _| match &r.node.last {
            Some(o) => Cell::plain(format!("{} {}", o.engine.kind.label(), o.engine.version)),
            None => Cell::dim("-"),
        },
        |a, b| {
            let version = |r: &NodeLine| r.node.last.as_ref().map(|o| (o.engine.release, o.engine.version.clone()));
            version(a).cmp(&version(b))
        },
    ),
    Column::right(
        "UPTIME",
        (6, 7),
        7,
        |r, _| Cell::duration(r.node.last.as_ref().and_then(|o| o.engine.uptime)),
        |a, b| {
            let uptime = |r: &NodeLine| r.node.last.as_ref().and_then(|o| o.engine.uptime);
            uptime(a).cmp(&uptime(b))
        },
    ),
    Column::left(
        "LEVEL",
        (5, 11),
        6,
        |r, _| Cell::plain(r.node.last.as_ref().map_or("-", |o| level_word(o.engine.level))),
        |a, b| {
            let level = |r: &NodeLine| r.node.last.as_ref().map(|o| level_word(o.engine.level));
            level(a).cmp(&level(b))
        },
    ),
    Column::right(
        "READ",
        (4, 6),
        8,
        |r, _| Cell::duration(r.node.last.as_ref().map(|o| o.took)),
        |a, b| {
            let took = |r: &NodeLine| r.node.last.as_ref().map(|o| o.took);
            took(a).cmp(&took(b))
        },
    ),
    Column::left(
        "PROBLEM OR SOURCE",
        (17, 90),
        4,
        |r, _| match (&r.node.problem, &r.node.last) {
            (Some(problem), _) => Cell::new(problem.what.clone(), Tone::Warn),
            (None, Some(o)) => Cell::dim(o.source.to_string()),
            (None, None) => Cell::dim("connecting"),
        },
        |a, b| {
            let text = |r: &NodeLine| r.node.problem.as_ref().map(|p| p.what.clone());
            text(b).cmp(&text(a))
        },
    ),
];

pub fn grid(lines: &[(Arc<NodeView>, NodeSums)]) -> Listing<NodeLine> {
    let rows = lines.iter().map(|(node, sums)| NodeLine { node: node.clone(), sums: *sums }).collect();
    Listing { columns: COLUMNS, rows }
}
