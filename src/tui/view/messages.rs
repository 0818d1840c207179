//! Everything the console said, newest first.

use crate::tui::state::grid::{Cell, Column, Key, Listing, Row};
use crate::tui::state::messages::{Message, Messages};

impl Row for Message {
    fn key(&self) -> Key {
        Key::Line(self.number)
    }
    fn search(&self, into: &mut String) {
        into.push_str(&self.text);
    }
}

const COLUMNS: &[Column<Message>] = &[
    Column::left("WHEN", (9, 9), 0, |r, _| Cell::dim(r.at.strftime("%H:%M:%SZ").to_string()), |a, b| a.number.cmp(&b.number)),
    Column::left("WHAT", (20, 500), 0, |r, _| Cell::new(r.text.clone(), r.tone), |a, b| a.text.cmp(&b.text)),
];

pub fn grid(messages: &Messages) -> Listing<Message> {
    Listing { columns: COLUMNS, rows: messages.all().cloned().collect() }
}
