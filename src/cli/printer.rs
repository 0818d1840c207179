//! The only place that prints: data on stdout, talk on stderr.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::failure::{Failure, Result};
use super::output::{self, Canvas, Cell, Column, Output, Tone, VERSION};
use crate::config::env;
use crate::model::{Health, NodeName};

/// A node that was asked and could not be read: every listing carries them, so that nothing missing looks absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    pub node: NodeName,
    pub health: Health,
    pub problem: String,
    pub hint: Option<String>,
    /// Another attempt may succeed without anybody changing anything.
    pub retry: bool,
}

/// A titled part of what a `show` verb tells.
pub enum Block {
    Pairs {
        title: String,
        pairs: Vec<(String, Cell)>,
    },
    Table {
        title: String,
        header: Vec<String>,
        rows: Vec<Vec<Cell>>,
    },
    /// Lines of cells, one space between cells, never cut.
    Lines(Vec<Vec<Cell>>),
}

#[derive(Serialize)]
struct Document<'a, T> {
    version: u32,
    kind: &'a str,
    at: Timestamp,
    items: &'a [T],
    #[serde(skip_serializing_if = "<[Unread]>::is_empty")]
    unread: &'a [Unread],
}

/// One line of a CSV `show`.
#[derive(Serialize)]
struct FieldRow<'a> {
    section: &'a str,
    field: String,
    value: &'a str,
}

#[derive(Clone, Debug)]
pub struct Printer {
    pub output: Output,
    quiet: bool,
    /// No colour, whatever the terminal can do.
    plain: bool,
    /// Colour on stdout and on stderr.
    paint: (bool, bool),
    width: Option<usize>,
}

impl Printer {
    pub fn new(output: Output, no_color: bool, quiet: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let plain = no_color || set(env::NO_COLOR).is_some() || set(env::TERM).is_some_and(|t| t == "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let width = set(env::COLUMNS)
            .and_then(|c| c.to_str()?.parse().ok())
            // Asked only of a terminal: where there is none, crossterm runs tput, which takes longer than all else.
            .or_else(|| out.then(crossterm::terminal::size)?.ok().map(|(columns, _)| usize::from(columns)))
            .filter(|w| *w > 0);
        Self { output, quiet, plain, paint: (out && !plain, err && !plain), width }
    }

    /// JSON or YAML: a program reads it.
    pub fn is_structured(&self) -> bool {
        matches!(self.output, Output::Json | Output::Yaml)
    }

    /// Somebody asked for no colour.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The format in which tables are for people to read.
    pub fn is_table(&self) -> bool {
        matches!(self.output, Output::Table | Output::Wide)
    }

    fn canvas(&self) -> Canvas {
        Canvas { wide: self.output == Output::Wide, color: self.paint.0, width: self.width }
    }

    /// A list of things of one kind.
    pub fn list<T: Serialize>(&self, kind: &str, items: &[T], columns: &[Column<'_, T>], unread: &[Unread]) -> Result<()> {
        match self.output {
            Output::Table | Output::Wide => {
                if items.is_empty() {
                    self.talk(&format!("no {}", kind.replace('_', " ")));
                } else {
                    self.raw(output::table(items, columns, self.canvas()).as_bytes())?;
                }
                self.tell_unread(unread);
                Ok(())
            }
            Output::Csv => {
                self.raw(output::csv(items)?.as_bytes())?;
                self.tell_unread(unread);
                Ok(())
            }
            Output::Json | Output::Yaml => self.document(kind, items, unread),
        }
    }

    /// Things shown in full: blocks for people, the items for programs.
    pub fn show<T: Serialize>(&self, kind: &str, items: &[T], blocks: &[Block], unread: &[Unread]) -> Result<()> {
        match self.output {
            Output::Table | Output::Wide => {
                let text: Vec<String> = blocks.iter().map(|b| self.block(b, self.canvas())).collect();
                self.raw(text.join("\n").as_bytes())?;
                self.tell_unread(unread);
                Ok(())
            }
            Output::Csv => {
                self.raw(output::csv(&blocks.iter().flat_map(field_rows).collect::<Vec<_>>())?.as_bytes())?;
                self.tell_unread(unread);
                Ok(())
            }
            Output::Json | Output::Yaml => self.document(kind, items, unread),
        }
    }

    fn document<T: Serialize>(&self, kind: &str, items: &[T], unread: &[Unread]) -> Result<()> {
        let document = Document { version: VERSION, kind, at: Timestamp::now(), items, unread };
        let bad = |e: &dyn std::fmt::Display| Failure::failed(format!("the data cannot be written in this format: {e}"));
        let text = if self.output == Output::Yaml {
            serde_saphyr::to_string(&document).map_err(|e| bad(&e))?
        } else {
            let mut text = serde_json::to_string_pretty(&document).map_err(|e| bad(&e))?;
            text.push('\n');
            text
        };
        self.raw(text.as_bytes())
    }

    fn block(&self, block: &Block, canvas: Canvas) -> String {
        match block {
            Block::Pairs { title, pairs } => {
                let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
                let mut text = heading(title, canvas);
                for (name, cell) in pairs {
                    text.push_str(&format!("  {name:width$}  {}\n", cell.tone.paint(&cell.text, canvas.color)));
                }
                text
            }
            Block::Table { title, header, rows } => {
                let columns: Vec<Column<'_, Vec<Cell>>> = header
                    .iter()
                    .enumerate()
                    .map(|(i, name)| Column::left(name.clone(), move |row: &Vec<Cell>| row.get(i).cloned().unwrap_or_default()))
                    .collect();
                heading(title, canvas) + &output::table(rows, &columns, canvas)
            }
            Block::Lines(lines) => lines
                .iter()
                .map(|cells| cells.iter().map(|c| c.tone.paint(&c.text, canvas.color)).collect::<Vec<_>>().join(" ") + "\n")
                .collect(),
        }
    }

    /// One JSON object on one line, flushed: whoever follows sees it at once.
    pub fn json_line<T: Serialize>(&self, value: &T) -> Result<()> {
        let mut line =
            serde_json::to_vec(value).map_err(|e| Failure::failed(format!("the event cannot be written as JSON: {e}")))?;
        line.push(b'\n');
        self.raw(&line)
    }

    /// The same on stderr, for events beside a document on stdout.
    pub fn json_line_aside<T: Serialize>(&self, value: &T) {
        if let Ok(mut line) = serde_json::to_vec(value) {
            line.push(b'\n');
            // Nobody can be told that stderr is closed.
            let _ = io::stderr().lock().write_all(&line);
        }
    }

    /// Bytes for stdout as they are.
    pub fn raw(&self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// A line of talk; --quiet silences it.
    pub fn talk(&self, text: &str) {
        if !self.quiet {
            self.aside(text);
        }
    }

    pub fn warn(&self, text: &str) {
        self.aside(&format!("{} {text}", Tone::Warn.paint("warning:", self.paint.1)));
    }

    pub fn hint(&self, text: &str) {
        self.talk(&format!("{} {text}", Tone::Good.paint("hint:", self.paint.1)));
    }

    pub fn failure(&self, failure: &Failure) {
        if let Failure::Said { what, hints, .. } = failure {
            self.aside(&format!("{} {what}", Tone::Bad.paint("error:", self.paint.1)));
            for hint in hints {
                self.hint(hint);
            }
        }
    }

    /// Blocks on stderr, to be read before an answer.
    pub fn say_blocks(&self, blocks: &[Block]) {
        let canvas = Canvas { wide: true, color: self.paint.1, width: None };
        let text: Vec<String> = blocks.iter().map(|b| self.block(b, canvas)).collect();
        self.aside(text.join("\n").trim_end());
    }

    /// Text in a tone, where stderr has colour.
    pub fn paint_talk(&self, tone: Tone, text: &str) -> String {
        tone.paint(text, self.paint.1)
    }

    fn tell_unread(&self, unread: &[Unread]) {
        for node in unread {
            self.warn(&format!("{} was not read: {}", node.node, node.problem));
            if let Some(hint) = &node.hint {
                self.hint(hint);
            }
        }
    }

    /// A line on stderr, come what may.
    pub fn aside(&self, text: &str) {
        // Nobody can be told that stderr is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn heading(title: &str, canvas: Canvas) -> String {
    if canvas.color { format!("\u{1b}[1m{title}\u{1b}[0m\n") } else { format!("{title}\n") }
}

fn field_rows(block: &Block) -> Vec<FieldRow<'_>> {
    match block {
        Block::Pairs { title, pairs } => {
            pairs.iter().map(|(name, cell)| FieldRow { section: title, field: name.clone(), value: &cell.text }).collect()
        }
        Block::Table { title, header, rows } => rows
            .iter()
            .flat_map(|row| {
                let key = row.first().map_or("", |c| c.text.as_str());
                header.iter().zip(row).skip(1).map(move |(name, cell)| FieldRow {
                    section: title,
                    field: format!("{key}.{name}"),
                    value: &cell.text,
                })
            })
            .collect(),
        Block::Lines(_) => Vec::new(),
    }
}
