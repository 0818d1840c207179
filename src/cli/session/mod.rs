//! `lbdeck session`: what is connected through the balancers now.

mod list;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct SessionArgs {
    #[command(subcommand)]
    verb: SessionVerb,
}

#[derive(Subcommand, Debug)]
enum SessionVerb {
    /// List the sessions of servers, or all of them
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
}

impl SessionArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            SessionVerb::List(args) => args.run(context).await,
        }
    }
}
