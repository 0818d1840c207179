//! `lbdeck frontend enable|disable`.

use clap::Args;

use crate::cli::act::{ActArgs, LeaseArgs};
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::select::NodeSelect;
use crate::model::{Change, Exit, Target};
use crate::ops::Verb;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck frontend enable www --node lb1
  lbdeck frontend enable www --reason 'lb1 is back'")]
pub struct EnableArgs {
    /// The frontend
    #[arg(value_name = "FRONTEND")]
    frontend: String,
    #[command(flatten)]
    nodes: NodeSelect,
    #[command(flatten)]
    act: ActArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck frontend disable www --node lb1 --for 10m --reason 'take lb1 out of DNS'
  lbdeck frontend disable www --zone eu-1 --dry-run")]
pub struct DisableArgs {
    /// The frontend
    #[arg(value_name = "FRONTEND")]
    frontend: String,
    #[command(flatten)]
    nodes: NodeSelect,
    #[command(flatten)]
    lease: LeaseArgs,
    #[command(flatten)]
    act: ActArgs,
}

impl EnableArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let verb = Verb::Named { target: Target::Frontend(self.frontend.clone()), change: Change::EnableFrontend };
        self.act.act(context, self.act.request(verb, self.nodes.selector(), None)).await
    }
}

impl DisableArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let verb = Verb::Named { target: Target::Frontend(self.frontend.clone()), change: Change::DisableFrontend };
        self.act.act(context, self.act.request(verb, self.nodes.selector(), Some(&self.lease))).await
    }
}
