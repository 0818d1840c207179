//! `lbdeck lease return`.

use clap::Args;

use crate::cli::act::ActArgs;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::model::Exit;
use crate::ops::{Selector, Verb};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck lease list
  lbdeck lease return 1f00ba12 --reason 'done early'")]
pub struct ReturnArgs {
    /// The leases, as `lbdeck lease list` shows them
    #[arg(value_name = "LEASE", required = true)]
    leases: Vec<String>,
    #[command(flatten)]
    act: ActArgs,
}

impl ReturnArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let mut worst = Exit::Ok;
        for lease in &self.leases {
            let verb = Verb::ReturnLease { lease: lease.clone() };
            let exit = self.act.act(context, self.act.request(verb, Selector::default(), None)).await?;
            if worst == Exit::Ok {
                worst = exit;
            }
        }
        Ok(worst)
    }
}
