//! `lbdeck drill check`: is it a drill, and what does it mean.

use clap::Args;

use super::folders;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::output::Cell;
use crate::cli::printer::Block;
use crate::config::duration::show_duration;
use crate::drill::find;
use crate::drill::spec::{Drill, Target};
use crate::model::Exit;

/// Reads drill files and shows what they mean, defaults included. Nothing is connected to: what stands against a drill on a
/// node is told by `lbdeck drill run --dry-run`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck drill check                                 all that `drill list` finds
  lbdeck drill check keepalived-crash
  lbdeck drill check ./my-drill.yaml -o json")]
pub struct CheckArgs {
    /// Names of drills or files (default: all)
    #[arg(value_name = "DRILL")]
    drills: Vec<String>,
}

impl CheckArgs {
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let folders = folders(context);
        let (mut good, mut wrong) = (Vec::new(), Vec::new());
        if self.drills.is_empty() {
            for found in find::all(&folders)? {
                match found.drill {
                    Ok(drill) => good.push(drill),
                    Err(e) => wrong.push(e.to_string()),
                }
            }
        }
        for word in &self.drills {
            match find::one(word, &folders) {
                Ok(drill) => good.push(drill),
                // One that is wrong must not hide the others.
                Err(e) if self.drills.len() > 1 => wrong.push(e.to_string()),
                Err(e) => return Err(e.into()),
            }
        }
        let blocks: Vec<Block> = good.iter().map(block).collect();
        context.printer.show("drill_details", &good, &blocks, &[])?;
        for error in &wrong {
            context.printer.warn(error);
        }
        Ok(if wrong.is_empty() { Exit::Ok } else { Exit::InvalidInput })
    }
}

fn block(drill: &Drill) -> Block {
    let mut pairs: Vec<(String, Cell)> = Vec::new();
    let mut add = |name: &str, text: String| pairs.push((name.to_owned(), Cell::plain(text)));
    add("description", drill.description.clone().unwrap_or_else(|| "-".into()));
    add("source", drill.source.clone());
    for fault in &drill.faults {
        add("fault", format!("{fault} for {}", show_duration(drill.hold)));
    }
    let target = match &drill.scope.target {
        Target::CurrentMaster => "the node that holds the VIP".to_owned(),
        Target::Standby => "the node that does not hold the VIP".to_owned(),
        Target::Node(name) => name.clone(),
        Target::Server => "the node that has the server's address".to_owned(),
    };
    add("target", target);
    add("vip", drill.scope.vip.map_or_else(|| "given with --vip".to_owned(), |vip| vip.to_string()));
    for probe in &drill.measure.probes {
        let what = match &probe.http {
            Some(path) => format!("http {path}"),
            None => "tcp".to_owned(),
        };
        let to = probe.to.clone().unwrap_or_else(|| format!("VIP:{}", probe.port));
        let ms = 1000.0 / f64::from(probe.hz);
        add(
            "probe",
            format!("{what} at {to}, {} a second (resolution {ms} ms), timeout {}", probe.hz, show_duration(probe.timeout)),
        );
    }
    if let Some(streams) = &drill.measure.streams {
        add("streams", format!("{} held, each asks every {}", streams.connections, show_duration(streams.keepalive)));
    }
    let windows: Vec<&str> = drill.window.allow.iter().map(|s| s.text.as_str()).collect();
    add("window", if windows.is_empty() { "any time".to_owned() } else { windows.join(", ") });
    let after = |d: Option<std::time::Duration>| d.map_or_else(|| "never".to_owned(), |d| format!("after {}", show_duration(d)));
    add("abort", format!("outage {}", after(drill.abort.outage_gt)));
    add("abort", format!("two owners {}", after(drill.abort.two_owners_gt)));
    add("abort", format!("no owner {}", after(drill.abort.no_owner_gt)));
    add(
        "node restores",
        format!(
            "{} without a heartbeat, {} after arming in any case",
            show_duration(drill.abort.heartbeat_lost),
            show_duration(drill.restore.deadline)
        ),
    );
    Block::Pairs { title: format!("drill {}", drill.name), pairs }
}
