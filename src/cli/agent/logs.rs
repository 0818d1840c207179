//! `lbdeck agent logs`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::args::{Nodes, Place};
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::model::{Exit, NodeName};
use crate::ops::agent::logs::LogsAsk;

/// Pause between looks with --follow.
const EVERY: Duration = Duration::from_secs(1);

/// Shows the last lines that the agent wrote: from the journal, or from its own file where there is no systemd.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent logs lb1
  lbdeck agent logs --all --lines 20
  lbdeck agent logs lb1 --follow")]
pub struct LogsArgs {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    place: Place,

    /// Lines from the end
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    lines: u32,

    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

#[derive(Serialize)]
struct Item<'a> {
    node: &'a NodeName,
    lines: Vec<String>,
}

impl LogsArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let app = context.app(context.fleet()?);
        let selector = self.nodes.any()?;
        let view = app.collector.view();
        let mut ask = LogsAsk { paths: self.place.paths(), lines: self.lines, after: Vec::new() };
        let printer = &context.printer;
        let mut exit = Exit::Ok;
        loop {
            let read = app.ops.agent_logs(&selector, &ask, &view).await?;
            let several = read.len() > 1;
            let mut items = Vec::new();
            for logs in &read {
                match &logs.lines {
                    Ok(lines) if printer.is_structured() => items.push(Item { node: &logs.node, lines: lines.clone() }),
                    Ok(lines) => {
                        for line in lines {
                            let line = if several { format!("{}: {line}\n", logs.node) } else { format!("{line}\n") };
                            printer.raw(line.as_bytes())?;
                        }
                    }
                    Err(e) => {
                        printer.warn(&format!("{}: {e}", logs.node));
                        exit = Exit::Failed;
                    }
                }
            }
            if printer.is_structured() {
                printer.show("logs", &items, &[], &[])?;
            }
            if !self.follow {
                return Ok(exit);
            }
            ask.after = read.into_iter().filter_map(|l| Some((l.node, l.cursor?))).collect();
            tokio::time::sleep(EVERY).await;
        }
    }
}
