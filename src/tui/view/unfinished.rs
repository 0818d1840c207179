//! What a process of before began and did not finish: each can be given back.

use crate::store::{JournalState, Unfinished};
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row};
use crate::tui::state::{Loaded, State};
use crate::tui::theme::Tone;

pub struct Line(Unfinished);

impl Row for Line {
    fn key(&self) -> Key {
        Key::Operation(self.0.operation)
    }
    fn search(&self, into: &mut String) {
        into.push_str(&format!("#{} {} {} {}", self.0.operation, self.0.summary, self.0.who, left(&self.0)));
    }
}

fn left(unfinished: &Unfinished) -> String {
    let words: Vec<String> = unfinished
        .left
        .iter()
        .map(|entry| {
            let doubt = if entry.state == JournalState::Intent { " (perhaps)" } else { "" };
            format!("{}: {} {}{doubt}", entry.node, entry.target, entry.change)
        })
        .collect();
    words.join("; ")
}

const COLUMNS: &[Column<Line>] = &[
    Column::left(
        "WHEN",
        (17, 17),
        0,
        |r, _| Cell::plain(r.0.began.strftime("%m-%d %H:%M:%SZ").to_string()),
        |a, b| a.0.began.cmp(&b.0.began),
    ),
    Column::left("WHAT", (12, 44), 0, |r, _| Cell::name(&r.0.summary), |a, b| a.0.summary.cmp(&b.0.summary)),
    Column::left("STILL CHANGED", (12, 90), 0, |r, _| Cell::new(left(&r.0), Tone::Warn), |a, b| left(&a.0).cmp(&left(&b.0))),
    Column::left("BY", (6, 26), 1, |r, _| Cell::plain(r.0.who.to_string()), |a, b| a.0.who.user.cmp(&b.0.who.user)),
    Column::left(
        "REASON",
        (8, 40),
        2,
        |r, _| Cell::plain(r.0.reason.clone().unwrap_or_else(|| "-".into())),
        |a, b| a.0.reason.cmp(&b.0.reason),
    ),
];

pub fn grid(unfinished: &Loaded<Unfinished>) -> Listing<Line> {
    Listing { columns: COLUMNS, rows: unfinished.rows().iter().cloned().map(Line).collect() }
}

pub fn status(state: &State) -> String {
    match state.unfinished.error() {
        Some(error) => format!("cannot be read: {error}"),
        None => "operations whose lbdeck ended before they did · u gives back what they changed".into(),
    }
}
