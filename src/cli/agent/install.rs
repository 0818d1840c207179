//! `lbdeck agent install` and `lbdeck agent upgrade`.

use std::path::PathBuf;

use clap::Args;

use super::args::{Nodes, Place, Rolling, payload};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::model::Exit;
use crate::ops::agent::AgentVerb;

/// Uploads this program to nodes, checks it there, and lets it run as the agent: as a confined systemd unit with a user of its
/// own, or, without systemd, under a supervisor of its own. Doing it again changes nothing where nothing has changed; a run that
/// was cut off is gone on with. Needs root, sudo without a password, or a folder of the ssh user (--prefix).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent install lb1 --dry-run
  lbdeck agent install 'lb*' --max-unavailable 2 --yes
  lbdeck agent install lb1 --binary ./lbdeck-static --config relay.yaml
  lbdeck agent install edge --prefix /home/ops/lbdeck")]
pub struct InstallArgs {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    place: Place,

    /// The build to install (default: this program)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::ExecutablePath)]
    binary: Option<PathBuf>,

    /// The relay's configuration for nodes that have none yet
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,

    #[command(flatten)]
    rolling: Rolling,
}

/// Replaces the build of installed agents by this one. Listening sockets are handed over to the new process, established
/// connections finish in the old one; the build before is kept for `lbdeck agent rollback`. A node whose new process does not
/// serve in time is rolled back by itself.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent upgrade --all --max-unavailable 10% --yes
  lbdeck agent upgrade lb1 --binary ./lbdeck-static --dry-run")]
pub struct UpgradeArgs {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    place: Place,

    /// The build to install (default: this program)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::ExecutablePath)]
    binary: Option<PathBuf>,

    #[command(flatten)]
    rolling: Rolling,
}

impl InstallArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let selector = self.nodes.named()?;
        let payload = payload(self.binary.as_deref())?;
        let mut asked = self.rolling.asked(AgentVerb::Install, &self.place);
        asked.binary = Some(payload.info.clone());
        if let Some(file) = &self.config {
            let read = std::fs::read_to_string(file);
            asked.config = Some(read.map_err(|e| Failure::invalid(format!("{}: {e}", file.display())))?);
        }
        self.rolling.act(context, selector, asked, Some(payload)).await
    }
}

impl UpgradeArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let selector = self.nodes.named()?;
        let payload = payload(self.binary.as_deref())?;
        let mut asked = self.rolling.asked(AgentVerb::Upgrade, &self.place);
        asked.binary = Some(payload.info.clone());
        self.rolling.act(context, selector, asked, Some(payload)).await
    }
}
