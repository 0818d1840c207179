//! Where a list stands: cursor, order, filter, selection. It outlives the rows, which are replaced with every reading.

use std::collections::HashSet;

use regex::{Regex, RegexBuilder};

use super::grid::{Grid, Key};

/// Which column orders the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    pub column: usize,
    pub descending: bool,
}

impl Sort {
    pub const fn up(column: usize) -> Self {
        Self { column, descending: false }
    }
    pub const fn down(column: usize) -> Self {
        Self { column, descending: true }
    }
}

/// A regular expression that rows must match. One that cannot be read is shown as such and changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub text: String,
    regex: Option<Regex>,
    pub error: Option<String>,
}

impl Filter {
    /// Takes a new text. A bad expression keeps what was applied before.
    pub fn set(&mut self, text: &str) {
        self.text = text.to_owned();
        self.error = None;
        if text.is_empty() {
            self.regex = None;
            return;
        }
        // As in editors: an upper-case letter asks for exact case.
        let exact = text.chars().any(char::is_uppercase);
        match RegexBuilder::new(text).case_insensitive(!exact).size_limit(1 << 20).build() {
            Ok(regex) => self.regex = Some(regex),
            Err(error) => self.error = Some(reason(&error)),
        }
    }

    pub fn is_on(&self) -> bool {
        self.regex.is_some()
    }
    pub fn matches(&self, text: &str) -> bool {
        self.regex.as_ref().is_none_or(|r| r.is_match(text))
    }
    /// What is applied, which is not what is typed while that is not an expression.
    pub fn applied(&self) -> Option<&str> {
        self.regex.as_ref().map(Regex::as_str)
    }
}

/// The last line of the parser's message says what is wrong; those above draw it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("not a regular expression");
    last.trim().trim_start_matches("error: ").to_owned()
}

#[derive(Clone, Debug)]
pub struct List {
    /// The row that the cursor sticks to, and its place, for when the row is gone.
    pub cursor: Option<Key>,
    pub place: usize,
    pub sort: Sort,
    pub filter: Filter,
    pub selected: HashSet<Key>,
    /// Columns that are scrolled out on the left.
    pub skipped: usize,
    /// First row shown; kept by what was drawn last.
    pub top: usize,
    /// Indices of rows that pass the filter, in order.
    order: Vec<u32>,
}

impl List {
    pub fn new(sort: Sort) -> Self {
        Self {
            cursor: None,
            place: 0,
            sort,
            filter: Filter::default(),
            selected: HashSet::new(),
            skipped: 0,
            top: 0,
            order: Vec::new(),
        }
    }

    pub fn order(&self) -> &[u32] {
        &self.order
    }
    pub fn len(&self) -> usize {
        self.order.len()
    }
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Filters and sorts anew, and finds the cursor's row again. Called when rows, filter or sort have changed, not for each frame.
    pub fn arrange(&mut self, grid: &dyn Grid) {
        let mut order: Vec<u32> = if self.filter.is_on() {
            let mut text = String::new();
            (0..grid.len())
                .filter(|row| {
                    text.clear();
                    grid.search(*row, &mut text);
                    self.filter.matches(&text)
                })
                .filter_map(|row| u32::try_from(row).ok())
                .collect()
        } else {
            (0..u32::try_from(grid.len()).unwrap_or(u32::MAX)).collect()
        };
        let Sort { column, descending } = self.sort;
        // Stable: equal rows keep the order of the fleet file or of time.
        order.sort_by(|a, b| {
            let unequal = grid.compare(*a as usize, *b as usize, column);
            if descending { unequal.reverse() } else { unequal }
        });
        self.order = order;
        if let Some(cursor) = &self.cursor {
            let at = |place: usize| self.order.get(place).and_then(|row| grid.key(*row as usize));
            // Mostly it has not moved.
            if at(self.place).as_ref() != Some(cursor)
                && let Some(found) = (0..self.order.len()).find(|place| at(*place).as_ref() == Some(cursor))
            {
                self.place = found;
            }
        }
        self.go(self.place, grid);
    }

    /// Puts the cursor on a place (the nearest that exists).
    pub fn go(&mut self, place: usize, grid: &dyn Grid) {
        self.place = place.min(self.order.len().saturating_sub(1));
        self.cursor = self.order.get(self.place).and_then(|row| grid.key(*row as usize));
    }

    pub fn step(&mut self, by: isize, grid: &dyn Grid) {
        self.go(self.place.saturating_add_signed(by), grid);
    }

    /// Row index under the cursor.
    pub fn row(&self) -> Option<usize> {
        self.order.get(self.place).map(|row| *row as usize)
    }

    pub fn toggle(&mut self) {
        if let Some(key) = &self.cursor
            && !self.selected.remove(key)
        {
            self.selected.insert(key.clone());
        }
    }
    pub fn select_all(&mut self, grid: &dyn Grid) {
        self.selected.extend(self.order.iter().filter_map(|row| grid.key(*row as usize)));
    }
    /// Within what the filter shows.
    pub fn invert(&mut self, grid: &dyn Grid) {
        for key in self.order.iter().filter_map(|row| grid.key(*row as usize)) {
            if !self.selected.remove(&key) {
                self.selected.insert(key);
            }
        }
    }
    /// What an action is for: the selected rows that still exist, else the row under the cursor.
    pub fn targets(&self, grid: &dyn Grid) -> Vec<Key> {
        if self.selected.is_empty() {
            return self.cursor.iter().cloned().collect();
        }
        (0..grid.len()).filter_map(|row| grid.key(row)).filter(|key| self.selected.contains(key)).collect()
    }

    /// The top row so that the cursor is within `rows` rows, moved as little as possible.
    pub fn top_for(&self, rows: usize) -> usize {
        if rows == 0 {
            return self.top;
        }
        let most = self.order.len().saturating_sub(rows);
        let lowest = (self.place + 1).saturating_sub(rows);
        self.top.clamp(lowest.min(self.place), self.place).min(most.max(lowest))
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::{Cell, Column, Ctx, Listing, Row, natural};
    use super::*;

    struct Name(&'static str, u64);
    impl Row for Name {
        fn key(&self) -> Key {
            Key::Entry(self.0.to_owned())
        }
        fn search(&self, into: &mut String) {
            into.push_str(self.0);
        }
    }
    const COLUMNS: &[Column<Name>] = &[
        Column::left("NAME", (4, 9), 0, |r: &Name, _: &Ctx<'_>| Cell::name(r.0), |a, b| natural(a.0, b.0)),
        Column::right("N", (1, 4), 0, |r: &Name, _: &Ctx<'_>| Cell::count(r.1), |a, b| a.1.cmp(&b.1)),
    ];
    fn grid(rows: &[(&'static str, u64)]) -> Listing<Name> {
        Listing { columns: COLUMNS, rows: rows.iter().map(|(n, c)| Name(n, *c)).collect() }
    }
    fn shown(list: &List, grid: &Listing<Name>) -> Vec<&'static str> {
        list.order().iter().map(|row| grid.rows[*row as usize].0).collect()
    }

    #[test]
    fn the_cursor_follows_its_row_when_the_order_changes() {
        let before = grid(&[("a", 1), ("b", 2), ("c", 3)]);
        let mut list = List::new(Sort::down(1));
        list.arrange(&before);
        list.go(1, &before);
        assert_eq!(list.cursor, Some(Key::Entry("b".into())));
        let after = grid(&[("a", 9), ("b", 1), ("c", 3)]);
        list.arrange(&after);
        assert_eq!(shown(&list, &after), ["a", "c", "b"]);
        assert_eq!((list.place, list.cursor.clone()), (2, Some(Key::Entry("b".into()))));
        let gone = grid(&[("a", 9)]);
        list.arrange(&gone);
        assert_eq!((list.place, list.cursor), (0, Some(Key::Entry("a".into()))));
    }

    #[test]
    fn a_bad_expression_is_told_and_not_applied() {
        let grid = grid(&[("web1", 1), ("web2", 2), ("db", 3)]);
        let mut list = List::new(Sort::up(0));
        list.filter.set("web");
        list.arrange(&grid);
        assert_eq!(shown(&list, &grid), ["web1", "web2"]);
        list.filter.set("web[");
        list.arrange(&grid);
        assert!(list.filter.error.is_some());
        assert_eq!(list.filter.applied(), Some("web"));
        assert_eq!(shown(&list, &grid), ["web1", "web2"]);
        list.filter.set("");
        list.arrange(&grid);
        assert_eq!(list.len(), 3);
        list.filter.set("WEB");
        list.arrange(&grid);
        assert!(list.is_empty(), "an upper-case letter asks for exact case");
        assert_eq!(list.row(), None);
    }

    #[test]
    fn selection_survives_and_inverts_within_the_filter() {
        let grid = grid(&[("web1", 1), ("web2", 2), ("db", 3)]);
        let mut list = List::new(Sort::up(0));
        list.arrange(&grid);
        assert_eq!(list.targets(&grid), [Key::Entry("db".into())], "nothing selected: the cursor's row");
        list.filter.set("web");
        list.arrange(&grid);
        list.go(0, &grid);
        list.toggle();
        list.invert(&grid);
        assert_eq!(list.targets(&grid), [Key::Entry("web2".into())]);
        list.select_all(&grid);
        assert_eq!(list.targets(&grid).len(), 2);
    }

    #[test]
    fn the_cursor_is_always_in_sight() {
        let rows: Vec<(&'static str, u64)> = (0..100).map(|i| ("x", i)).collect();
        let grid = grid(&rows);
        let mut list = List::new(Sort::up(1));
        list.arrange(&grid);
        for place in [0, 5, 50, 99, 98, 40, 0] {
            list.place = place;
            list.top = list.top_for(10);
            assert!((list.top..list.top + 10).contains(&place), "{place} in {}", list.top);
            assert!(list.top <= 90);
        }
    }
}
