//! The fleet at a glance: zones and totals above, problems below, gravest first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::collect::problems::{Finding, Severity};
use crate::model::ServerRef;
use crate::tui::event::Charted;
use crate::tui::state::State;
use crate::tui::state::class::Class;
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::state::screen::Screen;
use crate::tui::state::sums::ZoneSums;
use crate::tui::theme::Tone;
use crate::tui::widget::chart::sparkline;
use crate::tui::widget::text::{fit, put, short};

pub struct Problem(Finding);

impl Row for Problem {
    fn key(&self) -> Key {
        Key::Problem(key_of(&self.0))
    }
    fn search(&self, into: &mut String) {
        let f = &self.0;
        for word in [f.severity.label(), f.kind.label(), &f.subject, &f.text] {
            into.push_str(word);
            into.push(' ');
        }
        for node in &f.nodes {
            into.push_str(node.as_str());
            into.push(' ');
        }
    }
}

fn key_of(finding: &Finding) -> String {
    format!("{}\n{}", finding.kind.label(), finding.subject)
}

const fn severity(severity: Severity) -> (char, Tone) {
    match severity {
        Severity::Critical => ('✖', Tone::Bad),
        Severity::Warning => ('▲', Tone::Warn),
        Severity::Notice => ('·', Tone::Dim),
    }
}

const COLUMNS: &[Column<Problem>] = &[
    Column::left(
        "PROBLEM",
        (14, 20),
        0,
        |r, _| {
            let (symbol, tone) = severity(r.0.severity);
            Cell::new(format!("{symbol} {}", r.0.kind.label()), tone)
        },
        |a, b| (a.0.severity, a.0.kind, &a.0.subject).cmp(&(b.0.severity, b.0.kind, &b.0.subject)),
    ),
    Column::left("WHERE", (8, 30), 0, |r, _| Cell::name(&r.0.subject), |a, b| natural(&a.0.subject, &b.0.subject)),
    Column::left("WHAT", (20, 110), 0, |r, _| Cell::plain(r.0.text.clone()), |a, b| a.0.text.cmp(&b.0.text)),
    Column::left("HINT", (10, 80), 3, |r, _| Cell::dim(r.0.hint.clone().unwrap_or_default()), |a, b| a.0.hint.cmp(&b.0.hint)),
];

pub fn grid(state: &State) -> Listing<Problem> {
    Listing { columns: COLUMNS, rows: state.findings.iter().flatten().cloned().map(Problem).collect() }
}

fn under_cursor(state: &State) -> Option<&Finding> {
    let Some(Key::Problem(key)) = &state.journey.here.list.cursor else { return None };
    state.findings.iter().flatten().find(|f| key_of(f) == *key)
}

/// Where a problem is best looked at.
pub fn leads_to(state: &State) -> Option<Screen> {
    use crate::collect::problems::ProblemKind;
    let finding = under_cursor(state)?;
    if finding.kind == ProblemKind::Unfinished {
        return Some(Screen::Unfinished);
    }
    if let Some(server) = &finding.server {
        return Some(Screen::Server(server.clone()));
    }
    if let Some(pool) = &finding.pool {
        return Some(Screen::Servers(Some(pool.clone())));
    }
    finding.nodes.first().map(|node| Screen::Node(node.clone()))
}

impl State {
    /// The server that a problem of the overview is about.
    pub fn problem_server(&self, key: &Key) -> Option<ServerRef> {
        let Key::Problem(key) = key else { return None };
        self.findings.iter().flatten().find(|f| key_of(f) == *key)?.server.clone()
    }
}

pub fn panel_height(state: &State, body: u16) -> u16 {
    // A title, the whole, zones if there are several, the line of the curve, a blank.
    let zones = if state.sums.zones.len() > 1 { u16::try_from(state.sums.zones.len()).unwrap_or(u16::MAX) } else { 0 };
    (3 + zones).min(body / 3).max(2)
}

pub fn panel(state: &State, buf: &mut Buffer, area: Rect) {
    let theme = &state.theme;
    let dim = theme.tone(Tone::Dim);
    const AT: [u16; 8] = [1, 15, 23, 31, 40, 47, 54, 62];
    for (x, title) in AT.iter().zip(["", "NODES", "FRESH", "UP", "DOWN", "HELD", "SESS", "RATE/s"]) {
        put(buf, area, area.x + x, area.y, title, dim);
    }
    let mut y = area.y + 1;
    line(state, buf, Rect { y, height: 1, ..area }, "whole fleet", &state.sums.whole, &AT);
    if let Some((Charted::Fleet, curves)) = &state.history
        && area.width >= 100
    {
        let room = usize::from(area.width - 78).min(60);
        for (offset, (name, values)) in [("rate/s ", &curves.rate), ("sessions ", &curves.sessions)].into_iter().enumerate() {
            let y = area.y + u16::try_from(offset).unwrap_or(0);
            let x = put(buf, area, area.x + 73, y, &format!("{name:>9}"), dim);
            put(buf, area, x, y, &sparkline(values, room - 10), theme.tone(Tone::Accent));
        }
    }
    y += 1;
    if state.sums.zones.len() > 1 {
        for (zone, sums) in &state.sums.zones {
            if y >= area.bottom().saturating_sub(1) {
                let left = state.sums.zones.len() - usize::from(y - area.y - 2);
                put(buf, area, area.x + 2, y, &format!("and {left} more zones"), dim);
                return;
            }
            let name = if zone.is_empty() { "(no zone)" } else { zone.as_str() };
            line(state, buf, Rect { y, height: 1, ..area }, name, sums, &AT);
            y += 1;
        }
    }
}

fn line(state: &State, buf: &mut Buffer, area: Rect, name: &str, sums: &ZoneSums, at: &[u16; 8]) {
    let theme = &state.theme;
    let (up, of) = (sums.classes.serving(), sums.classes.total());
    let down = sums.classes.count(Class::Down);
    let held = sums.classes.held();
    let fresh = if sums.fresh == sums.nodes { Tone::Ok } else { Tone::Bad };
    let cells = [
        (fit(name, 13).into_owned(), Tone::Accent),
        (sums.nodes.to_string(), Tone::Plain),
        (sums.fresh.to_string(), fresh),
        (format!("{}/{}", short(u64::from(up)), short(u64::from(of))), if up == of { Tone::Plain } else { Tone::Warn }),
        (down.to_string(), if down == 0 { Tone::Dim } else { Tone::Bad }),
        (held.to_string(), if held == 0 { Tone::Dim } else { Tone::Held }),
        (short(sums.sessions), Tone::Plain),
        (short(sums.rate), Tone::Plain),
    ];
    for (x, (text, tone)) in at.iter().zip(cells) {
        put(buf, area, area.x + x, area.y, &text, theme.tone(tone));
    }
}
