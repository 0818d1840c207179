//! How a listing looks in each format. Pure: text in, text out; `printer` does the writing.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};
use tabled::builder::Builder;
use tabled::settings::object::{Columns, Object, Rows};
use tabled::settings::peaker::PriorityMax;
use tabled::settings::{Alignment, Color, Padding, Style, Width};

use super::failure::{Failure, Result};

/// Version of every JSON and YAML document and event; it grows when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Output {
    /// Aligned columns that fit the terminal
    #[default]
    Table,
    /// The table with every column, never cut
    Wide,
    /// One versioned document
    Json,
    /// The JSON document as YAML
    Yaml,
    /// A header and a row an item, with every field
    Csv,
}

/// What a cell's colour says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
}

impl Tone {
    fn color(self) -> Option<Color> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some(Color::FG_GREEN),
            Tone::Warn => Some(Color::FG_YELLOW),
            Tone::Bad => Some(Color::FG_RED),
            Tone::Dim => Some(Color::FG_BRIGHT_BLACK),
        }
    }

    /// The text in the tone's colour.
    pub fn paint(self, text: &str, color: bool) -> String {
        match self.color() {
            Some(paint) if color => paint.colorize(text),
            _ => text.to_owned(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
}

impl Cell {
    pub fn new(text: impl ToString, tone: Tone) -> Self {
        Self { text: text.to_string(), tone }
    }
    pub fn plain(text: impl ToString) -> Self {
        Self::new(text, Tone::Plain)
    }
    /// A dash where there is nothing, which is not the same as zero.
    pub fn opt<T: ToString>(value: Option<T>) -> Self {
        value.map_or_else(|| Self::new("-", Tone::Dim), Self::plain)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    Left,
    Right,
}

/// Which of the two tables has a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Both,
    Wide,
    Narrow,
}

/// One column of a listing of `T`.
pub struct Column<'a, T> {
    title: String,
    align: Align,
    shown: Shown,
    cell: Box<dyn Fn(&T) -> Cell + 'a>,
}

impl<'a, T> Column<'a, T> {
    pub fn left(title: impl Into<String>, cell: impl Fn(&T) -> Cell + 'a) -> Self {
        Self { title: title.into(), align: Align::Left, shown: Shown::Both, cell: Box::new(cell) }
    }
    pub fn right(title: impl Into<String>, cell: impl Fn(&T) -> Cell + 'a) -> Self {
        Self { align: Align::Right, ..Self::left(title, cell) }
    }
    /// Only shown by `--output wide`.
    #[must_use]
    pub fn wide(self) -> Self {
        Self { shown: Shown::Wide, ..self }
    }
    /// Only shown by `--output table`: a wide column says the same in full.
    #[must_use]
    pub fn narrow(self) -> Self {
        Self { shown: Shown::Narrow, ..self }
    }
}

/// How much room and colour a table has.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    pub wide: bool,
    pub color: bool,
    /// None where lines may be as long as they like (pipes, files).
    pub width: Option<usize>,
}

/// A table without borders: a header, a line a row, two spaces between columns.
pub fn table<T>(rows: &[T], columns: &[Column<'_, T>], canvas: Canvas) -> String {
    let hidden = if canvas.wide { Shown::Narrow } else { Shown::Wide };
    let columns: Vec<&Column<'_, T>> = columns.iter().filter(|c| c.shown != hidden).collect();
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| columns.iter().map(|c| (c.cell)(row)).collect()).collect();
    let mut builder = Builder::with_capacity(rows.len() + 1, columns.len());
    builder.push_record(columns.iter().map(|c| c.title.as_str()));
    for row in &cells {
        builder.push_record(row.iter().map(|c| c.text.as_str()));
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, 2, 0, 0));
    for (i, column) in columns.iter().enumerate() {
        if column.align == Align::Right {
            table.modify(Columns::one(i), Alignment::right());
        }
    }
    if let Some(width) = canvas.width.filter(|_| !canvas.wide) {
        // The padding of the last column is cut off again below.
        table.with(Width::truncate(width.max(20) + 2).suffix("…").priority(PriorityMax::right()));
    }
    if canvas.color {
        table.modify(Rows::first(), Color::BOLD);
        for (r, row) in cells.iter().enumerate() {
            for (c, cell) in row.iter().enumerate() {
                if let Some(color) = cell.tone.color() {
                    table.modify(Rows::one(r + 1).intersect(Columns::one(c)), color);
                }
            }
        }
    }
    let mut out = String::new();
    for line in table.to_string().lines() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// The header and rows of a CSV text: every field of every item, nested ones by dotted names.
pub fn csv<T: Serialize>(items: &[T]) -> Result<String> {
    let rows = items
        .iter()
        .map(|item| {
            let mut flat = Map::new();
            flatten("", serde_json::to_value(item).map_err(unserialisable)?, &mut flat);
            Ok(flat)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut header: Map<String, Value> = Map::new();
    for row in &rows {
        for name in row.keys() {
            header.entry(name.clone()).or_insert(Value::Null);
        }
    }
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(header.keys()).map_err(unserialisable)?;
    for row in &rows {
        writer.write_record(header.keys().map(|name| row.get(name).map(scalar).unwrap_or_default())).map_err(unserialisable)?;
    }
    let bytes = writer.into_inner().map_err(|e| unserialisable(e.error()))?;
    String::from_utf8(bytes).map_err(unserialisable)
}

fn unserialisable(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the data cannot be written in this format: {error}"))
}

fn flatten(prefix: &str, value: Value, flat: &mut Map<String, Value>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                flatten(&name, value, flat);
            }
        }
        Value::Array(values) if values.iter().all(|v| !v.is_object() && !v.is_array()) => {
            flat.insert(prefix.to_owned(), Value::String(values.iter().map(scalar).collect::<Vec<_>>().join(" ")));
        }
        // A column must not come and go with what a row holds.
        values @ Value::Array(_) => {
            flat.insert(prefix.to_owned(), Value::String(values.to_string()));
        }
        other => {
            flat.insert(prefix.to_owned(), other);
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        sessions: Option<u64>,
        tags: Vec<&'static str>,
    }

    fn rows() -> Vec<Row> {
        vec![
            Row { name: "web1", sessions: Some(12), tags: vec!["a", "b"] },
            Row { name: "a \"quoted\", long name", sessions: None, tags: vec![] },
        ]
    }

    fn columns() -> Vec<Column<'static, Row>> {
        vec![
            Column::left("NAME", |r: &Row| Cell::new(r.name, Tone::Bad)),
            Column::right("SESS", |r: &Row| Cell::opt(r.sessions)),
            Column::left("TAGS", |r: &Row| Cell::plain(r.tags.join(","))).wide(),
        ]
    }

    #[test]
    fn tables_align_and_have_no_trailing_blanks() {
        let text = table(&rows(), &columns(), Canvas { wide: false, color: false, width: None });
        assert_eq!(text, "NAME                   SESS\nweb1                     12\na \"quoted\", long name     -\n");
        assert!(table(&rows(), &columns(), Canvas { wide: true, color: false, width: Some(20) }).contains("a,b"));
    }

    #[test]
    fn tables_fit_the_terminal_and_paint_cells() {
        let text = table(&rows(), &columns(), Canvas { wide: false, color: false, width: Some(20) });
        assert!(text.lines().all(|l| l.chars().count() <= 20), "{text}");
        assert!(text.contains('…'), "{text}");
        let text = table(&rows(), &columns(), Canvas { wide: false, color: true, width: Some(20) });
        assert!(text.contains("\u{1b}[31mweb1"), "{text:?}");
    }

    #[test]
    fn csv_quotes_and_keeps_empty_apart_from_zero() {
        let text = csv(&rows()).unwrap();
        assert_eq!(text, "name,sessions,tags\nweb1,12,a b\n\"a \"\"quoted\"\", long name\",,\n");
    }
}
