//! `lbdeck vip failover` and `failback`.

use std::net::IpAddr;

use clap::Args;

use crate::cli::act::ActArgs;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::model::Exit;
use crate::ops::vip::{VipRequest, VipVerb};
use crate::ops::{Selector, Verb};

#[derive(Args, Debug)]
#[command(
    after_help = "A weighted track file lowers the priority of the owner: the peer takes over before the owner lets go, and only what is open in
that moment is cut. Where the configuration has none, the plan takes the next best way and says what it costs.

Examples:
  lbdeck vip failover 10.0.0.9 --dry-run
  lbdeck vip failover 10.0.0.9 --to lb2 --reason 'kernel update of lb1'
  lbdeck vip failover 10.0.0.9 --add-track-file"
)]
pub struct FailoverArgs {
    /// Virtual addresses; what moves with them (the instance, its group) is in the plan
    #[arg(value_name = "VIP", required = true)]
    vips: Vec<IpAddr>,

    /// The node that is to take it (default: the healthy peer with the highest priority)
    #[arg(long, value_name = "NODE")]
    to: Option<String>,

    /// Where there is no weighted track file: add one to the configuration of both nodes, validated, backed up, reloaded
    #[arg(long)]
    add_track_file: bool,

    #[command(flatten)]
    act: ActArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck vip failback 10.0.0.9
  lbdeck vip failback 10.0.0.9 10.0.0.10 --yes")]
pub struct FailbackArgs {
    /// Virtual addresses
    #[arg(value_name = "VIP", required = true)]
    vips: Vec<IpAddr>,

    #[command(flatten)]
    act: ActArgs,
}

impl FailoverArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let asked = VipRequest {
            verb: VipVerb::Failover,
            vips: self.vips.clone(),
            node: self.to.as_deref().map(Into::into),
            add_track_file: self.add_track_file,
            wait: None,
        };
        self.act.act(context, self.act.request(Verb::Vip(asked), Selector::default(), None)).await
    }
}

impl FailbackArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let asked =
            VipRequest { verb: VipVerb::Failback, vips: self.vips.clone(), node: None, add_track_file: false, wait: None };
        self.act.act(context, self.act.request(Verb::Vip(asked), Selector::default(), None)).await
    }
}
