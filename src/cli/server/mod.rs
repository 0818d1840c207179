//! `lbdeck server`: what is seen of servers, and every change of one.

mod add;
mod drain;
mod item;
mod list;
mod show;
mod state;
mod value;

pub use item::ServerItem;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::{CheckKind, Exit};

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
    /// Take servers out of traffic and prove that nobody is left on them
    Drain(drain::DrainArgs),
    /// Give servers back to traffic
    Ready(state::ReadyArgs),
    /// Put servers into maintenance: no traffic, no checks
    Maint(state::MaintArgs),
    /// Set the weight, absolute or in percent
    Weight(value::WeightArgs),
    /// Set the address, and the port
    Address(value::AddressArgs),
    /// Set how many connections a server takes at most
    Maxconn(value::MaxconnArgs),
    /// Switch health checks on or off
    Health(value::ChecksArgs),
    /// Switch agent checks on or off
    Agent(value::ChecksArgs),
    /// Add a server at run time
    Add(Box<add::AddArgs>),
    /// Remove servers at run time
    Remove(add::RemoveArgs),
    /// End all sessions of servers
    KillSessions(state::KillSessionsArgs),
}

impl ServerArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            ServerVerb::List(args) => args.run(context).await,
            ServerVerb::Show(args) => args.run(context).await,
            ServerVerb::Drain(args) => args.run(context).await,
            ServerVerb::Ready(args) => args.run(context).await,
            ServerVerb::Maint(args) => args.run(context).await,
            ServerVerb::Weight(args) => args.run(context).await,
            ServerVerb::Address(args) => args.run(context).await,
            ServerVerb::Maxconn(args) => args.run(context).await,
            ServerVerb::Health(args) => args.run(context, CheckKind::Health).await,
            ServerVerb::Agent(args) => args.run(context, CheckKind::Agent).await,
            ServerVerb::Add(args) => args.run(context).await,
            ServerVerb::Remove(args) => args.run(context).await,
            ServerVerb::KillSessions(args) => args.run(context).await,
        }
    }
}
