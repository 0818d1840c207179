//! `lbdeck table`: stick tables.

mod clear;
mod list;
mod show;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct TableArgs {
    #[command(subcommand)]
    verb: TableVerb,
}

#[derive(Subcommand, Debug)]
enum TableVerb {
    /// List stick tables and how full they are
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show the entries of a stick table
    Show(show::ShowArgs),
    /// Clear one entry of a stick table, or all
    Clear(clear::ClearArgs),
}

impl TableArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            TableVerb::List(args) => args.run(context).await,
            TableVerb::Show(args) => args.run(context).await,
            TableVerb::Clear(args) => args.run(context).await,
        }
    }
}
