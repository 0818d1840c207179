//! `lbdeck session kill`.

use clap::Args;
use futures::future::join_all;

use crate::cli::act::ActArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::select::NodeSelect;
use crate::model::{Change, Exit, Health, NodeName, ServerRef, Target};
use crate::ops::{Selector, Verb};

/// How many sessions of a node are looked through for the one that is named.
const LOOKED_THROUGH: usize = 100_000;

/// Ends one session. Its number means something only on its own node: name the node where several nodes could have it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck session list web/web1 --node lb1
  lbdeck session kill 0x55d0c0ffee00 --node lb1
  lbdeck server kill-sessions web/web1               all sessions of a server")]
pub struct KillArgs {
    /// The session, as `lbdeck session list` shows it (0x55d0c0ffee00)
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    nodes: NodeSelect,
    #[command(flatten)]
    act: ActArgs,
}

impl KillArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let look = context.look(&self.nodes).await?;
        let collector = &look.app.collector;
        let answers =
            join_all(look.fresh().map(|(node, _)| async move {
                (&node.meta.name, collector.sessions(&node.meta.name, None, LOOKED_THROUGH).await)
            }))
            .await;
        let mut found: Vec<(&NodeName, ServerRef)> = Vec::new();
        let mut unread: Vec<&NodeName> =
            look.view.nodes.iter().filter(|n| n.health != Health::Fresh).map(|n| &n.meta.name).collect();
        for (node, answer) in answers {
            match answer {
                Ok(sessions) => found.extend(
                    sessions.into_iter().filter(|s| s.id == self.id).map(|s| (node, ServerRef::new(s.backend, s.server))),
                ),
                Err(problem) => {
                    context.printer.warn(&format!("sessions of {node} could not be read: {}", problem.what));
                    unread.push(node);
                }
            }
        }
        let (node, server) = match found.as_slice() {
            [one] => one.clone(),
            [] if unread.is_empty() => {
                return Err(Failure::invalid(format!("no session is called '{}'", self.id))
                    .hint("it may have ended; `lbdeck session list` shows those that live"));
            }
            [] => {
                let names: Vec<&str> = unread.iter().map(|n| n.as_str()).collect();
                return Err(Failure::failed(format!("no session '{}' on the nodes that could be read", self.id))
                    .hint(format!("not read: {}", names.join(", "))));
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(node, _)| node.as_str()).collect();
                return Err(Failure::invalid(format!("'{}' is a session on several nodes", self.id))
                    .hint(format!("name one of them with --node: {}", names.join(", "))));
            }
        };
        let verb = Verb::Named { target: Target::Server(server), change: Change::KillSession { id: self.id.clone() } };
        let selector = Selector { nodes: vec![node.to_string()], ..Selector::default() };
        self.act.act(context, self.act.request(verb, selector, None)).await
    }
}
