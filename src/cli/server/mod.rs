//! `lbdeck server`: what is seen of servers, and every change of one.

mod item;
mod list;
mod show;

pub use item::ServerItem;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct ServerArgs {
    #[command(subcommand)]
    verb: ServerVerb,
}

#[derive(Subcommand, Debug)]
enum ServerVerb {
    /// List servers: a row for each node that has one
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show everything that is known of a server on each node
    Show(show::ShowArgs),
}

impl ServerArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            ServerVerb::List(args) => args.run(context).await,
            ServerVerb::Show(args) => args.run(context).await,
        }
    }
}
