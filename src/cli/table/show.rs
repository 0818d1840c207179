//! `lbdeck table show`.

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::ask::ask_nodes;
use crate::cli::context::{Context, Origin, looked};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::NodeSelect;
use crate::model::Exit;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck table show clients
  lbdeck table show clients --node lb1 --key 10.0.0.9
  lbdeck table show clients -o csv > clients.csv")]
pub struct ShowArgs {
    /// The stick table
    #[arg(value_name = "TABLE")]
    table: String,

    /// Only the entry of this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Read at most so many entries of each node
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
struct EntryItem<'a> {
    key: String,
    #[serde(flatten)]
    origin: Origin<'a>,
    fields: Map<String, Value>,
}

impl ShowArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        if self.limit == 0 {
            return Err(Failure::invalid("--limit 0 would show nothing"));
        }
        let look = context.look(&self.nodes).await?;
        let collector = &look.app.collector;
        let (answers, missing) = ask_nodes(&look, |node| collector.table_entries(node, &self.table, self.limit)).await;
        let full = answers.iter().any(|(_, entries)| entries.len() >= self.limit);
        let mut items: Vec<EntryItem<'_>> = answers
            .into_iter()
            .flat_map(|(origin, entries)| {
                entries.into_iter().map(move |entry| EntryItem {
                    key: entry.key,
                    origin: origin.clone(),
                    fields: entry.fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect(),
                })
            })
            .filter(|item| self.key.as_ref().is_none_or(|key| *key == item.key))
            .collect();
        items.sort_by(|a, b| a.key.cmp(&b.key));
        context.printer.list("table_entries", &items, &columns(), &missing)?;
        if full {
            context.printer.warn(&format!("there are more entries than --limit {}", self.limit));
        }
        Ok(looked(&missing))
    }
}

type Col<'a> = Column<'a, EntryItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    let fields = |item: &EntryItem<'a>| {
        let words = item.fields.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
        Cell::plain(words.collect::<Vec<_>>().join(" "))
    };
    vec![
        Col::left("KEY", |e| Cell::plain(&e.key)),
        Col::left("NODE", |e| Cell::plain(e.origin.node)),
        Col::left("FIELDS", fields),
        Col::right("AGE", |e| e.origin.age_cell()),
        Col::left("SOURCE", |e| e.origin.source_cell()).narrow(),
        Col::left("SOURCE", |e| Cell::new(e.origin.source, Tone::Dim)).wide(),
    ]
}
