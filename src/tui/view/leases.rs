//! Leases: what is held, by whom, why, until when; given back from here.

use crate::config::duration::show_duration;
use crate::model::{ServerRef, Target};
use crate::store::{Lease, LeaseState};
use crate::tui::state::grid::{Cell, Column, Ctx, Key, Listing, Row, natural};
use crate::tui::state::{Loaded, State};
use crate::tui::theme::Tone;

pub struct Line(Lease);

impl Row for Line {
    fn key(&self) -> Key {
        Key::Lease(self.0.id.clone())
    }
    fn search(&self, into: &mut String) {
        let l = &self.0;
        into.push_str(&format!("{} {} {} {} {}", l.id, l.target, l.change, l.who, l.reason.as_deref().unwrap_or("")));
        for hold in &l.holds {
            into.push(' ');
            into.push_str(hold.node.as_str());
        }
    }
}

fn left(lease: &Lease, ctx: &Ctx<'_>) -> Cell {
    match lease.left(ctx.wall) {
        None => Cell::dim("no end"),
        Some(left) if left.is_zero() => Cell::new("! ended", Tone::Bad),
        Some(left) => Cell::new(show_duration(left), if left.as_secs() < 600 { Tone::Warn } else { Tone::Plain }),
    }
}

fn nodes(lease: &Lease) -> String {
    let open = lease.holds.iter().filter(|h| h.state == LeaseState::Open).count();
    let names: Vec<&str> = lease.holds.iter().map(|h| h.node.as_str()).collect();
    format!("{open} of {}: {}", lease.holds.len(), names.join(" "))
}

const COLUMNS: &[Column<Line>] = &[
    Column::right(
        "LEFT",
        (6, 8),
        0,
        |r, ctx| left(&r.0, ctx),
        // What ends first comes first; what has no end comes last.
        |a, b| a.0.ends.is_none().cmp(&b.0.ends.is_none()).then_with(|| a.0.ends.cmp(&b.0.ends)),
    ),
    Column::left(
        "WHAT",
        (8, 34),
        0,
        |r, _| Cell::name(&r.0.target.to_string()),
        |a, b| natural(&a.0.target.to_string(), &b.0.target.to_string()),
    ),
    Column::left(
        "CHANGE",
        (6, 16),
        0,
        |r, _| Cell::new(r.0.change.to_string(), Tone::Held),
        |a, b| a.0.change.to_string().cmp(&b.0.change.to_string()),
    ),
    Column::left("BY", (6, 26), 1, |r, _| Cell::plain(r.0.who.to_string()), |a, b| a.0.who.user.cmp(&b.0.who.user)),
    Column::left(
        "REASON",
        (8, 50),
        0,
        |r, _| Cell::plain(r.0.reason.clone().unwrap_or_else(|| "-".into())),
        |a, b| a.0.reason.cmp(&b.0.reason),
    ),
    Column::left(
        "MADE",
        (16, 17),
        3,
        |r, _| Cell::dim(r.0.made.strftime("%F %H:%MZ").to_string()),
        |a, b| a.0.made.cmp(&b.0.made),
    ),
    Column::left("NODES STILL HELD", (8, 60), 2, |r, _| Cell::plain(nodes(&r.0)), |a, b| a.0.holds.len().cmp(&b.0.holds.len())),
    Column::left("ID", (8, 10), 4, |r, _| Cell::dim(r.0.id.clone()), |a, b| a.0.id.cmp(&b.0.id)),
];

pub fn grid(leases: &Loaded<Lease>) -> Listing<Line> {
    Listing { columns: COLUMNS, rows: leases.rows().iter().cloned().map(Line).collect() }
}

pub fn status(state: &State) -> String {
    match &state.leases.got {
        None => "asking this machine's store and the nodes…".into(),
        Some((at, _)) => {
            let age = state.clock.now.saturating_duration_since(*at).as_secs();
            format!("of this machine and found on the nodes · {age}s old · r gives back now, S gives back all that have ended")
        }
    }
}

/// The server of the lease under the cursor.
pub fn server(state: &State) -> Option<ServerRef> {
    let Some(Key::Lease(id)) = &state.journey.here.list.cursor else { return None };
    match &state.leases.rows().iter().find(|l| l.id == *id)?.target {
        Target::Server(server) => Some(server.clone()),
        Target::Frontend(_) | Target::Table(_) | Target::Cache(_) => None,
    }
}
