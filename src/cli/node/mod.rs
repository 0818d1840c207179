//! `lbdeck node`: the load balancers themselves.

mod exec;
mod life;
mod list;
mod show;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct NodeArgs {
    #[command(subcommand)]
    verb: NodeVerb,
}

#[derive(Subcommand, Debug)]
enum NodeVerb {
    /// List nodes: health, engine, load; those that cannot be read too, with the reason
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show everything that is known of nodes
    Show(show::ShowArgs),
    /// Run a command on nodes
    Exec(exec::ExecArgs),
    /// Take a whole node out of service: its VIPs go to peers, its connections are watched down to zero
    Drain(life::DrainArgs),
    /// Let a node hold VIPs again
    Return(life::ReturnArgs),
}

impl NodeArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            NodeVerb::List(args) => args.run(context).await,
            NodeVerb::Show(args) => args.run(context).await,
            NodeVerb::Exec(args) => args.run(context).await,
            NodeVerb::Drain(args) => args.run(context).await,
            NodeVerb::Return(args) => args.run(context).await,
        }
    }
}
