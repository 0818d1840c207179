//! What every list is made of: rows with a key, columns that can be shown and compared. One file a list names its columns;
//! this one makes them sortable, filterable and drawable without knowing which list it is.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::duration::show_duration;
use crate::model::{FleetView, NodeName, PoolName, ServerRef};
use crate::tui::theme::Tone;

/// Names a row across refreshes: the cursor and the selection stick to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    Node(NodeName),
    Pool(PoolName),
    Server(ServerRef),
    /// One server on one node.
    Cell(NodeName, ServerRef),
    Frontend(Box<str>),
    Vip(std::net::IpAddr),
    Table(NodeName, String),
    Entry(String),
    Session(NodeName, String),
    Lease(String),
    /// An operation of the store.
    Operation(i64),
    /// An operation of this console.
    Run(u64),
    /// Anything else that has a number.
    Line(u64),
    /// A problem: its place and its words.
    Problem(String),
}

/// What is shown in one place of a list.
#[derive(Clone, PartialEq, Debug)]
pub struct Cell {
    pub text: Cow<'static, str>,
    pub tone: Tone,
}

impl Cell {
    pub fn new(text: impl Into<Cow<'static, str>>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
    pub fn plain(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(text, Tone::Plain)
    }
    pub fn dim(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(text, Tone::Dim)
    }
    pub fn name(text: &str) -> Self {
        Self::new(text.to_owned(), Tone::Accent)
    }
    /// A number, dim where it is zero, so that what is not zero can be seen.
    pub fn count(n: u64) -> Self {
        Self::new(crate::tui::widget::text::short(n), if n == 0 { Tone::Dim } else { Tone::Plain })
    }
    /// A number that should be zero.
    pub fn fault(n: u64) -> Self {
        Self::new(crate::tui::widget::text::short(n), if n == 0 { Tone::Dim } else { Tone::Warn })
    }
    pub fn optional(n: Option<u64>) -> Self {
        n.map_or_else(|| Cell::dim("-"), Cell::count)
    }
    pub fn duration(d: Option<Duration>) -> Self {
        d.map_or_else(|| Cell::dim("-"), |d| Cell::plain(show_duration(d)))
    }
}

/// What a cell may look at besides its row.
pub struct Ctx<'a> {
    pub now: Instant,
    pub wall: Timestamp,
    pub view: &'a FleetView,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    Left,
    Right,
}

/// How a column looks and when it gives way.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub title: &'static str,
    pub align: Align,
    /// Least and greatest width in terminal columns; content decides between.
    pub min: u16,
    pub max: u16,
    /// 0 is always shown; the highest go first where there is too little room.
    pub rank: u8,
}

/// A column of rows of type `R`.
pub struct Column<R> {
    pub shape: Shape,
    pub cell: fn(&R, &Ctx<'_>) -> Cell,
    /// Ascending order.
    pub order: fn(&R, &R) -> Ordering,
}

impl<R> Column<R> {
    pub const fn left(
        title: &'static str,
        (min, max): (u16, u16),
        rank: u8,
        cell: fn(&R, &Ctx<'_>) -> Cell,
        order: fn(&R, &R) -> Ordering,
    ) -> Self {
        Self { shape: Shape { title, align: Align::Left, min, max, rank }, cell, order }
    }
    pub const fn right(
        title: &'static str,
        (min, max): (u16, u16),
        rank: u8,
        cell: fn(&R, &Ctx<'_>) -> Cell,
        order: fn(&R, &R) -> Ordering,
    ) -> Self {
        Self { shape: Shape { title, align: Align::Right, min, max, rank }, cell, order }
    }
}

pub trait Row {
    fn key(&self) -> Key;
    /// Appends the text that `/` searches.
    fn search(&self, into: &mut String);
    /// Old numbers are dimmed.
    fn stale(&self) -> bool {
        false
    }
    /// Stands out (a disagreement between nodes).
    fn marked(&self) -> bool {
        false
    }
}

/// A list whose row type is out of sight. Rows are named by their index before sorting.
pub trait Grid: Send {
    fn len(&self) -> usize;
    /// Columns, those that are made of data (a node each) included.
    fn columns(&self) -> usize;
    fn title(&self, column: usize) -> Cow<'_, str>;
    fn shape(&self, column: usize) -> Shape;
    fn key(&self, row: usize) -> Option<Key>;
    fn search(&self, row: usize, into: &mut String);
    fn stale(&self, row: usize) -> bool;
    fn marked(&self, row: usize) -> bool;
    fn cell(&self, row: usize, column: usize, ctx: &Ctx<'_>) -> Cell;
    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A grid over a vector of rows.
pub struct Listing<R: 'static> {
    pub columns: &'static [Column<R>],
    pub rows: Vec<R>,
}

impl<R: Row + Send> Grid for Listing<R> {
    fn len(&self) -> usize {
        self.rows.len()
    }
    fn columns(&self) -> usize {
        self.columns.len()
    }
    fn title(&self, column: usize) -> Cow<'_, str> {
        self.columns.get(column).map_or("", |c| c.shape.title).into()
    }
    fn shape(&self, column: usize) -> Shape {
        self.columns.get(column).map_or(Shape { title: "", align: Align::Left, min: 0, max: 0, rank: 9 }, |c| c.shape)
    }
    fn key(&self, row: usize) -> Option<Key> {
        self.rows.get(row).map(Row::key)
    }
    fn search(&self, row: usize, into: &mut String) {
        if let Some(row) = self.rows.get(row) {
            row.search(into);
        }
    }
    fn stale(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(Row::stale)
    }
    fn marked(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(Row::marked)
    }
    fn cell(&self, row: usize, column: usize, ctx: &Ctx<'_>) -> Cell {
        match (self.rows.get(row), self.columns.get(column)) {
            (Some(row), Some(column)) => (column.cell)(row, ctx),
            _ => Cell::plain(""),
        }
    }
    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        match (self.rows.get(a), self.rows.get(b), self.columns.get(column)) {
            (Some(a), Some(b), Some(column)) => (column.order)(a, b),
            _ => Ordering::Equal,
        }
    }
}

/// Names with numbers in them sort as people count: web2 before web10.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (left, rest_a) = split_number(a);
                let (right, rest_b) = split_number(b);
                match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
                    Ordering::Equal => (a, b) = (rest_a, rest_b),
                    unequal => return unequal,
                }
            }
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (Some(x), Some(y)) => return x.cmp(y),
        }
    }
}

/// The digits at the start, without leading zeros, and what follows them.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().position(|c| *c != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["web10", "web2", "db", "web02b", "web1"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["db", "web1", "web2", "web02b", "web10"]);
        assert_eq!(natural("a01", "a1"), Ordering::Equal);
    }
}
