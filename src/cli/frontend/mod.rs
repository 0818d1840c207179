//! `lbdeck frontend`: what listens.

mod list;
mod switch;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct FrontendArgs {
    #[command(subcommand)]
    verb: FrontendVerb,
}

#[derive(Subcommand, Debug)]
enum FrontendVerb {
    /// List frontends: a row for each node that has one
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Let a frontend take connections again
    Enable(switch::EnableArgs),
    /// Stop a frontend from taking connections
    Disable(switch::DisableArgs),
}

impl FrontendArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            FrontendVerb::List(args) => args.run(context).await,
            FrontendVerb::Enable(args) => args.run(context).await,
            FrontendVerb::Disable(args) => args.run(context).await,
        }
    }
}
