//! `lbdeck cache`: responses that relays keep.

use clap::{Args, Subcommand};

use super::act::ActArgs;
use super::context::Context;
use super::failure::{Failure, Result};
use super::select::NodeSelect;
use crate::model::{Change, Exit, Target};
use crate::ops::Verb;

#[derive(Args, Debug)]
pub struct CacheArgs {
    #[command(subcommand)]
    verb: CacheVerb,
}

#[derive(Subcommand, Debug)]
enum CacheVerb {
    /// Forget cached responses at or below a path
    Purge(PurgeArgs),
}

/// Forgets what the relays of agents keep of a path and of everything below it, with any query. It is asked of the servers again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck cache purge /img --host www.example.org
  lbdeck cache purge /index.html --node lb1 --dry-run
  lbdeck cache purge / --reason 'wrong release'       everything, of all hosts")]
pub struct PurgeArgs {
    /// Where it begins: /img is /img and /img/a.png, and not /images; / is everything
    #[arg(value_name = "PATH")]
    path: String,

    /// Only of this host; without it of all
    #[arg(long, value_name = "HOST", help_heading = "Change")]
    host: Option<String>,

    #[command(flatten)]
    nodes: NodeSelect,
    #[command(flatten)]
    act: ActArgs,
}

impl CacheArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            CacheVerb::Purge(args) => args.run(context).await,
        }
    }
}

impl PurgeArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        if !self.path.starts_with('/') {
            let hint = "write the path alone (/img), and the host with --host";
            return Err(Failure::invalid(format!("'{}' does not begin with /", self.path)).hint(hint));
        }
        if let Some(host) = self.host.as_deref().filter(|h| h.is_empty() || h.contains(['/', ' '])) {
            return Err(Failure::invalid(format!("'{host}' is no host")).hint("write it as in the Host field: www.example.org"));
        }
        let target = Target::Cache(format!("{}{}", self.host.as_deref().unwrap_or("*"), self.path));
        let change = Change::PurgeCache { host: self.host.clone(), path: self.path.clone() };
        self.act.act(context, self.act.request(Verb::Named { target, change }, self.nodes.selector(), None)).await
    }
}
