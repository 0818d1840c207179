//! Frontends over all nodes: one row a name.

use std::collections::BTreeMap;

use crate::model::{FleetView, Health, StatusWord};
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::theme::Tone;

#[derive(Default)]
pub struct Line {
    name: Box<str>,
    mode: Box<str>,
    open: u32,
    other: u32,
    stale: u32,
    words: Vec<String>,
    sessions: u64,
    limit: u64,
    rate: u64,
    requests: u64,
    errors: u64,
    http_5xx: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Row for Line {
    fn key(&self) -> Key {
        Key::Frontend(self.name.clone())
    }
    fn search(&self, into: &mut String) {
        into.push_str(&self.name);
        into.push(' ');
        into.push_str(&self.mode);
        for word in &self.words {
            into.push(' ');
            into.push_str(word);
        }
    }
    fn stale(&self) -> bool {
        self.open + self.other == 0
    }
    fn marked(&self) -> bool {
        self.open > 0 && self.other > 0
    }
}

fn state(line: &Line) -> Cell {
    match (line.open, line.other) {
        (0, 0) => Cell::dim("~ old data"),
        (_, 0) => Cell::new("● OPEN", Tone::Ok),
        (0, _) => Cell::new(format!("■ {}", line.words.join(" ")), Tone::Held),
        (open, other) => Cell::new(format!("■ {other} {} {open} OPEN", line.words.join(" ")), Tone::Warn),
    }
}

const COLUMNS: &[Column<Line>] = &[
    Column::left("FRONTEND", (8, 34), 0, |r, _| Cell::name(&r.name), |a, b| natural(&a.name, &b.name)),
    Column::left("STATE", (8, 24), 0, |r, _| state(r), |a, b| b.other.cmp(&a.other)),
    Column::right(
        "NODES",
        (5, 8),
        1,
        |r, _| match r.stale {
            0 => Cell::plain((r.open + r.other).to_string()),
            n => Cell::new(format!("{}+{n}?", r.open + r.other), Tone::Warn),
        },
        |a, b| (a.open + a.other).cmp(&(b.open + b.other)),
    ),
    Column::right("SESS", (4, 7), 0, |r, _| Cell::count(r.sessions), |a, b| a.sessions.cmp(&b.sessions)),
    Column::right("LIMIT", (5, 7), 3, |r, _| Cell::count(r.limit), |a, b| a.limit.cmp(&b.limit)),
    Column::right("RATE/s", (6, 7), 1, |r, _| Cell::count(r.rate), |a, b| a.rate.cmp(&b.rate)),
    Column::right("REQ/s", (5, 7), 1, |r, _| Cell::count(r.requests), |a, b| a.requests.cmp(&b.requests)),
    Column::right("ERRORS", (6, 7), 2, |r, _| Cell::fault(r.errors), |a, b| a.errors.cmp(&b.errors)),
    Column::right("5xx", (4, 7), 2, |r, _| Cell::fault(r.http_5xx), |a, b| a.http_5xx.cmp(&b.http_5xx)),
    Column::right("BYTES IN", (8, 8), 4, |r, _| Cell::count(r.bytes_in), |a, b| a.bytes_in.cmp(&b.bytes_in)),
    Column::right("OUT", (6, 8), 4, |r, _| Cell::count(r.bytes_out), |a, b| a.bytes_out.cmp(&b.bytes_out)),
    Column::left("MODE", (4, 6), 5, |r, _| Cell::plain(r.mode.to_string()), |a, b| a.mode.cmp(&b.mode)),
];

pub fn grid(view: &FleetView) -> Listing<Line> {
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    for node in &view.nodes {
        let Some(obs) = &node.last else { continue };
        for frontend in &obs.frontends {
            let line = lines.entry(&frontend.name).or_insert_with(|| Line {
                name: frontend.name.clone(),
                mode: frontend.mode.clone(),
                ..Line::default()
            });
            if node.health != Health::Fresh {
                line.stale += 1;
                continue;
            }
            if frontend.status.word == StatusWord::Open {
                line.open += 1;
            } else {
                line.other += 1;
                let word = frontend.status.to_string();
                if !line.words.contains(&word) {
                    line.words.push(word);
                }
            }
            let g = &frontend.gauges;
            line.sessions += u64::from(g.sessions);
            line.limit += g.sessions_limit.map_or(0, u64::from);
            line.rate += u64::from(g.rate);
            line.requests += g.request_rate.map_or(0, u64::from);
            line.errors += g.errors;
            line.http_5xx += g.http_5xx.unwrap_or(0);
            line.bytes_in += g.bytes_in;
            line.bytes_out += g.bytes_out;
        }
    }
    Listing { columns: COLUMNS, rows: lines.into_values().collect() }
}
