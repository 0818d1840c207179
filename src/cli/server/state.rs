//! `lbdeck server ready|maint|kill-sessions`: changes that need no value.

use clap::Args;

use crate::cli::act::{ActArgs, LeaseArgs};
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::select::{ServerSelect, matcher};
use crate::model::{Change, Exit};
use crate::ops::Verb;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck server ready web/web1
  lbdeck server ready --address 10.0.0.5 --reason 'memory is fine'")]
pub struct ReadyArgs {
    #[command(flatten)]
    select: ServerSelect,
    #[command(flatten)]
    act: ActArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck server maint web/web1 --for 30m --reason 'disk swap'
  lbdeck server maint web/web1 --node lb1 --yes")]
pub struct MaintArgs {
    #[command(flatten)]
    select: ServerSelect,
    #[command(flatten)]
    lease: LeaseArgs,
    #[command(flatten)]
    act: ActArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck server kill-sessions web/web1 --dry-run
  lbdeck server kill-sessions web/web1 --node lb1 --confirm web/web1 --reason 'stuck clients'")]
pub struct KillSessionsArgs {
    #[command(flatten)]
    select: ServerSelect,
    #[command(flatten)]
    act: ActArgs,
}

/// One change of the selected servers.
pub async fn change(
    context: &Context,
    select: &ServerSelect,
    act: &ActArgs,
    lease: Option<&LeaseArgs>,
    change: Change,
) -> Result<Exit> {
    let selector = select.named()?;
    matcher(&selector)?;
    act.act(context, act.request(Verb::Server(change), selector, lease)).await
}

impl ReadyArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        change(context, &self.select, &self.act, None, Change::Ready).await
    }
}

impl MaintArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        change(context, &self.select, &self.act, Some(&self.lease), Change::Maint).await
    }
}

impl KillSessionsArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        change(context, &self.select, &self.act, None, Change::KillSessions).await
    }
}
