//! `lbdeck table list`.

use clap::Args;
use serde::Serialize;

use crate::cli::ask::ask_nodes;
use crate::cli::context::{Context, Origin, looked};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::{NodeSelect, name_matcher};
use crate::model::{Exit, StickTable};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck table list
  lbdeck table list 'rate*' --node lb1
  lbdeck table list -o json | jq '.items[] | select(.used > .size * 0.8)'")]
pub struct ListArgs {
    /// Stick tables (names or globs; default: all)
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
struct TableItem<'a> {
    table: String,
    #[serde(flatten)]
    origin: Origin<'a>,
    kind: String,
    size: u64,
    used: u64,
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let wanted = name_matcher(&self.tables)?;
        let look = context.look(&self.nodes).await?;
        let collector = &look.app.collector;
        let (answers, missing) = ask_nodes(&look, |node| collector.tables(node)).await;
        let mut items: Vec<TableItem<'_>> = answers
            .into_iter()
            .flat_map(|(origin, tables)| {
                tables.into_iter().map(move |StickTable { name, kind, size, used }| TableItem {
                    table: name,
                    origin: origin.clone(),
                    kind,
                    size,
                    used,
                })
            })
            .filter(|item| wanted(&item.table))
            .collect();
        items.sort_by(|a, b| a.table.cmp(&b.table));
        context.printer.list("tables", &items, &columns(), &missing)?;
        Ok(looked(&missing))
    }
}

type Col<'a> = Column<'a, TableItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("TABLE", |t| Cell::plain(&t.table)),
        Col::left("NODE", |t| Cell::plain(t.origin.node)),
        Col::left("KEY", |t| Cell::plain(&t.kind)),
        Col::right("USED", |t| Cell::new(t.used, if t.used >= t.size { Tone::Warn } else { Tone::Plain })),
        Col::right("SIZE", |t| Cell::plain(t.size)),
        Col::right("AGE", |t| t.origin.age_cell()),
        Col::left("SOURCE", |t| t.origin.source_cell()).narrow(),
        Col::left("SOURCE", |t| Cell::new(t.origin.source, Tone::Dim)).wide(),
    ]
}
