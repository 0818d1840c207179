//! Live sessions of a server or node, asked for while they are looked at.

use crate::model::{NodeName, Session};
use crate::tui::state::gather::Gathered;
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};

pub struct Line {
    node: NodeName,
    session: Session,
}

impl Row for Line {
    fn key(&self) -> Key {
        Key::Session(self.node.clone(), self.session.id.clone())
    }
    fn search(&self, into: &mut String) {
        into.push_str(self.node.as_str());
        into.push(' ');
        into.push_str(&self.session.raw);
    }
}

const COLUMNS: &[Column<Line>] = &[
    Column::right("AGE", (5, 8), 0, |r, _| Cell::duration(r.session.age), |a, b| a.session.age.cmp(&b.session.age)),
    Column::left("NODE", (6, 20), 0, |r, _| Cell::name(r.node.as_str()), |a, b| natural(a.node.as_str(), b.node.as_str())),
    Column::left(
        "SOURCE",
        (15, 47),
        0,
        |r, _| Cell::plain(r.session.source.clone()),
        |a, b| natural(&a.session.source, &b.session.source),
    ),
    Column::left(
        "FRONTEND",
        (8, 24),
        2,
        |r, _| Cell::plain(r.session.frontend.clone()),
        |a, b| a.session.frontend.cmp(&b.session.frontend),
    ),
    Column::left(
        "SERVER",
        (8, 34),
        1,
        |r, _| Cell::plain(format!("{}/{}", r.session.backend, r.session.server)),
        |a, b| (&a.session.backend, &a.session.server).cmp(&(&b.session.backend, &b.session.server)),
    ),
    Column::right(
        "EXPIRES",
        (7, 8),
        3,
        |r, _| Cell::duration(r.session.expires),
        |a, b| a.session.expires.cmp(&b.session.expires),
    ),
    Column::left(
        "PROTO",
        (5, 8),
        4,
        |r, _| Cell::plain(r.session.protocol.clone()),
        |a, b| a.session.protocol.cmp(&b.session.protocol),
    ),
    Column::left("ID", (10, 18), 5, |r, _| Cell::dim(r.session.id.clone()), |a, b| a.session.id.cmp(&b.session.id)),
];

pub fn grid(sessions: &Gathered<Session>) -> Listing<Line> {
    let rows = sessions.rows().map(|(node, session)| Line { node: node.clone(), session: session.clone() }).collect();
    Listing { columns: COLUMNS, rows }
}
