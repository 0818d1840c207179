//! `lbdeck vip`: virtual addresses, who holds them, and who may.

mod list;
mod moves;
mod show;

use clap::{Args, Subcommand};

use super::context::{Context, Look, unread};
use super::failure::Result;
use super::printer::Unread;
use crate::model::{Exit, Health, Problem};

#[derive(Args, Debug)]
pub struct VipArgs {
    #[command(subcommand)]
    verb: VipVerb,
}

#[derive(Subcommand, Debug)]
enum VipVerb {
    /// List VIPs: who holds each by what the interfaces say, and what keepalived believes
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show everything that is known of a VIP: instances, priorities, tracked files, counters
    Show(show::ShowArgs),
    /// Move a VIP to another node
    Failover(moves::FailoverArgs),
    /// Move a VIP home, to the node with the highest configured priority
    Failback(moves::FailbackArgs),
}

impl VipArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            VipVerb::List(args) => args.run(context).await,
            VipVerb::Show(args) => args.run(context).await,
            VipVerb::Failover(args) => args.run(context).await,
            VipVerb::Failback(args) => args.run(context).await,
        }
    }
}

/// Nodes whose keepalived could not be read.
fn vrrp_unread(look: &Look) -> Vec<Unread> {
    let nothing = Problem { what: "nothing was read".into(), hint: None, retry: true };
    look.view
        .nodes
        .iter()
        .filter_map(|n| Some((n, n.vrrp.as_ref()?)))
        .filter(|(_, v)| v.health != Health::Fresh)
        .map(|(n, v)| unread(&n.meta.name, v.health, v.problem.as_ref().unwrap_or(&nothing)))
        .collect()
}
