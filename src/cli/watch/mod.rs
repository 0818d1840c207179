//! `lbdeck watch`: what changes in the fleet, one JSON object a line, for as long as somebody reads.

mod delta;

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::context::Context;
use super::failure::Result;
use super::select::{ServerSelect, matcher};
use super::signals::Signals;
use crate::config::duration::parse_duration;
use crate::model::Exit;
use delta::Watcher;

#[derive(Args, Debug)]
#[command(after_help = "Events (field `event`; every line has `version` and `at`):
  watching        the first line: nodes that are watched, how often
  node            a node became fresh, stale or dead: `from`, `to`, `problem`
  process         the engine's process changed (reload, restart): `from`, `to`
  server          a server changed: `changed` names what, `from` and `to` tell all of it
  server_added, server_removed
  Every line is flushed at once. SIGINT, SIGTERM and a reader that goes away end it with exit code 0.

Examples:
  lbdeck watch
  lbdeck watch 'web/*' --zone eu-1 --interval 5s
  lbdeck watch --initial | jq -c 'select(.event == \"server\" and .to.status == \"DOWN\")'")]
pub struct WatchArgs {
    #[command(flatten)]
    select: ServerSelect,

    /// How often each node is read (default: the fleet file's refresh, else 1s)
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    interval: Option<Duration>,

    /// Tell the state of every server first, as events whose `from` is null
    #[arg(long)]
    initial: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < Duration::from_millis(100) { Err(format!("'{text}' is shorter than 100ms")) } else { Ok(interval) }
}

impl WatchArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let wanted = matcher(&self.select.selector())?;
        let mut fleet = context.selected_fleet(&self.select.nodes)?;
        if let Some(interval) = self.interval {
            fleet.settings.refresh = interval;
        }
        let refresh = fleet.settings.refresh;
        let app = context.app(fleet);
        let _held = context.own_signals.hold();
        let mut signals = Signals::new()?;
        let mut views = app.collector.watch();
        let mut watcher = Watcher::new(wanted, self.initial);
        context.printer.json_line(&watcher.begin(&views.borrow_and_update(), refresh))?;
        let _polling = app.collector.start();
        loop {
            tokio::select! {
                _ = signals.next() => return Ok(Exit::Ok),
                changed = views.changed() => {
                    if changed.is_err() || reader_is_gone() {
                        return Ok(Exit::Ok);
                    }
                }
            }
            let view = views.borrow_and_update().clone();
            for event in watcher.step(&view) {
                context.printer.json_line(&event)?;
            }
        }
    }
}

/// A quiet fleet writes nothing, so a closed pipe would go unnoticed for ever: ask.
fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
        && fds.iter().any(|fd| fd.revents().is_some_and(|r| r.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)))
}
