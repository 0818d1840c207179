//! What was done from this machine: when, by whom, what, why, how it ended.

use crate::model::Exit;
use crate::store::{Operation, OperationState};
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row};
use crate::tui::state::{Loaded, State};
use crate::tui::theme::Tone;

pub struct Line(Operation);

impl Row for Line {
    fn key(&self) -> Key {
        Key::Operation(self.0.id)
    }
    fn search(&self, into: &mut String) {
        let o = &self.0;
        into.push_str(&format!("#{} {} {} {}", o.id, o.who, o.summary, o.reason.as_deref().unwrap_or("")));
        for pool in &o.pools {
            into.push(' ');
            into.push_str(pool.as_str());
        }
    }
}

fn result(operation: &Operation) -> Cell {
    match (operation.state, operation.exit) {
        (OperationState::Running, _) => Cell::new("▶ running", Tone::Accent),
        (OperationState::Abandoned, _) => Cell::new("! abandoned", Tone::Bad),
        (_, Some(Exit::Ok)) => Cell::new("✓ ok", Tone::Ok),
        (_, Some(exit)) => {
            let word = match exit {
                Exit::Ok => "ok",
                Exit::Failed => "failed",
                Exit::InvalidInput => "invalid",
                Exit::FailedRolledBack => "rolled back",
                Exit::RollbackFailed => "rollback failed",
                Exit::GuardRefused => "refused",
                Exit::Recovered => "recovered",
                Exit::Locked => "locked",
            };
            Cell::new(format!("✖ {word}"), Tone::Bad)
        }
        (OperationState::Finished, None) => Cell::dim("finished"),
    }
}

const COLUMNS: &[Column<Line>] = &[
    Column::left(
        "WHEN",
        (17, 17),
        0,
        |r, _| Cell::plain(r.0.began.strftime("%m-%d %H:%M:%SZ").to_string()),
        |a, b| a.0.began.cmp(&b.0.began),
    ),
    Column::left("RESULT", (8, 17), 0, |r, _| result(&r.0), |a, b| result(&a.0).text.cmp(&result(&b.0).text)),
    Column::left("WHAT", (12, 60), 0, |r, _| Cell::name(&r.0.summary), |a, b| a.0.summary.cmp(&b.0.summary)),
    Column::left("BY", (6, 26), 1, |r, _| Cell::plain(r.0.who.to_string()), |a, b| a.0.who.user.cmp(&b.0.who.user)),
    Column::left(
        "REASON",
        (8, 60),
        0,
        |r, _| Cell::plain(r.0.reason.clone().unwrap_or_else(|| "-".into())),
        |a, b| a.0.reason.cmp(&b.0.reason),
    ),
    Column::left("FROM", (6, 30), 3, |r, _| Cell::dim(r.0.who.from.clone()), |a, b| a.0.who.from.cmp(&b.0.who.from)),
    Column::right("#", (3, 7), 2, |r, _| Cell::dim(r.0.id.to_string()), |a, b| a.0.id.cmp(&b.0.id)),
];

pub fn grid(audit: &Loaded<Operation>) -> Listing<Line> {
    Listing { columns: COLUMNS, rows: audit.rows().iter().cloned().map(Line).collect() }
}

pub fn status(state: &State) -> String {
    match state.audit.error() {
        Some(error) => format!("cannot be read: {error}"),
        None => "this machine's record, newest first · f shows everything of a line, u undoes it".into(),
    }
}
