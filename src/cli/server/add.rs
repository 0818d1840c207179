//! `lbdeck server add|remove`: servers that come and go at run time.

use std::net::IpAddr;

use clap::Args;

use super::state::change;
use super::value::parse_address;
use crate::cli::act::{ActArgs, LeaseArgs};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::select::{NodeSelect, ServerSelect};
use crate::model::{AddServer, Change, Exit, ServerRef, Start, Target};
use crate::ops::Verb;

/// Adds a server at run time on every selected node. The next reload of the engine forgets it unless the file has it too.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck server add web/web9 10.0.0.9:8080 --check --weight 10
  lbdeck server add web/web9 10.0.0.9:8443 --check -- ssl verify none inter 2s
  lbdeck server add web/web9 10.0.0.9:8080 --dry-run")]
pub struct AddArgs {
    /// The new server as pool/server
    #[arg(value_name = "POOL/SERVER")]
    server: String,

    /// Its address
    #[arg(value_name = "IP:PORT", value_parser = parse_address)]
    to: (IpAddr, Option<u16>),

    /// 0 to 256
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(0..=256), help_heading = "Change")]
    weight: Option<u16>,

    /// Connections at most
    #[arg(long, value_name = "N", help_heading = "Change")]
    maxconn: Option<u32>,

    /// Check its health
    #[arg(long, help_heading = "Change")]
    check: bool,

    /// Only where no active server serves
    #[arg(long, help_heading = "Change")]
    backup: bool,

    /// Further words of a `server` line
    #[arg(last = true, value_name = "WORD")]
    extra: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,
    #[command(flatten)]
    lease: LeaseArgs,
    #[command(flatten)]
    act: ActArgs,
}

/// Puts servers into maintenance, waits until the engine can let go of them, and deletes them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck server drain web/web9 --deadline 5m && lbdeck server remove web/web9
  lbdeck server remove web/web9 --node lb1 --dry-run")]
pub struct RemoveArgs {
    #[command(flatten)]
    select: ServerSelect,
    #[command(flatten)]
    act: ActArgs,
}

impl AddArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let server = exact(&self.server)?;
        let (ip, Some(port)) = self.to else {
            return Err(Failure::invalid(format!("'{}' has no port", self.to.0)).hint(format!("write {}:8080", self.to.0)));
        };
        let add = AddServer {
            address: ip.to_string(),
            port,
            weight: self.weight,
            maxconn: self.maxconn,
            check: self.check,
            backup: self.backup,
            start: Start::Ready,
            extra: self.extra.clone(),
        };
        let verb = Verb::Named { target: Target::Server(server), change: Change::AddServer(add) };
        self.act.act(context, self.act.request(verb, self.nodes.selector(), Some(&self.lease))).await
    }
}

impl RemoveArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        change(context, &self.select, &self.act, None, Change::RemoveServer).await
    }
}

/// A name that is to be made, so no glob.
fn exact(text: &str) -> Result<ServerRef> {
    match text.split_once('/') {
        Some((pool, server)) if !pool.is_empty() && !server.is_empty() && !text.contains(['*', '?', '[', '{']) => {
            Ok(ServerRef::new(pool, server))
        }
        _ => Err(Failure::invalid(format!("'{text}' does not name one server")).hint("write pool/server, without globs")),
    }
}
