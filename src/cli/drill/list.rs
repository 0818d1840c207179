//! `lbdeck drill list`.

use clap::Args;
use serde::Serialize;

use super::folders;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::config::duration::show_duration;
use crate::drill::find;
use crate::model::Exit;

/// Lists drills: files of playbooks/drills beside the fleet file and in the working folder, then those that are built in.
/// A file that is no drill is listed with what is wrong, and the exit code is 2.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck drill list
  lbdeck drill list -o json | jq -r '.items[].name'")]
pub struct ListArgs {}

#[derive(Serialize)]
struct Item {
    name: Option<String>,
    description: Option<String>,
    faults: Vec<String>,
    hold_ms: Option<u64>,
    source: String,
    error: Option<String>,
}

impl ListArgs {
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let found = find::all(&folders(context))?;
        let items: Vec<Item> = found
            .into_iter()
            .map(|f| match f.drill {
                Ok(d) => Item {
                    name: Some(d.name),
                    description: d.description,
                    faults: d.faults.iter().map(ToString::to_string).collect(),
                    hold_ms: u64::try_from(d.hold.as_millis()).ok(),
                    source: f.source,
                    error: None,
                },
                Err(e) => Item {
                    name: None,
                    description: None,
                    faults: Vec::new(),
                    hold_ms: None,
                    source: f.source,
                    error: Some(e.to_string()),
                },
            })
            .collect();
        context.printer.list("drills", &items, &columns(), &[])?;
        for error in items.iter().filter_map(|i| i.error.as_deref()) {
            context.printer.warn(error);
        }
        Ok(if items.iter().any(|i| i.error.is_some()) { Exit::InvalidInput } else { Exit::Ok })
    }
}

fn columns<'a>() -> Vec<Column<'a, Item>> {
    vec![
        Column::left("NAME", |i: &Item| match &i.name {
            Some(name) => Cell::plain(name),
            None => Cell::new("INVALID", Tone::Bad),
        }),
        Column::left("FAULT", |i: &Item| Cell::opt(Some(i.faults.join(" + ")).filter(|f| !f.is_empty()))),
        Column::right("FOR", |i: &Item| Cell::opt(i.hold_ms.map(|ms| show_duration(std::time::Duration::from_millis(ms))))),
        Column::left("SOURCE", |i: &Item| Cell::plain(&i.source)),
        Column::left("DESCRIPTION", |i: &Item| Cell::opt(i.description.as_deref())),
    ]
}
