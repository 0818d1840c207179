//! `lbdeck node drain` and `return`: a whole load balancer out of service and back.

use std::time::Duration;

use clap::Args;

use crate::cli::act::ActArgs;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::config::duration::parse_duration;
use crate::model::Exit;
use crate::ops::vip::{VipRequest, VipVerb};
use crate::ops::{Selector, Verb};

#[derive(Args, Debug)]
#[command(
    after_help = "The node's VIPs go to healthy peers, as `lbdeck vip failover` moves them; then the sessions of its frontends are watched until none is
left. Its priority stays down, over a reboot too, until `lbdeck node return`.

Examples:
  lbdeck node drain lb1 --dry-run
  lbdeck node drain lb1 --deadline 10m --reason 'kernel update' && ssh lb1 reboot"
)]
pub struct DrainArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,

    /// How long to wait for the last session
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    deadline: Duration,

    /// Where there is no weighted track file: add one to the configuration of both nodes, validated, backed up, reloaded
    #[arg(long)]
    add_track_file: bool,

    #[command(flatten)]
    act: ActArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck node return lb1
  lbdeck node return lb1 --yes")]
pub struct ReturnArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    act: ActArgs,
}

impl DrainArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let asked = VipRequest {
            verb: VipVerb::DrainNode,
            vips: Vec::new(),
            node: Some(self.node.as_str().into()),
            add_track_file: self.add_track_file,
            wait: Some(self.deadline),
        };
        self.act.act(context, self.act.request(Verb::Vip(asked), Selector::default(), None)).await
    }
}

impl ReturnArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let asked = VipRequest {
            verb: VipVerb::ReturnNode,
            vips: Vec::new(),
            node: Some(self.node.as_str().into()),
            add_track_file: false,
            wait: None,
        };
        self.act.act(context, self.act.request(Verb::Vip(asked), Selector::default(), None)).await
    }
}
