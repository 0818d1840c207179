//! One server on every node: state, weight, checks, sessions and latency side by side; curves of the last minutes below.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::config::duration::show_duration;
use crate::model::{Health, NodeView, ServerObs, ServerRef};
use crate::tui::event::Charted;
use crate::tui::state::State;
use crate::tui::state::class::Class;
use crate::tui::state::curve::Curves;
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::state::index;
use crate::tui::theme::Tone;
use crate::tui::widget::chart::{ChartText, chart};
use crate::tui::widget::text::put;

use super::nodes::{age, by_age};

pub struct OnNode {
    node: Arc<NodeView>,
    server: ServerRef,
    seen: ServerObs,
}

impl Row for OnNode {
    fn key(&self) -> Key {
        Key::Cell(self.node.meta.name.clone(), self.server.clone())
    }
    fn search(&self, into: &mut String) {
        into.push_str(self.node.meta.name.as_str());
        into.push(' ');
        into.push_str(&self.seen.summary());
        if let Some(zone) = &self.node.meta.zone {
            into.push(' ');
            into.push_str(zone);
        }
    }
    fn stale(&self) -> bool {
        self.node.health != Health::Fresh
    }
}

/// `L7OK/200 in 3ms: text`.
pub fn check(seen: &ServerObs) -> Cell {
    let Some(check) = &seen.check else { return Cell::dim("no check") };
    let mut text = check.status.to_string();
    if let Some(code) = check.code {
        text.push_str(&format!("/{code}"));
    }
    if let Some(ms) = check.duration_ms {
        text.push_str(&format!(" in {ms}ms"));
    }
    if !check.text.is_empty() && !check.status.ends_with("OK") {
        text.push_str(&format!(": {}", check.text));
    }
    Cell::new(text, if check.status.ends_with("OK") { Tone::Plain } else { Tone::Warn })
}

/// What the next reload would undo.
pub fn drift(seen: &ServerObs) -> Cell {
    match seen.drift.as_deref() {
        None => Cell::dim("file not read"),
        Some([]) => Cell::dim("-"),
        Some(list) => {
            let words: Vec<String> = list.iter().map(|d| format!("{} {}, file {}", d.what, d.runtime, d.file)).collect();
            Cell::new(format!("⟲ {}", words.join("; ")), Tone::Warn)
        }
    }
}

pub fn state_cell(seen: &ServerObs, health: Health) -> Cell {
    let class = Class::of(seen);
    let old = if health == Health::Fresh { class.symbol() } else { '~' };
    let inexact = if seen.admin_exact { "" } else { " ?" };
    Cell::new(format!("{old} {}{inexact}", seen.summary()), if health == Health::Fresh { class.tone() } else { Tone::Dim })
}

const COLUMNS: &[Column<OnNode>] = &[
    Column::left(
        "NODE",
        (8, 24),
        0,
        |r, _| Cell::name(r.node.meta.name.as_str()),
        |a, b| natural(a.node.meta.name.as_str(), b.node.meta.name.as_str()),
    ),
    Column::left(
        "STATE",
        (9, 26),
        0,
        |r, _| state_cell(&r.seen, r.node.health),
        |a, b| Class::of(&b.seen).cmp(&Class::of(&a.seen)),
    ),
    Column::right("AGE", (5, 7), 0, |r, ctx| age(&r.node, ctx), |a, b| by_age(&a.node, &b.node)),
    Column::right("WGT", (3, 5), 1, |r, _| Cell::plain(r.seen.weight.to_string()), |a, b| a.seen.weight.cmp(&b.seen.weight)),
    Column::right(
        "SESS",
        (4, 7),
        1,
        |r, _| Cell::count(r.seen.gauges.sessions.into()),
        |a, b| a.seen.gauges.sessions.cmp(&b.seen.gauges.sessions),
    ),
    Column::right(
        "RATE/s",
        (6, 7),
        2,
        |r, _| Cell::count(r.seen.gauges.rate.into()),
        |a, b| a.seen.gauges.rate.cmp(&b.seen.gauges.rate),
    ),
    Column::right(
        "QUEUE",
        (5, 6),
        3,
        |r, _| Cell::fault(r.seen.gauges.queue.into()),
        |a, b| a.seen.gauges.queue.cmp(&b.seen.gauges.queue),
    ),
    Column::right(
        "CONN",
        (4, 6),
        4,
        |r, _| Cell::optional(r.seen.used_conns.map(u64::from)),
        |a, b| a.seen.used_conns.cmp(&b.seen.used_conns),
    ),
    Column::right(
        "IDLE",
        (4, 6),
        6,
        |r, _| Cell::optional(r.seen.idle_conns.map(u64::from)),
        |a, b| a.seen.idle_conns.cmp(&b.seen.idle_conns),
    ),
    Column::right(
        "MAX",
        (4, 6),
        6,
        |r, _| Cell::optional(r.seen.maxconn.map(u64::from)),
        |a, b| a.seen.maxconn.cmp(&b.seen.maxconn),
    ),
    Column::right(
        "ms",
        (3, 6),
        3,
        |r, _| Cell::optional(r.seen.gauges.total_ms.map(u64::from)),
        |a, b| a.seen.gauges.total_ms.cmp(&b.seen.gauges.total_ms),
    ),
    Column::right(
        "ERRORS",
        (6, 7),
        4,
        |r, _| Cell::fault(r.seen.gauges.errors),
        |a, b| a.seen.gauges.errors.cmp(&b.seen.gauges.errors),
    ),
    Column::right(
        "5xx",
        (4, 7),
        5,
        |r, _| Cell::fault(r.seen.gauges.http_5xx.unwrap_or(0)),
        |a, b| a.seen.gauges.http_5xx.cmp(&b.seen.gauges.http_5xx),
    ),
    Column::left("CHECK", (8, 44), 2, |r, _| check(&r.seen), |a, b| check(&a.seen).text.cmp(&check(&b.seen).text)),
    Column::right(
        "SINCE",
        (5, 7),
        5,
        |r, _| Cell::duration(r.seen.last_change_s.map(|s| std::time::Duration::from_secs(s.into()))),
        |a, b| a.seen.last_change_s.cmp(&b.seen.last_change_s),
    ),
    Column::left("LOST ON NEXT RELOAD", (6, 60), 3, |r, _| drift(&r.seen), |a, b| drift(&a.seen).text.cmp(&drift(&b.seen).text)),
    Column::left(
        "ADDRESS",
        (9, 45),
        6,
        |r, _| Cell::plain(address(&r.seen)),
        |a, b| natural(&address(&a.seen), &address(&b.seen)),
    ),
];

pub fn address(seen: &ServerObs) -> String {
    match (&seen.address, seen.port) {
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_string(),
        (None, _) => "-".to_owned(),
    }
}

pub fn grid(state: &State, server: &ServerRef) -> Listing<OnNode> {
    let cells = state.index.server(server).map(|line| state.index.cells(line)).unwrap_or_default();
    let rows = cells
        .iter()
        .filter_map(|cell| index::at(&state.view, *cell))
        .map(|(node, seen)| OnNode { node: node.clone(), server: server.clone(), seen: seen.clone() })
        .collect();
    Listing { columns: COLUMNS, rows }
}

/// Lines above the list.
pub const FACTS: u16 = 2;

pub fn facts(state: &State, server: &ServerRef, buf: &mut Buffer, area: Rect) {
    let theme = &state.theme;
    let Some(line) = state.index.server(server) else {
        put(buf, area, area.x + 1, area.y, "no node shows this server now", theme.tone(Tone::Bad));
        return;
    };
    let mut x = put(buf, area, area.x + 1, area.y, &line.classes.text(), theme.tone(line.classes.tone()));
    let mut say = |text: String, tone: Tone| x = put(buf, area, x + 2, area.y, &text, theme.tone(tone));
    say(format!("on {} nodes", line.classes.total()), Tone::Plain);
    if line.stale_nodes > 0 {
        say(format!("◌ {} more with old data", line.stale_nodes), Tone::Warn);
    }
    say(format!("{} sessions, {} queued, {}/s", line.sessions, line.queue, line.rate), Tone::Plain);
    if line.disagree.any() {
        say(format!("≠ nodes disagree: {}", line.disagree.text()), Tone::Warn);
    }
    if line.drift {
        say("⟲ lost on next reload".into(), Tone::Warn);
    }
    let mut second = Vec::new();
    for lease in state.leases.rows().iter().filter(|l| l.is_open() && l.target == crate::model::Target::Server(server.clone())) {
        let ends = match lease.left(state.clock.wall) {
            Some(left) => format!("given back in {}", show_duration(left)),
            None => "until somebody returns it".to_owned(),
        };
        second.push(format!(
            "lease {} {} by {}: {}, {ends}",
            lease.id,
            lease.change,
            lease.who,
            lease.reason.as_deref().unwrap_or("no reason")
        ));
    }
    if let Some(rules) = super::pools::rules(&state.fleet, &server.pool) {
        second.push(rules);
    }
    put(buf, area, area.x + 1, area.y + 1, &second.join("  ·  "), theme.tone(Tone::Held));
}

pub fn charts_height(body: u16, rows: u16) -> u16 {
    // The list comes first; curves take what it leaves, within reason.
    let left = body.saturating_sub(FACTS + 1 + rows.max(3).min(body / 2));
    match left {
        0..=3 => 0,
        4..=9 => 4.max(left.min(5)),
        _ => left.min(22),
    }
}

pub fn charts(state: &State, server: &ServerRef, buf: &mut Buffer, area: Rect) {
    let Some((Charted::Server(of), curves)) = &state.history else { return };
    if of != server || area.height < 3 {
        return;
    }
    four_charts(state, curves, buf, area);
}

/// Rate, sessions, latency and errors in a square, or side by side where there is little height.
fn four_charts(state: &State, curves: &Curves, buf: &mut Buffer, area: Rect) {
    let theme = &state.theme;
    let series = [
        ("RATE", "/s", Tone::Accent, &curves.rate),
        ("SESSIONS", "", Tone::Ok, &curves.sessions),
        ("LATENCY (slowest node)", "ms", Tone::Warn, &curves.latency_ms),
        ("ERRORS", "/s", Tone::Bad, &curves.errors),
    ];
    let (columns, rows) = if area.height >= 8 { (2u16, 2u16) } else { (4, 1) };
    let (wide, high) = (area.width / columns, area.height / rows);
    for (nth, (title, unit, tone, values)) in (0u16..).zip(series) {
        let place = Rect {
            x: area.x + 1 + (nth % columns) * wide,
            y: area.y + (nth / columns) * high,
            width: wide.saturating_sub(2),
            height: high.saturating_sub(u16::from(rows > 1 && nth / columns == 0)),
        };
        let words = ChartText { title, unit };
        chart(buf, place, &words, values, theme.key, theme.tone(tone), theme.tone(Tone::Dim));
    }
}
