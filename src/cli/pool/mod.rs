//! `lbdeck pool`: pools over all nodes.

mod list;
mod show;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct PoolArgs {
    #[command(subcommand)]
    verb: PoolVerb,
}

#[derive(Subcommand, Debug)]
enum PoolVerb {
    /// List pools, each summed up over the nodes that have it
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show the servers of pools: a row a server, a cell a node, so that disagreement shows
    Show(show::ShowArgs),
}

impl PoolArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            PoolVerb::List(args) => args.run(context).await,
            PoolVerb::Show(args) => args.run(context).await,
        }
    }
}
