//! Stick tables of all nodes, and the entries of one.

use crate::model::{NodeName, StickTable, StickTableEntry};
use crate::tui::state::gather::Gathered;
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::theme::Tone;

pub struct Line {
    node: NodeName,
    table: StickTable,
}

impl Row for Line {
    fn key(&self) -> Key {
        Key::Table(self.node.clone(), self.table.name.clone())
    }
    fn search(&self, into: &mut String) {
        for word in [self.table.name.as_str(), self.node.as_str(), &self.table.kind] {
            into.push_str(word);
            into.push(' ');
        }
    }
}

fn share(table: &StickTable) -> u64 {
    (table.used * 100).checked_div(table.size).unwrap_or(0)
}

const TABLES: &[Column<Line>] = &[
    Column::left("TABLE", (8, 34), 0, |r, _| Cell::name(&r.table.name), |a, b| natural(&a.table.name, &b.table.name)),
    Column::left("NODE", (8, 24), 0, |r, _| Cell::plain(r.node.to_string()), |a, b| natural(a.node.as_str(), b.node.as_str())),
    Column::left("KEYS", (6, 12), 1, |r, _| Cell::plain(r.table.kind.clone()), |a, b| a.table.kind.cmp(&b.table.kind)),
    Column::right("USED", (6, 8), 0, |r, _| Cell::count(r.table.used), |a, b| a.table.used.cmp(&b.table.used)),
    Column::right("SIZE", (6, 8), 1, |r, _| Cell::count(r.table.size), |a, b| a.table.size.cmp(&b.table.size)),
    Column::right(
        "FULL",
        (4, 5),
        1,
        |r, _| {
            let share = share(&r.table);
            Cell::new(format!("{share}%"), if share >= 90 { Tone::Warn } else { Tone::Plain })
        },
        |a, b| share(&a.table).cmp(&share(&b.table)),
    ),
];

pub fn grid(tables: &Gathered<StickTable>) -> Listing<Line> {
    let rows = tables.rows().map(|(node, table)| Line { node: node.clone(), table: table.clone() }).collect();
    Listing { columns: TABLES, rows }
}

pub struct Entry(StickTableEntry);

impl Entry {
    fn fields(&self) -> String {
        self.0.fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("  ")
    }
}

impl Row for Entry {
    fn key(&self) -> Key {
        Key::Entry(self.0.key.clone())
    }
    fn search(&self, into: &mut String) {
        into.push_str(&self.0.key);
        into.push(' ');
        into.push_str(&self.fields());
    }
}

const ENTRIES: &[Column<Entry>] = &[
    Column::left("KEY", (15, 47), 0, |r, _| Cell::name(&r.0.key), |a, b| natural(&a.0.key, &b.0.key)),
    Column::left("DATA", (20, 150), 0, |r, _| Cell::plain(r.fields()), |a, b| natural(&a.fields(), &b.fields())),
];

pub fn entries(entries: &Gathered<StickTableEntry>) -> Listing<Entry> {
    Listing { columns: ENTRIES, rows: entries.rows().map(|(_, entry)| Entry(entry.clone())).collect() }
}
