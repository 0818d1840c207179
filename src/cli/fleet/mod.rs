//! `lbdeck fleet`: the fleet file itself: make one, check that it can be worked with, show what it comes to.

mod check;
mod found;
mod init;
mod pick;
mod progress;
mod show;
mod source;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct FleetArgs {
    #[command(subcommand)]
    verb: FleetVerb,
}

#[derive(Subcommand, Debug)]
enum FleetVerb {
    /// Make a fleet file: from ssh hosts, from an Ansible inventory, or by hand; looks at what runs on each host
    Init(Box<init::InitArgs>),
    /// Verify file, reach, host keys, permissions and capabilities of each node, and say how to mend what is missing
    Check(check::CheckArgs),
    /// Show the fleet as it holds after defaults; secrets are never shown
    Show(show::ShowArgs),
}

impl FleetArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            FleetVerb::Init(args) => args.run(context).await,
            FleetVerb::Check(args) => args.run(context).await,
            FleetVerb::Show(args) => args.run(context),
        }
    }
}
