//! `lbdeck agent supervise`: on the node itself, where there is no systemd.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::Place;
use crate::agent::supervise;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::model::Exit;

/// Keeps the agent of this machine running: starts it, restarts it when it dies or falls silent, ends it. `lbdeck agent
/// install` uses it where there is no systemd; let the machine's own init run `start` at boot.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent supervise start
  lbdeck agent supervise stop --prefix /home/ops/lbdeck")]
pub struct SuperviseArgs {
    #[arg(value_enum, value_name = "WHAT")]
    what: What,

    #[command(flatten)]
    place: Place,

    /// Folder in which consoles leave locks and leases (default: /run/lock/lbdeck)
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    lock_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Start it in the background; returns when the agent answers
    Start,
    /// End it; returns when all of its processes are gone
    Stop,
    /// Stop and start
    Restart,
    /// Stay in the foreground until SIGTERM
    Run,
}

impl SuperviseArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let mut paths = self.place.paths();
        if let Some(folder) = &self.lock_dir {
            paths = paths.with_locks_in(folder);
        }
        let ended = match self.what {
            What::Start => supervise::start(&paths).await,
            What::Stop => supervise::stop(&paths).await,
            What::Restart => supervise::restart(&paths).await,
            What::Run => {
                let _held = context.own_signals.hold();
                supervise::run(&paths).await.map(|()| "ended".into())
            }
        };
        context.printer.talk(&ended.map_err(|e| Failure::failed(e.to_string()))?);
        Ok(Exit::Ok)
    }
}
