//! `lbdeck node exec`.

use clap::Args;

use crate::cli::act::ActArgs;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::select::{NodeSelect, matcher};
use crate::model::Exit;
use crate::ops::{Selector, Verb};

/// Runs a command on every selected node, side by side. Each word arrives as one word: no shell reads it.
#[derive(Args, Debug)]
#[command(after_help = "Output:
  What the command writes comes to stdout and stderr line by line, with the node in front where there are several;
  with -o json or yaml it comes in one document at the end.

Confirmation:
  A yes (--yes) for one node; the first word of the command typed (--confirm) for several, or where the policy of a pool
  says `confirm: typed`.

Examples:
  lbdeck node exec lb1 --yes -- uptime
  lbdeck node exec --zone eu-1 --confirm systemctl -- systemctl is-active haproxy
  lbdeck node exec 'lb*' --confirm sh -- sh -c 'df -h /var | tail -1'")]
pub struct ExecArgs {
    /// Nodes (names, globs or groups; default: all that are selected)
    #[arg(value_name = "NODE")]
    names: Vec<String>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    argv: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,
    #[command(flatten)]
    act: ActArgs,
}

impl ExecArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let mut selector: Selector = self.nodes.selector();
        selector.nodes.extend(self.names.iter().cloned());
        matcher(&selector)?;
        self.act.act(context, self.act.request(Verb::Exec { argv: self.argv.clone() }, selector, None)).await
    }
}
