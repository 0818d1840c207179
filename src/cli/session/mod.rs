//! `lbdeck session`: what is connected through the balancers now.

mod kill;
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
    /// End one session
    Kill(kill::KillArgs),
}

impl SessionArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            SessionVerb::List(args) => args.run(context).await,
            SessionVerb::Kill(args) => args.run(context).await,
        }
    }
}
