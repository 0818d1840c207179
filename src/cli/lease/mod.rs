//! `lbdeck lease`: changes that are to be given back.

mod give_back;
mod list;
mod sweep;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct LeaseVerbs {
    #[command(subcommand)]
    verb: LeaseVerb,
}

#[derive(Subcommand, Debug)]
enum LeaseVerb {
    /// List open leases: this machine's and those found on the nodes
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Give leases back now
    Return(give_back::ReturnArgs),
    /// Give back every lease that has ended, whoever made it (cron)
    Sweep(sweep::SweepArgs),
}

impl LeaseVerbs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            LeaseVerb::List(args) => args.run(context).await,
            LeaseVerb::Return(args) => args.run(context).await,
            LeaseVerb::Sweep(args) => args.run(context).await,
        }
    }
}
