//! All pools over all nodes: how many servers serve where it is worst, what they carry, where nodes disagree.

use crate::model::PoolName;
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::state::index::{Index, PoolLine};
use crate::tui::theme::Tone;

impl Row for PoolLine {
    fn key(&self) -> Key {
        Key::Pool(self.pool.clone())
    }
    fn search(&self, into: &mut String) {
        for word in [self.pool.as_str(), &self.mode, &self.algorithm, &self.classes.text()] {
            into.push_str(word);
            into.push(' ');
        }
    }
    fn stale(&self) -> bool {
        self.nodes == 0
    }
    fn marked(&self) -> bool {
        self.disagreements > 0
    }
}

fn nodes(fresh: u32, stale: u32) -> Cell {
    match stale {
        0 => Cell::plain(fresh.to_string()),
        _ => Cell::new(format!("{fresh}+{stale}?"), Tone::Warn),
    }
}

const COLUMNS: &[Column<PoolLine>] = &[
    Column::left("POOL", (8, 28), 0, |r, _| Cell::name(r.pool.as_str()), |a, b| natural(a.pool.as_str(), b.pool.as_str())),
    Column::left(
        "SERVERS",
        (7, 34),
        0,
        |r, _| Cell::new(r.classes.text(), r.classes.tone()),
        |a, b| b.classes.worst().cmp(&a.classes.worst()),
    ),
    Column::right(
        "FEWEST UP",
        (9, 9),
        1,
        |r, _| match r.fewest {
            None => Cell::dim("-"),
            Some((up, of)) => {
                let tone = match up {
                    0 => Tone::Bad,
                    _ if up == of => Tone::Plain,
                    _ => Tone::Warn,
                };
                Cell::new(format!("{up}/{of}"), tone)
            }
        },
        |a, b| {
            let share = |r: &PoolLine| r.fewest.map(|(up, of)| u64::from(up) * 1_000_000 / u64::from(of.max(1)));
            share(a).cmp(&share(b))
        },
    ),
    Column::right("NODES", (5, 8), 2, |r, _| nodes(r.nodes, r.stale_nodes), |a, b| a.nodes.cmp(&b.nodes)),
    Column::right("SESS", (5, 7), 1, |r, _| Cell::count(r.sessions), |a, b| a.sessions.cmp(&b.sessions)),
    Column::right("RATE/s", (6, 7), 1, |r, _| Cell::count(r.rate), |a, b| a.rate.cmp(&b.rate)),
    Column::right("QUEUE", (5, 6), 2, |r, _| Cell::fault(r.queue), |a, b| a.queue.cmp(&b.queue)),
    Column::right("ms", (4, 6), 3, |r, _| Cell::optional(r.latency_ms.map(u64::from)), |a, b| a.latency_ms.cmp(&b.latency_ms)),
    Column::right("ERRORS", (6, 7), 4, |r, _| Cell::fault(r.errors), |a, b| a.errors.cmp(&b.errors)),
    Column::right("5xx", (4, 7), 4, |r, _| Cell::fault(r.http_5xx), |a, b| a.http_5xx.cmp(&b.http_5xx)),
    Column::right(
        "DIFFER",
        (6, 6),
        3,
        |r, _| match r.disagreements {
            0 => Cell::dim("-"),
            n => Cell::new(format!("≠ {n}"), Tone::Warn),
        },
        |a, b| a.disagreements.cmp(&b.disagreements),
    ),
    Column::left(
        "RELOAD",
        (7, 8),
        5,
        |r, _| if r.drift { Cell::new("⟲ loses", Tone::Warn) } else { Cell::dim("-") },
        |a, b| a.drift.cmp(&b.drift),
    ),
    Column::left("MODE", (4, 6), 6, |r, _| Cell::plain(r.mode.to_string()), |a, b| a.mode.cmp(&b.mode)),
    Column::left("BALANCE", (7, 20), 7, |r, _| Cell::plain(r.algorithm.to_string()), |a, b| a.algorithm.cmp(&b.algorithm)),
];

pub fn grid(index: &Index) -> Listing<PoolLine> {
    Listing { columns: COLUMNS, rows: index.pools.clone() }
}

/// What the operator's rules say of a pool, for the line above its servers.
pub fn rules(fleet: &crate::config::Fleet, pool: &PoolName) -> Option<String> {
    let policy = fleet.policy(pool)?;
    let mut words = Vec::new();
    match policy.min_healthy {
        Some(crate::config::MinHealthy::Count(n)) => words.push(format!("min healthy {n}")),
        Some(crate::config::MinHealthy::Percent(p)) => words.push(format!("min healthy {p}%")),
        None => {}
    }
    if policy.read_only {
        words.push("read-only".to_owned());
    }
    match policy.confirm {
        Some(crate::config::ConfirmLevel::Typed) => words.push("confirm by typing".to_owned()),
        Some(crate::config::ConfirmLevel::Ask) => words.push("confirm".to_owned()),
        Some(crate::config::ConfirmLevel::None) | None => {}
    }
    (!words.is_empty()).then(|| words.join(" · "))
}
