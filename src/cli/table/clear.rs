//! `lbdeck table clear`.

use clap::Args;

use crate::cli::act::ActArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::select::NodeSelect;
use crate::model::{Change, Exit, Target};
use crate::ops::Verb;

/// Removes one entry of a stick table, or with --all every entry. What was in it cannot be brought back.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck table clear clients --key 10.0.0.9
  lbdeck table clear clients --all --node lb1 --dry-run")]
pub struct ClearArgs {
    /// The stick table
    #[arg(value_name = "TABLE")]
    table: String,

    /// Only the entry of this key
    #[arg(long, value_name = "KEY", conflicts_with = "all", help_heading = "Change")]
    key: Option<String>,

    /// Every entry
    #[arg(long, help_heading = "Change")]
    all: bool,

    #[command(flatten)]
    nodes: NodeSelect,
    #[command(flatten)]
    act: ActArgs,
}

impl ClearArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        if self.key.is_none() && !self.all {
            return Err(
                Failure::invalid("neither --key nor --all is given").hint("--key KEY clears one entry, --all clears the table")
            );
        }
        let verb =
            Verb::Named { target: Target::Table(self.table.clone()), change: Change::ClearTable { key: self.key.clone() } };
        self.act.act(context, self.act.request(verb, self.nodes.selector(), None)).await
    }
}
