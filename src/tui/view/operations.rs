//! Operations of this console: all of them, and one with its nodes side by side and its log below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::config::duration::show_duration;
use crate::tui::state::State;
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::state::runs::{Lane, Phase, Run};
use crate::tui::theme::Tone;
use crate::tui::widget::text::put;

impl Row for Run {
    fn key(&self) -> Key {
        Key::Run(self.id)
    }
    fn search(&self, into: &mut String) {
        into.push_str(&self.summary);
        into.push(' ');
        into.push_str(&self.state().0);
    }
}

const RUNS: &[Column<Run>] = &[
    Column::left("BEGAN", (9, 9), 0, |r, _| Cell::dim(r.began.strftime("%H:%M:%SZ").to_string()), |a, b| a.id.cmp(&b.id)),
    Column::right(
        "#",
        (3, 7),
        2,
        |r, _| Cell::dim(r.operation.map_or("-".into(), |n| n.to_string())),
        |a, b| a.operation.cmp(&b.operation),
    ),
    Column::right("TOOK", (5, 7), 1, |r, ctx| Cell::plain(show_duration(r.took(ctx.now))), |a, b| a.id.cmp(&b.id)),
    Column::left("WHAT", (14, 60), 0, |r, _| Cell::name(&r.summary), |a, b| a.summary.cmp(&b.summary)),
    Column::left(
        "HOW IT STANDS",
        (20, 110),
        0,
        |r, _| {
            let (text, tone) = r.state();
            Cell::new(text, tone)
        },
        |a, b| a.is_over().cmp(&b.is_over()),
    ),
];

pub fn grid(runs: &[Run]) -> Listing<Run> {
    Listing { columns: RUNS, rows: runs.to_vec() }
}

impl Row for Lane {
    fn key(&self) -> Key {
        let target = self.target.as_ref().map(ToString::to_string).unwrap_or_default();
        Key::Entry(format!("{}\n{target}", self.node))
    }
    fn search(&self, into: &mut String) {
        into.push_str(self.node.as_str());
        into.push(' ');
        into.push_str(self.phase.word());
        into.push(' ');
        into.push_str(&self.text);
    }
}

/// How much of the sessions that were there has gone.
fn bar(lane: &Lane) -> Cell {
    const WIDE: u64 = 10;
    let Some((sessions, ..)) = lane.left else { return Cell::dim("") };
    let gone = (lane.most.saturating_sub(sessions) * WIDE).checked_div(lane.most).unwrap_or(WIDE);
    let text: String = (0..WIDE).map(|i| if i < gone { '█' } else { '░' }).collect();
    Cell::new(text, lane.phase.tone())
}

const LANES: &[Column<Lane>] = &[
    Column::left("NODE", (8, 24), 0, |r, _| Cell::name(r.node.as_str()), |a, b| natural(a.node.as_str(), b.node.as_str())),
    Column::left(
        "TARGET",
        (8, 30),
        1,
        |r, _| Cell::plain(r.target.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)),
        |a, b| a.target.cmp(&b.target),
    ),
    Column::left("PHASE", (10, 12), 0, |r, _| Cell::new(r.phase.word(), r.phase.tone()), |a, b| a.phase.cmp(&b.phase)),
    Column::right(
        "LEFT",
        (4, 7),
        0,
        |r, _| r.left.map_or_else(|| Cell::dim("-"), |(sessions, ..)| Cell::count(sessions)),
        |a, b| a.left.cmp(&b.left),
    ),
    Column::left("GONE", (10, 10), 3, |r, _| bar(r), |a, b| a.left.cmp(&b.left)),
    Column::right(
        "QUEUE",
        (5, 6),
        5,
        |r, _| r.left.map_or_else(|| Cell::dim("-"), |(_, queue, _)| Cell::count(queue)),
        |a, b| a.left.cmp(&b.left),
    ),
    Column::right(
        "CONN",
        (4, 6),
        5,
        |r, _| Cell::optional(r.left.and_then(|(_, _, connections)| connections)),
        |a, b| a.left.cmp(&b.left),
    ),
    Column::right("ETA", (5, 7), 1, |r, _| Cell::duration(r.eta), |a, b| a.eta.cmp(&b.eta)),
    Column::right("WAITED", (6, 7), 4, |r, _| Cell::duration(r.waited), |a, b| a.waited.cmp(&b.waited)),
    Column::left(
        "WHAT",
        (12, 100),
        2,
        |r, _| Cell::new(r.text.clone(), if r.phase == Phase::Failed { Tone::Bad } else { Tone::Plain }),
        |a, b| a.text.cmp(&b.text),
    ),
];

/// The run of this number of the console.
pub fn find(runs: &[Run], number: u64) -> Option<&Run> {
    runs.iter().find(|r| r.id == number)
}

pub fn lanes(runs: &[Run], number: u64) -> Listing<Lane> {
    Listing { columns: LANES, rows: find(runs, number).map(|r| r.lanes.clone()).unwrap_or_default() }
}

pub fn head(state: &State, number: u64, buf: &mut Buffer, area: Rect) {
    let Some(run) = find(&state.runs, number) else { return };
    let theme = &state.theme;
    let (text, tone) = run.state();
    let name = run.operation.map_or_else(String::new, |n| format!("#{n} "));
    let x = put(buf, area, area.x + 1, area.y, &format!("{name}{}", run.summary), theme.key);
    // Outcomes begin with what they are the outcome of.
    let text = text.strip_prefix(&run.summary).map_or(text.as_str(), |rest| rest.trim_start_matches([':', ' ']));
    let x = put(buf, area, x + 2, area.y, text, theme.tone(tone));
    put(buf, area, x + 2, area.y, &show_duration(run.took(state.clock.now)), theme.tone(Tone::Dim));
}

pub fn log_height(body: u16, rows: u16) -> u16 {
    body.saturating_sub(2 + rows.min(body / 2)).min(30)
}

/// The newest lines of the log, and at the end what to do next.
pub fn log(state: &State, number: u64, buf: &mut Buffer, area: Rect) {
    let Some(run) = find(&state.runs, number) else { return };
    let theme = &state.theme;
    if area.height < 2 {
        return;
    }
    buf.set_style(Rect { height: 1, ..area }, theme.head);
    put(buf, area, area.x + 2, area.y, "LOG", theme.head);
    let next = run.outcome.iter().flat_map(|o| &o.next).map(|n| (None, Tone::Accent, format!("next: {n}")));
    let lines = run.log.iter().map(|l| (Some(l.at), l.tone, l.text.clone())).chain(next);
    let lines: Vec<_> = lines.collect();
    let room = usize::from(area.height - 1);
    for (y, (at, tone, text)) in (area.y + 1..).zip(lines.iter().skip(lines.len().saturating_sub(room))) {
        let time = at.map_or_else(|| "         ".to_owned(), |at| at.strftime("%H:%M:%SZ").to_string());
        let x = put(buf, area, area.x + 2, y, &time, theme.tone(Tone::Dim));
        put(buf, area, x + 2, y, text, theme.tone(*tone));
    }
}
