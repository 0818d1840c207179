//! One node: its engine, where data comes from, what is wrong with it; and its servers.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::collect::describe;
use crate::config::duration::show_duration;
use crate::model::{FleetView, Health, NodeName, NodeView, ServerObs, ServerRef, VrrpState, VrrpView};
use crate::tui::event::Charted;
use crate::tui::state::State;
use crate::tui::state::class::{Class, health_tone, health_word};
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::theme::Tone;
use crate::tui::widget::chart::sparkline;
use crate::tui::widget::text::put;

use super::nodes::{age, level_word};
use super::server::{address, check, drift, state_cell};

pub struct Line {
    node: Arc<NodeView>,
    server: ServerRef,
    seen: ServerObs,
}

impl Row for Line {
    fn key(&self) -> Key {
        Key::Cell(self.node.meta.name.clone(), self.server.clone())
    }
    fn search(&self, into: &mut String) {
        into.push_str(&self.server.to_string());
        into.push(' ');
        into.push_str(&self.seen.summary());
        into.push(' ');
        into.push_str(&address(&self.seen));
    }
    fn stale(&self) -> bool {
        self.node.health != Health::Fresh
    }
}

/// Events that are shown.
const EVENTS: usize = 5;

const COLUMNS: &[Column<Line>] = &[
    Column::left(
        "SERVER",
        (8, 34),
        0,
        |r, _| Cell::name(&r.server.to_string()),
        |a, b| {
            natural(a.server.pool.as_str(), b.server.pool.as_str())
                .then_with(|| natural(a.server.server.as_str(), b.server.server.as_str()))
        },
    ),
    Column::left(
        "STATE",
        (9, 26),
        0,
        |r, _| state_cell(&r.seen, r.node.health),
        |a, b| Class::of(&b.seen).cmp(&Class::of(&a.seen)),
    ),
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
    Column::left("CHECK", (8, 44), 2, |r, _| check(&r.seen), |a, b| check(&a.seen).text.cmp(&check(&b.seen).text)),
    Column::left("LOST ON NEXT RELOAD", (6, 60), 3, |r, _| drift(&r.seen), |a, b| drift(&a.seen).text.cmp(&drift(&b.seen).text)),
    Column::left(
        "ADDRESS",
        (9, 45),
        5,
        |r, _| Cell::plain(address(&r.seen)),
        |a, b| natural(&address(&a.seen), &address(&b.seen)),
    ),
];

pub fn grid(view: &FleetView, name: &NodeName) -> Listing<Line> {
    let mut rows = Vec::new();
    if let Some(node) = view.node(name.as_str())
        && let Some(obs) = &node.last
    {
        for pool in &obs.pools {
            rows.extend(pool.servers.iter().map(|seen| Line {
                node: node.clone(),
                server: ServerRef { pool: pool.name.clone(), server: seen.name.clone() },
                seen: seen.clone(),
            }));
        }
    }
    Listing { columns: COLUMNS, rows }
}

pub fn panel_height(state: &State, body: u16) -> u16 {
    let lines = match state.screen() {
        super::Screen::Node(node) => u16::try_from(lines(state, node).len()).unwrap_or(u16::MAX),
        _ => 0,
    };
    lines.min(body / 2)
}

/// Each line as label and text.
fn lines(state: &State, name: &NodeName) -> Vec<(&'static str, String, Tone)> {
    let Some(node) = state.view.node(name.as_str()) else {
        return vec![("node", "not in the fleet file".into(), Tone::Bad)];
    };
    let meta = &node.meta;
    let ctx = state.ctx();
    let mut place = vec![meta.address.clone()];
    place.extend(meta.zone.as_ref().map(|z| format!("zone {z}")));
    place.extend(meta.role.as_ref().map(|r| format!("role {r}")));
    place.extend((!meta.tags.is_empty()).then(|| format!("tags {}", meta.tags.join(" "))));
    let read = if node.last.is_some() { format!("data {} old", age(node, &ctx).text) } else { "never read".to_owned() };
    let mut out = vec![
        ("state", format!("{}, {read}", health_word(node.health)), health_tone(node.health)),
        ("place", place.join(", "), Tone::Plain),
    ];
    if let Some(problem) = &node.problem {
        let mut text = problem.what.clone();
        if let Some(next) = node.next_try {
            text.push_str(&format!("; try {} in {}", node.failures + 1, show_duration(next.saturating_duration_since(ctx.now))));
        }
        out.push(("problem", text, Tone::Bad));
        out.extend(problem.hint.as_ref().map(|hint| ("hint", hint.clone(), Tone::Warn)));
    }
    if let Some(obs) = &node.last {
        let e = &obs.engine;
        let mut engine = format!("{} {}, level {}", e.kind.label(), e.version, level_word(e.level));
        if let Some(pid) = e.pid {
            engine.push_str(&format!(", pid {pid}"));
        }
        if let Some(uptime) = e.uptime {
            engine.push_str(&format!(", up {}", show_duration(uptime)));
        }
        out.push(("engine", engine, Tone::Plain));
        out.push(("source", format!("{}, read in {}", obs.source, show_duration(obs.took)), Tone::Dim));
        out.extend(obs.notes.iter().map(|note| ("note", note.clone(), Tone::Warn)));
        let routes = e.info.iter().filter_map(|(name, value)| Some((name.strip_prefix("Route ")?, value)));
        out.extend(routes.map(|(name, value)| ("route", format!("{name} {value}"), Tone::Plain)));
        out.extend(obs.events.iter().take(EVENTS).map(|event| ("event", describe::event(event), Tone::Dim)));
    }
    if let Some(vrrp) = &node.vrrp {
        vrrp_lines(vrrp, &mut out);
    }
    if let Some(details) = state.details.as_ref().filter(|d| d.node == *name) {
        match &details.workers {
            Some(Ok(workers)) => {
                let old = workers.iter().filter(|w| w.old).count();
                let text = format!("{} processes, {old} old workers that still hold connections", workers.len());
                out.push(("workers", text, if old > 0 { Tone::Warn } else { Tone::Dim }));
            }
            Some(Err(problem)) => out.push(("workers", problem.what.clone(), Tone::Dim)),
            None => {}
        }
        if let Some(reading) = &details.reading {
            out.extend(describe::node_reading(reading).into_iter().map(|(label, text)| (label, text, Tone::Plain)));
        }
        match &details.certificates {
            Some(Ok(certificates)) if !certificates.is_empty() => {
                let first = certificates.iter().filter_map(|c| c.not_after.map(|end| (end, c))).min_by_key(|(end, _)| *end);
                let mut text = format!("{} certificates", certificates.len());
                if let Some((end, certificate)) = first {
                    let left = end.duration_since(ctx.wall).as_hours() / 24;
                    text.push_str(&format!(", first to end: {} in {left} days ({})", certificate.subject, end.strftime("%F")));
                }
                out.push(("tls", text, Tone::Plain));
            }
            Some(Err(problem)) => out.push(("tls", problem.what.clone(), Tone::Dim)),
            _ => {}
        }
    }
    if let Some((Charted::Node(of), curves)) = &state.history
        && of == name
    {
        let (rate, sessions) = (&curves.rate, &curves.sessions);
        let last = |values: &[Option<u32>]| values.last().copied().flatten().unwrap_or(0);
        let text = format!("{} {}/s   {} {} sessions", sparkline(rate, 24), last(rate), sparkline(sessions, 24), last(sessions));
        out.push(("load", text, Tone::Accent));
    }
    out
}

/// What keepalived says and the interfaces carry, a line an instance.
fn vrrp_lines(vrrp: &VrrpView, out: &mut Vec<(&'static str, String, Tone)>) {
    if let Some(problem) = &vrrp.problem {
        out.push(("vrrp", problem.what.clone(), Tone::Bad));
    }
    let Some(obs) = vrrp.last.as_deref() else { return };
    for i in &obs.instances {
        let held: Vec<String> = i.vips.iter().filter(|v| obs.holds(v.address)).map(|v| v.address.to_string()).collect();
        let state = i.state.map_or("not told", |s| s.label());
        let holds = if held.is_empty() { "holds no VIP".to_owned() } else { format!("holds {}", held.join(" ")) };
        let tone = match (i.state, held.is_empty()) {
            (Some(VrrpState::Master), false) => Tone::Ok,
            (Some(VrrpState::Backup), true) => Tone::Plain,
            _ => Tone::Warn,
        };
        let base = if i.priority() == i.base_priority { String::new() } else { format!(" of {}", i.base_priority) };
        out.push(("vrrp", format!("{} {state} {}{base}, {holds}", i.name, i.priority()), tone));
    }
    out.extend(obs.notes.iter().map(|note| ("vrrp", note.clone(), Tone::Warn)));
}

pub fn panel(state: &State, name: &NodeName, buf: &mut Buffer, area: Rect) {
    for (y, (label, text, tone)) in (area.y..area.bottom()).zip(lines(state, name)) {
        put(buf, area, area.x + 1, y, label, state.theme.tone(Tone::Dim));
        put(buf, area, area.x + 10, y, &text, state.theme.tone(tone));
    }
}
